"""The progress line of a run."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

from rich.cells import cell_len
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from loopmark.bench.report.text import elide

PLAIN_EVERY_SECONDS = 10.0  # without a terminal (a CI log), a new line only this often
DRAWN_EVERY_SECONDS = 0.2
DOT = " · "  # between a place and the one within it
MOST_DONE = 0.99  # the largest fraction shown, since the work is still running
FIRM = 0.1  # the end is forecast anew where it moves by more than this share of the whole
BAR_WIDTH, TIME_WIDTH = 10, 15  # of ``12:34 of ~25:10``
BESIDE = BAR_WIDTH + len(" 99 %   ")  # columns of a line that hold neither its times nor its label


class RunProgress:
    """A bar on a terminal, an occasional line in a log. Drawn only on calls: no timer disturbs a timed block."""

    def __init__(self, console: Console) -> None:
        self._console, self._last = console, float("-inf")
        self._start = self._since = time.monotonic()
        self._doing, self._done = "", 0.0
        self._end: float | None = None  # of the whole, by the last forecast
        self._expected: float | None = None
        self._bar = Progress(
            BarColumn(bar_width=BAR_WIDTH),
            TextColumn("{task.percentage:2.0f} % "),
            TextColumn(f"{{task.fields[time]:{TIME_WIDTH}}}"),
            TextColumn("{task.description}", markup=False),
            console=console,
            auto_refresh=False,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("", total=1.0, time="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def tell(self, doing: str, done: float, left_seconds: float | None, expected_seconds: float | None = None) -> None:
        """Show the work that begins; for the arguments see ``schedule.Progress``."""
        self._since = now = time.monotonic()
        self._doing, self._done, self._expected = doing, done, expected_seconds
        if left_seconds is not None:
            end = now + left_seconds
            if self._end is None or abs(end - self._end) > FIRM * (end - self._start):  # else it stands still
                self._end = end
        self.tick()

    def hint(self, doing: str, done: float) -> None:
        """Like ``tell``, on a terminal only: for short work, where a log should contain nothing but errors."""
        if self._console.is_terminal:
            self.tell(doing, done, None)

    def tick(self) -> None:
        """Show how long the current work and the whole have taken by now."""
        now, drawn = time.monotonic(), self._console.is_terminal
        if not self._doing or now - self._last < (DRAWN_EVERY_SECONDS if drawn else PLAIN_EVERY_SECONDS):
            return
        self._last, spent = now, now - self._start
        done, told = self._done, clock(spent)
        if self._end is not None:
            whole = max(self._end - self._start, 1.0)
            late = now - self._since - (self._expected or float("inf"))  # the rest of the whole is still to come
            over = max(spent - whole, late if late > FIRM * whole else 0.0)
            done = spent / (whole + max(over, 0.0))
            told += f" of ~{clock(whole)}" if over < 1 else f", {over:.0f} s over"
        *places, doing = self._doing.split(DOT)
        parts = [doing + _beside(now - self._since, self._expected), *reversed(places)]
        room = max(1, self._console.width - BESIDE - max(TIME_WIDTH, len(told)))
        while drawn and len(parts) > 2 and cell_len(DOT.join(parts)) > room:
            parts.pop()  # the most general place
        label = DOT.join(parts)
        if drawn:
            label = elide(label, room)
            self._bar.update(self._task, completed=min(done, MOST_DONE), description=label, time=told, refresh=True)
        else:
            self._console.print(
                f"{min(done, MOST_DONE):4.0%}  {told}  {label}", markup=False, highlight=False, soft_wrap=True
            )


def _beside(seconds: float, expected: float | None) -> str:
    """``, 32 s of about 40``: the time of the current work; a time below a second is left out."""
    if expected is None or expected < 1:
        return f", {seconds:.0f} s" if seconds >= 1 else ""
    if seconds < 1:
        return f", about {expected:.0f} s"
    return f", {seconds:.0f} s {'of about' if seconds <= expected else 'instead of'} {expected:.0f}"


def clock(seconds: float) -> str:
    """``3:10``, or ``1:03:10``."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}" if minutes >= 60 else f"{minutes}:{rest:02}"


class StderrConsole(Console):
    """The console for progress and errors on stderr; stdout holds results only.

    It becomes silent when its pipe is closed, so that the run goes on.
    """

    def __init__(self) -> None:
        super().__init__(file=sys.stderr)

    def note(self, text: str, style: str | None = None) -> None:
        """Print a line as it is, without markup, highlighting or line breaks."""
        self.print(text, style=style, markup=False, highlight=False, soft_wrap=True)

    @contextmanager
    def waiting(self, doing: str) -> Iterator[None]:
        """Show on a terminal what is done while nothing is measured."""
        with RunProgress(self) as progress:
            progress.hint(doing, 1.0)
            yield

    def on_broken_pipe(self) -> None:
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
