"""Call ``loopmark`` in a process of its own, or in this one, whose fork server starts once."""

import multiprocessing.util
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from loopmark.bench.cli import main

ROOT = Path(__file__).parents[2]

Ended = subprocess.CompletedProcess[str]


def outside_pytest() -> dict[str, str]:
    """This environment without the variables that make a nested pytest act as an xdist worker."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}


class Done(NamedTuple):
    """The result of a command."""

    returncode: int
    stdout: str
    stderr: str


BRIEF_CEILINGS = """
from loopmark.bench.cli import main
from loopmark.bench.measure import plan

plan.ceiling_seconds = lambda *, quick: 1.0
main()
"""
"""The program ``loopmark``, but a run measures the ceilings of its device for one second instead of four or eight."""


def loopmark(
    *arguments: object, cwd: Path = ROOT, program: tuple[str, str] = ("-m", "loopmark"), **variables: str
) -> Ended:
    """Run it in a process of its own, with these variables added to its environment."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "120", "NO_COLOR": "1", **variables}
    command = [sys.executable, *program, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment, timeout=240, check=False)


class Here:
    """Run it in this process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch, self._capfd = monkeypatch, capfd

    def __call__(self, *arguments: object) -> Done:
        self._monkeypatch.setattr("sys.argv", ["loopmark", *map(str, arguments)])
        self._capfd.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        code = end.value.code
        assert isinstance(code, int)
        return Done(code, *self._capfd.readouterr())


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[Here]:
    """``loopmark``, called in this process and in the repository's root."""
    monkeypatch.chdir(ROOT)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield Here(monkeypatch, capfd)
    for number, handler in handlers.items():  # a process of a later test would inherit ignored signals
        signal.signal(number, handler)


@pytest.fixture
def elsewhere(here: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Here:
    """``loopmark``, called in this process, from the test's own folder with its own temporary folder."""
    (tmp_path / "tmp").mkdir()
    multiprocessing.util.get_temp_dir()  # keep the fork server's sockets outside: their paths must be short
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    monkeypatch.chdir(tmp_path)
    return here


@pytest.fixture
def brief_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Launch pairs in this process have as few quads as possible: the tested difference is ten times the noise."""
    for name in ("PAIR_SECONDS", "SHARE_OF_START"):
        monkeypatch.setattr(f"loopmark.bench.measure.paired_measurement.{name}", 0.0)
    from loopmark.bench.measure.launcher import ForkServer

    ForkServer()  # else a comparison of revisions starts one whose launches each import the loops


@pytest.fixture
def brief_ceilings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure a device's ceilings for one second instead of eight, in a run called in this process."""
    from loopmark.bench.measure import plan  # imported late, since it imports torch

    monkeypatch.setattr(plan, "ceiling_seconds", lambda *, quick: 1.0)
