"""Code shared by the commands: the start of a measurement, the folder of its results, and the exit status."""

import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import typer

from loopmark.bench.errors import BadInput
from loopmark.bench.progress import RunProgress, StderrConsole
from loopmark.bench.records.files import replace_file, writing_to
from loopmark.bench.records.machine import Machine
from loopmark.bench.report.text import plain

if TYPE_CHECKING:
    from loopmark.bench.measure.machine import CommandFacts
    from loopmark.bench.measure.pool import WorkerPool

# Exit statuses. Those of a comparison are in `loopmark.bench.judge.finding`; a full disk or a crash has another.
FAILED = 1  # a case, or a property of a loop
BAD_INPUT = 2
CANNOT_RUN = 4  # a loop cannot be tried on this machine or with this workload
CRASHED = 70  # a bug in Loopmark itself
INTERRUPTED = 130

ANOTHER_FILE = "choose another file"


class Conditions(NamedTuple):
    """The conditions of a measurement; None lets Loopmark choose."""

    device: str | None = None
    size: str | None = None
    batch_size: int | None = None
    seed: int = 0
    threads: int | None = None
    limit_seconds: float = 300.0


class Invocation:
    """One call of a command that measures: its console, its plan, its machine and the folder of its results.

    From here on SIGTERM acts like Ctrl-C: processes end, and the samples measured so far are kept. Raises BadInput if
    ``out`` cannot be written to, or the request cannot be carried out.

    Args:
        out: the folder of all results; None for a command that keeps nothing there.
        as_json: True if standard output gets JSON only; the line about importing torch is not printed then.
        plan_options: the other fields of ``PlanOptions``: what is measured, and for how long.
    """

    def __init__(self, out: Path | None, as_json: bool, conditions: Conditions, **plan_options: Any) -> None:
        if out is not None:
            from loopmark.bench.records.store import refuse_unwritable_folder

            refuse_unwritable_folder(out)
        self.console = StderrConsole()
        if not as_json and self.console.is_terminal:
            self.console.print("importing torch …", style="dim", end="\r")
        from loopmark.bench.measure.plan import PlanOptions, make_plan

        self.plan = make_plan(PlanOptions(["loopmark", *sys.argv[1:]], **conditions._asdict(), **plan_options))
        self.started, self._out = datetime.now(UTC), out
        signal.signal(signal.SIGTERM, signal.default_int_handler)

    @cached_property
    def machine(self) -> Machine:
        """This machine, described by a separate process, since this one never touches a device."""
        from loopmark.bench.measure.launcher import apart
        from loopmark.bench.measure.machine import describe_machine

        return apart(describe_machine, self.plan.device)

    @property
    def facts(self) -> "CommandFacts":
        """The facts that each of its records begins with."""
        from loopmark.bench.measure.machine import CommandFacts

        return CommandFacts(self.plan, self.machine, self.started)

    def new_folder(self) -> Path:
        """A new folder for the results, named by the machine and the start."""
        from loopmark.bench.records.store import create_folder

        assert self._out is not None
        return create_folder(self._out, self.machine.name, self.started.isoformat())

    @contextmanager
    def pool(self) -> Iterator[tuple[Path, "WorkerPool", RunProgress]]:
        """A new folder, its measuring processes and the progress. On failure, a folder without results is removed.

        The logs of what failed are then kept elsewhere.
        """
        from loopmark.bench.measure.pool import worker_pool
        from loopmark.bench.records.store import remove_if_empty

        assert self._out is not None
        is_new = not self._out.exists()
        folder = self.new_folder()
        try:
            with RunProgress(self.console) as progress, worker_pool(self.plan, folder, progress.tick) as pool:
                yield folder, pool, progress
        except BaseException as error:
            if (logs := folder / "logs").is_dir() and isinstance(error, BadInput):
                kept = Path(tempfile.mkdtemp(prefix="loopmark-logs-"))
                first, *others = sorted(Path(shutil.move(logs, kept)).iterdir())
                self.console.note(f"Logs: {first.parent}" if others else f"Log: {first}")
            shutil.rmtree(logs, ignore_errors=True)
            for made in (folder, folder.parent, *([self._out] if is_new else [])):
                remove_if_empty(made)
            raise


def exit_by(statuses: Iterable[str], *, interrupted: bool = False) -> None:
    """Exit with the matching status if the user interrupted, or a case failed or timed out."""
    if interrupted:
        raise typer.Exit(INTERRUPTED)
    if {*statuses} & {"failed", "timed_out"}:
        raise typer.Exit(FAILED)


def print_json(content: dict[str, Any]) -> None:
    """Print ``content`` as strict JSON."""
    print(json.dumps(content, indent=2, allow_nan=False))


def print_warnings(console: StderrConsole, warnings: Iterable[str]) -> None:
    for warning in warnings:
        console.note(f"warning: {plain(warning)}", "yellow")


def refuse_unwritable(*paths: Path | None) -> None:
    """Raise BadInput if one of these files could not be written. Call it before anything is measured."""
    given = [path for path in paths if path is not None]
    if not given:
        return

    from loopmark.bench.records.store import is_of_a_run

    for path in given:
        with writing_to(path, ANOTHER_FILE):
            with suppress(FileNotFoundError):
                path.lstat()
                if path.exists() and not path.is_file():  # links are followed: /dev/stdout is no file
                    raise BadInput(f"{path} exists and is not a file; choose another")
                if is_of_a_run(path):
                    raise BadInput(f"{path} belongs to a run; choose another file")
            # A file without a name: nothing is left behind.
            with tempfile.TemporaryFile(dir=path.parent):
                path.with_name(f"{path.name}.partial").is_file()  # it raises if the name is too long
    if len({os.path.abspath(path) for path in given}) < len(given):  # noqa: PTH100 - links are not followed
        raise BadInput(f"{given[0]} is given twice; choose a file for each output")


def write_file(path: Path, content: bytes) -> None:
    """Write a requested file in one move. Raises BadInput if it cannot be written."""
    with writing_to(path, ANOTHER_FILE):
        replace_file(path, content)
