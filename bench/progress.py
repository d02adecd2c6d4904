"""The progress line of a run."""

import os
import sys
import time
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

PLAIN_EVERY_SECONDS = 10.0  # without a terminal (a CI log), a new line only this often

MOST_DONE = 0.99  # the largest fraction shown, since the work is still running


class RunProgress:
    """A bar on a terminal, an occasional line in a log. Drawn only on calls: no timer disturbs a timed block."""

    def __init__(self, console: Console) -> None:
        self._console, self._last = console, float("-inf")
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:3.0f} %  {task.fields[left]}", markup=False),
            console=console,
            auto_refresh=False,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("", total=1.0, left="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def tell(self, doing: str, done: float, remaining_seconds: float | None) -> None:
        """Show the current work, the fraction of the whole that is done, and the remaining time."""
        # A forecast below a second is left out: if it were wrong, it would stay on the screen.
        left = f"{duration(remaining_seconds)} left" if remaining_seconds and remaining_seconds >= 1 else ""
        now, done = time.monotonic(), min(done, MOST_DONE)
        if self._console.is_terminal:
            if now - self._last > 0.2:
                self._bar.update(self._task, completed=done, description=doing, left=left, refresh=True)
                self._last = now
        elif now - self._last > PLAIN_EVERY_SECONDS:
            self._console.print(f"{done:4.0%}  {doing}  {left}".rstrip(), markup=False, highlight=False, soft_wrap=True)
            self._last = now

    def hint(self, doing: str, done: float, remaining_seconds: float | None = None) -> None:
        """Like ``tell``, on a terminal only: for short work, where a log should contain nothing but errors."""
        if self._console.is_terminal:
            self.tell(doing, done, remaining_seconds)


def duration(seconds: float) -> str:
    """``45 s`` or ``3 min 10 s``."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


class StderrConsole(Console):
    """The console for progress and errors on stderr; stdout holds results only.

    It becomes silent when its pipe is closed, so that the run goes on.
    """

    def __init__(self) -> None:
        super().__init__(file=sys.stderr)

    def note(self, text: str, style: str | None = None) -> None:
        """Print a line as it is, without markup, highlighting or line breaks."""
        self.print(text, style=style, markup=False, highlight=False, soft_wrap=True)

    def on_broken_pipe(self) -> None:
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
