"""A clock for pytest-benchmark that tells the seconds which Loopmark has measured."""

from collections.abc import Iterator, Sequence

import pytest


class Replay:
    """A timer in which each call of ``next_round`` takes as long as one measured value.

    pytest-benchmark times calls of a function in its own process, one after the other. Ours were timed in other
    processes, in turns, so they are replayed: ``pedantic(replay.next_round, rounds=len(values))`` with this as its
    timer makes exactly these values its data, and is public.
    """

    __name__ = "loopmark"  # what its JSON calls the timer

    def __init__(self) -> None:
        self._values: Iterator[float] = iter(())
        self._now = 0.0
        self.was_read = False

    def load(self, values: Sequence[float]) -> None:
        """Set the rounds that are to come, in seconds."""
        self._values = iter(values)

    def __call__(self) -> float:
        """The time, from 0 in every round so that sums do not round the values."""
        self.was_read = True
        now, self._now = self._now, 0.0
        return now

    def next_round(self) -> None:
        """Let a round's seconds pass; none are left for a profiler, which calls once more."""
        self._now = next(self._values, 0.0)


REPLAY = pytest.StashKey[Replay]()
