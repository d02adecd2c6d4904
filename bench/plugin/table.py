"""Where a test's figures go: pytest-benchmark's table, or nowhere."""

import contextlib
import warnings
from importlib import metadata
from typing import Any, Protocol

import pytest

from loopmark import __version__
from loopmark.bench.plugin import internals
from loopmark.bench.plugin.kept import KEY, Kept
from loopmark.bench.plugin.measurement import Measurement
from loopmark.bench.plugin.replay import REPLAY
from loopmark.bench.plugin.session import SESSION


class LoopmarkWarning(pytest.PytestWarning):
    """Something that a person should know of, and that fails no test."""


class Table(Protocol):
    """What takes the figures of one test."""

    @property
    def disabled(self) -> bool:
        """Whether nothing is to be measured."""

    def keep(self, measured: Measurement, kept: Kept) -> None:
        """Take the figures of a loop."""

    def leave_out(self) -> None:
        """There are none: the loop was only tried, or failed."""


class NoTable:
    """Where pytest-benchmark is not loaded."""

    def __init__(self, config: pytest.Config) -> None:
        # As pytest-benchmark has it: tests that run beside one another disturb each other's seconds.
        self.disabled = hasattr(config, "workerinput")

    def keep(self, measured: Measurement, kept: Kept) -> None:
        """Nothing to keep them in."""

    def leave_out(self) -> None:
        """Nothing to leave them out of."""


class BenchmarkTable:
    """A row for the total by pytest-benchmark's public API, and one for each phase by its internals."""

    def __init__(self, item: pytest.Item, benchmark: Any) -> None:
        self._item, self._benchmark = item, benchmark
        self.disabled = bool(benchmark.disabled)

    def keep(self, measured: Measurement, kept: Kept) -> None:
        """Add the loop's rows; where phases cannot have their own, they are in ``extra_info`` all the same."""
        benchmark, replay = self._benchmark, self._item.stash[REPLAY]
        if benchmark.group is None:
            benchmark.group = kept.workload  # whole steps of one workload line up, and so do their phases
        benchmark.extra_info[KEY] = kept.as_extra_info()
        rounds = measured.rounds(kept.loop)
        replay.load(rounds)
        benchmark.pedantic(replay.next_round, rounds=len(rounds))
        if not replay.was_read:
            self._warn("it does not read the timer of the benchmark mark", "its seconds are not those of the loop")
            return
        phases, launches = measured.phase_rounds(kept.loop), measured.rounds_per_launch(kept.loop, lapped=True)
        missing = internals.add_phases(self._item.config, benchmark, phases, launches)
        if missing is not None:
            self._warn(missing, "the phases have no rows of their own and are in extra_info only")

    def leave_out(self) -> None:
        """Tell pytest-benchmark that this test has used its fixture and has nothing for it."""
        if self.disabled:
            self._benchmark.pedantic(lambda: None)
            return
        with contextlib.suppress(_NothingMeasuredError):
            self._benchmark.pedantic(_refuse)

    def _warn(self, missing: str, so: str) -> None:
        told = self._item.config.stash[SESSION].warned
        if missing not in told:
            told.add(missing)
            version = metadata.version("pytest-benchmark")
            text = f"pytest-benchmark {version} is not as loopmark {__version__} knows it: {missing}; {so}"
            warnings.warn(LoopmarkWarning(text), stacklevel=1)


class _NothingMeasuredError(Exception):
    """Has pytest-benchmark mark the test as one with an error, which it leaves out of its files."""


def _refuse() -> None:
    raise _NothingMeasuredError
