"""The loops to use on a workload: one for long runs, one for shorter ones, and a combination that was not tried."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from loopmark.bench.judge.statistics import Estimate
from loopmark.bench.judge.summary import Row, WorkloadSummary

FROM_THE_START = 1.0  # a loop that has made up for its start within this number of steps starts as soon as the baseline


@dataclass(frozen=True)
class Choice:
    """The loops to use."""

    long: Row  # the fastest of the loops shown to be faster than all that start earlier
    short: Row | None = None  # the loop that is ahead until ``long`` overtakes it; None: the baseline
    overtakes: Estimate | None = None  # the steps until then, start-up included; None: ``long`` is ahead at once
    untried: str | None = None  # a loop with the techniques of several faster ones, which the run did not have
    unsettled: Row | None = None  # a loop that may be faster than ``long`` in long runs, and starts later


def ahead_from(row: Row) -> Estimate | None:
    """The steps until a loop is ahead of the baseline, start-up included; None if it is at once, or if unknown."""
    steps = row.break_even_steps
    return steps if steps is not None and steps.value >= FROM_THE_START else None


def choose(workload: WorkloadSummary, alike: Sequence[Row]) -> Choice | None:
    """The choice among ``alike``, the loops shown to train as the baseline does; None if none of them is faster."""
    faster = [(row, row.speedup) for row in alike if row.verdict == "faster" and row.speedup]
    faster = [one for one in faster if 0 < one[1].value < math.inf]
    if not faster or workload.base is None or workload.base.step_seconds is None:
        return None
    step = workload.base.step_seconds.value
    faster.sort(key=lambda one: (-one[1].value, _delay(one[0], step)))
    fastest = faster[0][0]
    long, ratio = next(one for one in faster if _is_settled(*one, faster, step))
    others = [(row, its) for row, its in faster if row is not long]
    untried, late = _untried([long, *(row for row, _ in others)], workload.rows), ahead_from(long)
    unsettled = None if fastest is long else fastest
    if late is None:
        return Choice(long, untried=untried, unsettled=unsettled)
    # The total time of a loop over its steps is a straight line; the last one that `long` crosses is the one to use
    # until then. It is ahead of the baseline before that, or `long` would cross the baseline's line later.
    crossings = [(row, _crossing(long, ratio, row, its, step)) for row, its in others if row.break_even_steps]
    short, overtakes = max(crossings, key=lambda one: one[1].value, default=(None, late))
    if overtakes.value <= late.value:
        short, overtakes = None, late
    return Choice(long, short, overtakes, untried, unsettled)


def _is_settled(long: Row, ratio: Estimate, faster: Iterable[tuple[Row, Estimate]], step: float) -> bool:
    """True if ``long`` is faster than all loops that start earlier, by their intervals: then its start pays."""
    late = _delay(long, step)
    return all(its.high < ratio.low for row, its in faster if row.break_even_steps and _delay(row, step) < late)


def _crossing(long: Row, ratio: Estimate, short: Row, its: Estimate, step: float) -> Estimate:
    """The steps after which ``long`` has overtaken ``short``, given the seconds of the baseline's step.

    The ends of both speedups' intervals give an interval that is wider than needed.
    """
    later = _delay(long, step) - _delay(short, step)

    def steps(slow: float, fast: float) -> float:
        gain = step * (1 / slow - 1 / fast) if slow > 0 and fast > 0 else 0.0
        return max(0.0, later) / gain if gain > 0 else math.inf if later > 0 else 0.0

    return Estimate(steps(its.value, ratio.value), steps(its.low, ratio.high), steps(its.high, ratio.low))


def _delay(row: Row, step: float) -> float:
    """The seconds by which a loop starts later than the baseline."""
    late = ahead_from(row)
    return late.value * step * (1 - 1 / row.speedup.value) if late and row.speedup else 0.0


def _untried(faster: Sequence[Row], rows: Iterable[Row]) -> str | None:
    """The fastest loop joined with as many techniques of the others as go with it; None if the run had that loop."""
    if not any(row.case.code for row in faster):  # an older run, which does not know what excludes what
        return None
    parts, excluded = _parts(faster[0]), set(faster[0].case.excludes)
    own = [part for part in parts if ":" in part]
    for row in faster[1:]:
        more = [part for part in _parts(row) if part not in parts]
        kinds, its_kinds = set(map(_kind, parts)), set(map(_kind, more))
        clash = (excluded | kinds) & its_kinds or kinds & set(row.case.excludes)
        if not clash and [part for part in _parts(row) if ":" in part] == own:
            parts, excluded = [*parts, *more], excluded | set(row.case.excludes)
    return None if any(set(parts) == set(_parts(row)) for row in rows) else "+".join(parts)


def _parts(row: Row) -> list[str]:
    return row.case.loop.split("+")


def _kind(technique: str) -> str:
    """The name by which other techniques exclude it: ``accumulate_K`` for ``accumulate_4``."""
    return "accumulate_K" if technique.startswith("accumulate_") else technique
