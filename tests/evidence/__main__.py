"""``make gpu-evidence``: run the steps in bounded time, together or alone, and write the archive."""

import argparse
import contextlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from tests.evidence.promises import CLOCK, summary

STEP_SECONDS, GRACE_SECONDS = 540.0, 20.0
MOST_BYTES = 16_000_000
ARCHIVE = "evidence.tar.gz"
CLOCK_FILE = "tests/measure/test_clock_on_cuda.py"
CLOCK_TESTS = "known_length or graphs_phases or timing_the_phases"


def commands(step: int, folder: Path, device: str | None) -> list[tuple[str, ...]]:
    """The commands of step 1, 2 or 3; shorter ones on a CPU."""
    bench, on = ("-m", "loopmark"), ("--device", device) if device else ()
    out = ("--out", str(folder / f"step-{step}-results"))
    small = device == "cpu"
    if step == 1:
        return [("-m", "pytest", "-q", "-m", "cuda and not long", f"--junitxml={folder / 'step-1-tests.xml'}")]
    if step == 2:
        return [(*bench, "run", *on, *out, *(("--quick",) if small else ()))]
    return [
        ("-m", "pytest", "-q", "-m", "cuda", "-k", CLOCK_TESTS, CLOCK_FILE, f"--junitxml={folder / CLOCK}"),
        (*bench, "ceilings", *on, *out, *(("--budget", "5") if small else ())),
        (*bench, "calibrate", "--trials", "0.01", "--budget", "10" if small else "60", *on, *out),
    ]


def carry_out(step: int, folder: Path, device: str | None, seconds: float = STEP_SECONDS) -> None:
    """Run a step's commands one after the other within ``seconds``, and record how each ended.

    Files of an earlier try of the step are removed first.
    """
    for old in (folder / f"step-{step}.json", *folder.glob(f"step-{step}-*")):
        shutil.rmtree(old) if old.is_dir() and not old.is_symlink() else old.unlink(missing_ok=True)
    ends, done = time.monotonic() + seconds, []
    for number, command in enumerate(commands(step, folder, device)):
        log = folder / f"step-{step}-{number}.txt"
        print(f"step {step}: python {shlex.join(command)}", flush=True)
        begun = time.monotonic()
        status = run([sys.executable, *command], log, max(0.0, ends - begun))
        done.append(
            {
                "command": f"python {shlex.join(command)}",
                "status": status,
                "seconds": time.monotonic() - begun,
                "log": log.name,
            }
        )
        (folder / f"step-{step}.json").write_text(json.dumps(done, indent=2))


def run(command: Sequence[str], log: Path, seconds: float) -> int | None:
    """Return the command's exit status, or None after its time limit. Interrupt it first, then kill it."""
    with log.open("wb") as file:
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            return child.wait(seconds)
        except (subprocess.TimeoutExpired, KeyboardInterrupt) as end:
            child.send_signal(signal.SIGINT)  # it saves its measurements
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(GRACE_SECONDS)
            if isinstance(end, KeyboardInterrupt):
                raise
            return None
        finally:
            left = []
            with contextlib.suppress(psutil.NoSuchProcess):
                left = psutil.Process(child.pid).children(recursive=True)  # workers lead groups of their own
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(child.pid, signal.SIGKILL)
            for one in left:
                with contextlib.suppress(psutil.NoSuchProcess):
                    one.kill()
            child.wait()


def pack(folder: Path, most_bytes: int = MOST_BYTES) -> Path:
    """Write summary.md and evidence.tar.gz. Leave out the largest tables if it would exceed ``most_bytes``."""
    archive = folder / ARCHIVE
    archive.unlink(missing_ok=True)
    files = sorted((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    tables = [*(path for path in files if path.suffix != ".parquet"), *(p for p in files if p.suffix == ".parquet")]
    left_out: list[Path] = []
    while True:
        notes = tuple(f"{path.relative_to(folder)} is left out of the archive for its size" for path in left_out)
        (folder / "summary.md").write_text(summary(folder, notes))
        with tarfile.open(archive, "w:gz") as tar:
            for path in sorted(folder.rglob("*")):
                if path.is_file() and path != archive and (path not in left_out or path.name == "summary.md"):
                    tar.add(path, str(path.relative_to(folder)))
        if archive.stat().st_size <= most_bytes or not tables:
            return archive
        left_out.append(tables.pop())


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the arguments, run the steps and write the archive."""
    parser = argparse.ArgumentParser(prog="python -m tests.evidence", description=__doc__)
    parser.add_argument("--evidence", type=Path, default=Path("results/evidence"), help="Folder for logs and archive.")
    parser.add_argument("--step", type=int, choices=(1, 2, 3), help="Run one step: tests, default run, precision.")
    parser.add_argument("--device", help="Use cpu, cuda or cuda:N; the default is cuda if present.")
    given = parser.parse_args(arguments)
    folder: Path = given.evidence.absolute()
    if "$" in str(folder) or (folder / ARCHIVE).is_dir():
        parser.error(f"{folder} cannot hold the evidence: a $ in its name, or a folder {ARCHIVE} in it")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        parser.error(f"{folder}: {error.strerror}")
    try:
        for step in (given.step,) if given.step else (1, 2, 3):
            carry_out(step, folder, given.device)
    except KeyboardInterrupt:
        print("interrupted: the summary so far follows", file=sys.stderr)
    archive = pack(folder)
    print((folder / "summary.md").read_text())
    print(f"Archive: {archive}")


if __name__ == "__main__":
    main()
