"""``loopmark watch``: time a training script, unedited, while it runs."""

import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from loopmark.bench.cli import options
from loopmark.bench.cli.options import RESULTS
from loopmark.bench.errors import BadInput
from loopmark.bench.progress import StderrConsole

if TYPE_CHECKING:
    from loopmark.bench.measure.watching.watched import WatchedProcess

TICK_SECONDS = 0.25
FIRST_LINE_SECONDS, LATER = 2.0, 1.5  # the first line comes after this time in steps, each later one after 1.5 times
LINE_EVERY_SECONDS = 30.0  # as long again, at most
NOTHING_SEEN = 2


def watch(
    command: Annotated[
        list[str], typer.Argument(metavar="COMMAND", help="Run this: python train.py, torchrun …, after --.")
    ],
    steps: Annotated[int | None, typer.Option(help="End the command by Ctrl-C after this number of steps.")] = None,
    out: Annotated[Path, options.out("<machine>/<run>/")] = RESULTS,
) -> None:
    """Time the steps of a training script, unedited.
    At its end, at Ctrl-C or after --steps, print where the time went, what stands out and what to try next, and write
    a report. The script's output, signals and exit status stay its own; Loopmark writes to stderr.

    Exit status: the command's, or 0 after --steps, 2 for bad input.
    """
    if not command:
        raise BadInput("give the command to watch after --, such as: loopmark watch -- python train.py")
    if steps is not None and steps < 3:
        raise BadInput(f"--steps {steps} makes no sense; give at least 3")
    from loopmark.bench.measure.watching.command import WatchedCommand
    from loopmark.bench.measure.watching.watched import WatchedProcesses
    from loopmark.bench.records.store import refuse_unwritable_folder

    refuse_unwritable_folder(out)

    console = StderrConsole()
    started, began = datetime.now(UTC), time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="loopmark-watch-") as folder:
        processes = WatchedProcesses(Path(folder))
        line = _Line(console)

        def tick() -> bool:
            found = processes.poll()
            if found:
                line.tell(found[0])
            return bool(found and steps and found[0].steps >= steps)

        with WatchedCommand(command, Path(folder), steps) as running:
            status = running.wait(tick, TICK_SECONDS)
        seconds = time.perf_counter() - began
        found = processes.poll()
        reached = bool(found and steps and found[0].steps >= steps)
        if running.ended_by_force:
            console.note("loopmark: the script did not end on Ctrl-C, so it was ended", "yellow")
        if not found:
            console.note(f"loopmark: nothing to report: {processes.why_none()}", "yellow")
            raise typer.Exit(status)
        _report(found, out, started, seconds, status, steps if reached else None)
    raise typer.Exit(0 if reached else status)


class _Line:
    """One line about the running script, now and then, beside the script's own output."""

    def __init__(self, console: StderrConsole) -> None:
        self._console, self._next, self._pause = console, 0.0, FIRST_LINE_SECONDS

    def tell(self, process: "WatchedProcess") -> None:
        now = time.monotonic()
        if not self._next:
            self._next = now + self._pause
        if now < self._next:
            return
        self._pause = min(LINE_EVERY_SECONDS, LATER * self._pause)
        self._next = now + self._pause
        from loopmark.bench.report.course import live

        text = live(process.latest(), process.facts["phases"])
        # A bar of the script's may stand on this line.
        start = "\r\x1b[2K" if self._console.is_terminal else ""
        sys.stderr.write(f"{start}loopmark · {text}\n")
        sys.stderr.flush()


def _report(
    found: "list[WatchedProcess]",
    out: Path,
    started: datetime,
    seconds: float,
    status: int,
    steps: int | None,
) -> None:
    """Keep the run in a folder, draw its report and print its summary."""
    from rich.console import Console

    from loopmark.bench.measure.watching.keep import keep
    from loopmark.bench.report.draw import draw
    from loopmark.bench.report.run_tables import print_summary

    command = " ".join(["loopmark", *sys.argv[1:]])
    folder, run, samples = keep(found, command, out, started, seconds, exit_status=status, asked_steps=steps)
    summary = draw(folder, run, samples)
    print_summary(summary, Console(stderr=True))
    StderrConsole().note(f"Report: {folder / 'report.html'}")
