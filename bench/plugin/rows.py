"""The rows of pytest-benchmark's table: one for a loop's whole step, and one for each of its phases.

The public API gives a test one row. The table, JSON, CSV and comparison all read one list of rows, whose class is that
of the public ``benchmark.stats``. So each phase's row is an object of this class, and is checked first. Rows join the
list only if all of them pass. ``add_phases`` is the only code that uses pytest-benchmark's internals.
"""

import contextlib
import math
import statistics
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from importlib import metadata
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from loopmark import __version__
from loopmark.bench.plugin import SESSION
from loopmark.bench.records import PYTEST_BENCHMARK_KEY
from loopmark.bench.report.show import seconds
from loopmark.bench.report.table import Column, Table

if TYPE_CHECKING:
    from loopmark.bench.plugin.findings import ExtraInfo
    from loopmark.bench.plugin.measurement import Measurement

PHASE = "phase"  # the parameter that distinguishes the rows of one test, for `--benchmark-group-by=param:phase`
WHOLE_STEP = "step"  # its value in the row of the whole step


def phase_table(phases: Mapping[str, Mapping[str, float]]) -> Iterator[str]:
    """The lines of one table: the seconds of each phase in a typical step, for each test."""

    def column(phase: str) -> Column[Mapping[str, float]]:
        return Column(phase, lambda row: seconds(row.get(phase)))

    names = dict.fromkeys(phase for row in phases.values() for phase in row)
    table = Table([column(phase) for phase in names], [*phases.values()]).in_terminal(phases, head="phases of a step")
    yield from (line.plain for line in table.headings())
    yield from (table.line(test, row).plain for test, row in phases.items())


class LoopmarkWarning(pytest.PytestWarning):
    """A warning to the user that fails no test."""


class Replay:
    """A timer in which each call of ``next_round`` takes as long as one measured value.

    pytest-benchmark times calls of a function in its own process, one after the other. Loopmark's steps were timed in
    other processes, in turns, so they are replayed: ``pedantic(replay.next_round, rounds=len(values))``, a public
    function, with this as its timer gets exactly these values as its data.
    """

    __name__ = "loopmark"  # the timer's name in the JSON

    def __init__(self) -> None:
        self.rounds: Iterator[float] = iter(())  # the rounds to come, in seconds
        self._now = 0.0
        self.was_read = False

    def __call__(self) -> float:
        """The time in seconds. Each round begins at 0, so that sums do not round the values."""
        self.was_read = True
        now, self._now = self._now, 0.0
        return now

    def next_round(self) -> None:
        """Let a round's seconds pass. A profiler calls once more, and gets 0."""
        self._now = next(self.rounds, 0.0)


REPLAY = pytest.StashKey[Replay]()


class NoTable:
    """The table without pytest-benchmark, which stores nothing."""

    def __init__(self, config: pytest.Config) -> None:
        # As in pytest-benchmark: tests that run at the same time disturb each other's timing.
        self.disabled = hasattr(config, "workerinput")

    def keep(self, measured: "Measurement", extra: "ExtraInfo") -> None:
        pass

    def leave_out(self) -> None:
        pass


class BenchmarkTable:
    """A row for the total by pytest-benchmark's public API, and one for each phase by its internals."""

    def __init__(self, item: pytest.Item, benchmark: Any) -> None:
        self._item, self._benchmark = item, benchmark
        self.disabled = bool(benchmark.disabled)

    def keep(self, measured: "Measurement", extra: "ExtraInfo") -> None:
        """Add the loop's rows. Phases that cannot have rows are still in ``extra_info``."""
        benchmark, replay = self._benchmark, self._item.stash[REPLAY]
        if benchmark.group is None:
            benchmark.group = extra.workload  # whole steps of one workload form a group, and so do their phases
        benchmark.extra_info[PYTEST_BENCHMARK_KEY] = asdict(extra)
        rounds = measured.rounds(extra.loop)
        replay.rounds = iter(rounds)
        benchmark.pedantic(replay.next_round, rounds=len(rounds))
        if not replay.was_read:
            self._warn("it does not read the timer of the benchmark mark", "its seconds are not the loop's")
            return
        phases, launches = measured.phase_rounds(extra.loop), measured.rounds_per_launch(extra.loop, lapped=True)
        missing = add_phases(self._item.config, benchmark, phases, launches)
        if missing is not None:
            self._warn(missing, "the phases have no rows of their own and are in extra_info only")

    def leave_out(self) -> None:
        """Mark pytest-benchmark's fixture as used by this test, without a result."""
        with contextlib.suppress(_NothingMeasuredError):
            self._benchmark.pedantic((lambda: None) if self.disabled else _refuse)

    def _warn(self, missing: str, so: str) -> None:
        told = self._item.config.stash[SESSION].warned
        if missing not in told:
            told.add(missing)
            version = metadata.version("pytest-benchmark")
            text = f"pytest-benchmark {version} is not supported by loopmark {__version__}: {missing}; {so}"
            warnings.warn(LoopmarkWarning(text), stacklevel=1)


Rows = NoTable | BenchmarkTable  # receives the figures of one test


class _NothingMeasuredError(Exception):
    """Makes pytest-benchmark mark the test as failed, and leave it out of its files."""


def _refuse() -> None:
    raise _NothingMeasuredError


def add_phases(
    config: pytest.Config, benchmark: Any, phases: Mapping[str, Sequence[float]], rounds_per_launch: Sequence[int] = ()
) -> str | None:
    """Give each phase a row, with data in seconds per step. Returns None, or the reason if that is impossible.

    A phase is one more parameter of the test: ``test_step[resnet]`` gets ``test_step[resnet-forward]``, in the group
    ``resnet phases`` if that of the whole step is ``resnet``.
    """
    try:
        total = benchmark.stats
        rows = [_row(total, phase, values, rounds_per_launch) for phase, values in phases.items()]
        config._benchmarksession.benchmarks.extend(rows)  # type: ignore[attr-defined]
        listed = {id(row) for row in config._benchmarksession.benchmarks}  # type: ignore[attr-defined]
        if not listed.issuperset(map(id, [total, *rows])):
            return "BenchmarkSession.benchmarks does not keep the rows that it is given"
        if PHASE not in (total.params or {}):
            total.params = {**(total.params or {}), PHASE: WHOLE_STEP}
    except Exception as error:  # any error of a changed pytest-benchmark
        return f"{type(error).__name__}: {error}"
    return None


def _row(total: Any, phase: str, values: Sequence[float], rounds_per_launch: Sequence[int]) -> Any:
    fixture = SimpleNamespace(  # the attributes of a fixture that its row reads
        name=_with_param(total.name, phase),
        fullname=_with_param(total.fullname, phase),
        group=f"{total.group} phases",
        param=f"{total.param}-{phase}" if total.param else phase,
        params={PHASE: phase, **(total.params or {})},
        extra_info={PYTEST_BENCHMARK_KEY: {PHASE: phase, "rounds_per_launch": list(rounds_per_launch)}},
        cprofile_stats=None,
        has_error=False,
    )
    row = type(total)(fixture, iterations=1, options=total.options)
    for value in values:
        row.update(value)
    _try_out(row, fixture, values)
    return row


def _try_out(row: Any, fixture: SimpleNamespace, values: Sequence[float]) -> None:
    """Raise TypeError if the row does not return the data it was given, in each way it will be read."""
    flat, whole = row.as_dict(include_data=False, flat=True), row.as_dict(include_data=True)
    for name in ("name", "fullname", "group", "param", "params", "extra_info"):
        if flat[name] != getattr(fixture, name):
            raise TypeError(f"a row's {name} is {flat[name]!r}, not {getattr(fixture, name)!r}")
    mean = statistics.fmean(values)
    if not (row and math.isclose(flat["mean"], mean) and math.isclose(row["mean"], mean)):
        raise TypeError("a row's mean is not that of its data")
    if list(whole["stats"]["data"]) != list(values) or row.has_error:
        raise TypeError("a row does not give its data back")


def _with_param(name: str, phase: str) -> str:
    """``test_step[resnet-forward]`` from ``test_step[resnet]``: the text before the bracket is the function."""
    return f"{name[:-1]}-{phase}]" if name.endswith("]") else f"{name}[{phase}]"
