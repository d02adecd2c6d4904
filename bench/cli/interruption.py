"""Ctrl-C, once: what was measured is judged and everything is put away, however impatient the person is."""

import os
import signal
import sys
from typing import Any


def interrupt_once() -> None:
    """Make the first Ctrl-C, or polite ``kill``, an interruption, and those after it no more than a word.

    A comparison that is interrupted has processes to end, worktrees to remove and a verdict to give, which takes time.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _first)


def leave_undisturbed() -> None:
    """The verdict has been told: no signal may turn the exit status that says it into another."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # a handler of ours would be gone before the process is


def _first(*_: Any) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _again)
    raise KeyboardInterrupt


def _again(*_: Any) -> None:
    # Not print: this may come in the middle of one.
    os.write(sys.stderr.fileno(), b"loopmark: putting things away; the verdict follows\n")
