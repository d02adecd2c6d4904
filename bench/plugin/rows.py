"""The rows of pytest-benchmark's table: one for a loop's whole step, and one for each of its phases.

The public API gives a test one row. Its table, JSON, CSV and comparison all go over one list of rows, and a row is an
object of the class that the public ``benchmark.stats`` is of. So a phase's row is made by that class and tried out,
and only when every one answers as it should do they join the list. ``add_phases`` is all that Loopmark knows of
pytest-benchmark's internals.
"""

import contextlib
import math
import statistics
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Any

import pytest

from loopmark import __version__
from loopmark.bench.plugin import SESSION

if TYPE_CHECKING:
    from loopmark.bench.plugin.extra_info import ExtraInfo
    from loopmark.bench.plugin.measurement import Measurement

KEY = "loopmark"  # in `extra_info` and in `machine_info`
PHASE = "phase"  # the parameter that tells the rows of one test apart, for `--benchmark-group-by=param:phase`
WHOLE_STEP = "step"  # its value in the total's row


class LoopmarkWarning(pytest.PytestWarning):
    """Something that a person should know of, and that fails no test."""


class Replay:
    """A timer in which each call of ``next_round`` takes as long as one measured value.

    pytest-benchmark times calls of a function in its own process, one after the other. Ours were timed in other
    processes, in turns, so they are replayed: ``pedantic(replay.next_round, rounds=len(values))`` with this as its
    timer makes exactly these values its data, and is public.
    """

    __name__ = "loopmark"  # what its JSON calls the timer

    def __init__(self) -> None:
        self.rounds: Iterator[float] = iter(())  # those that are to come, in seconds
        self._now = 0.0
        self.was_read = False

    def __call__(self) -> float:
        """The time, from 0 in every round so that sums do not round the values."""
        self.was_read = True
        now, self._now = self._now, 0.0
        return now

    def next_round(self) -> None:
        """Let a round's seconds pass; none are left for a profiler, which calls once more."""
        self._now = next(self.rounds, 0.0)


REPLAY = pytest.StashKey[Replay]()


class NoTable:
    """Where pytest-benchmark is not loaded: nothing is kept."""

    def __init__(self, config: pytest.Config) -> None:
        # As pytest-benchmark has it: tests that run beside one another disturb each other's seconds.
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
        """Add the loop's rows; where phases cannot have their own, they are in ``extra_info`` all the same."""
        benchmark, replay = self._benchmark, self._item.stash[REPLAY]
        if benchmark.group is None:
            benchmark.group = extra.workload  # whole steps of one workload line up, and so do their phases
        benchmark.extra_info[KEY] = asdict(extra)
        rounds = measured.rounds(extra.loop)
        replay.rounds = iter(rounds)
        benchmark.pedantic(replay.next_round, rounds=len(rounds))
        if not replay.was_read:
            self._warn("it does not read the timer of the benchmark mark", "its seconds are not those of the loop")
            return
        phases, launches = measured.phase_rounds(extra.loop), measured.rounds_per_launch(extra.loop, lapped=True)
        missing = add_phases(self._item.config, benchmark, phases, launches)
        if missing is not None:
            self._warn(missing, "the phases have no rows of their own and are in extra_info only")

    def leave_out(self) -> None:
        """Tell pytest-benchmark that this test has used its fixture and has nothing for it."""
        with contextlib.suppress(_NothingMeasuredError):
            self._benchmark.pedantic((lambda: None) if self.disabled else _refuse)

    def _warn(self, missing: str, so: str) -> None:
        told = self._item.config.stash[SESSION].warned
        if missing not in told:
            told.add(missing)
            version = metadata.version("pytest-benchmark")
            text = f"pytest-benchmark {version} is not as loopmark {__version__} knows it: {missing}; {so}"
            warnings.warn(LoopmarkWarning(text), stacklevel=1)


Table = NoTable | BenchmarkTable  # what takes the figures of one test


class _NothingMeasuredError(Exception):
    """Has pytest-benchmark mark the test as one with an error, which it leaves out of its files."""


def _refuse() -> None:
    raise _NothingMeasuredError


@dataclass
class _Fixture:
    """What a row reads from the fixture that it belongs to."""

    name: str
    fullname: str
    group: str
    param: str
    params: dict[str, Any]
    extra_info: dict[str, Any]
    cprofile_stats: None = None
    has_error: bool = False


def add_phases(
    config: pytest.Config, benchmark: Any, phases: Mapping[str, Sequence[float]], rounds_per_launch: Sequence[int] = ()
) -> str | None:
    """Give each phase a row, its data in seconds a step; None when they have them, else what is missing for that.

    A phase is one more parameter of the test: ``test_step[resnet]`` has ``test_step[resnet-forward]``, in the group
    ``resnet forward`` where the total's is ``resnet``.
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
    except Exception as error:  # whatever it has become
        return f"{type(error).__name__}: {error}"
    return None


def _row(total: Any, phase: str, values: Sequence[float], rounds_per_launch: Sequence[int]) -> Any:
    param = f"{total.param}-{phase}" if total.param else phase
    fixture = _Fixture(
        name=_with_param(total.name, phase),
        fullname=_with_param(total.fullname, phase),
        group=f"{total.group} {phase}",
        param=param,
        params={PHASE: phase, **(total.params or {})},
        extra_info={"loopmark": {PHASE: phase, "rounds_per_launch": list(rounds_per_launch)}},
    )
    row = type(total)(fixture, iterations=1, options=total.options)
    for value in values:
        row.update(value)
    _try_out(row, fixture, values)
    return row


def _try_out(row: Any, fixture: _Fixture, values: Sequence[float]) -> None:
    """Raise what is wrong, should the row not give back what it was given, in the ways that it will be asked."""
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
    """``test_step[resnet-forward]`` of ``test_step[resnet]``: what stands before the bracket is the function."""
    return f"{name[:-1]}-{phase}]" if name.endswith("]") else f"{name}[{phase}]"
