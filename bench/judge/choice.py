"""The loops to use on a workload: one for long runs, one for shorter ones, and a combination that was not tried."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from loopmark.bench.judge.statistics import Estimate
from loopmark.bench.judge.summary import Row, WorkloadSummary

SHORTEST_RUN = 100.0  # steps; a loop that is ahead after fewer is for all runs, since two answers would help nobody
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
    """The choice among ``alike``, the loops that may be chosen; None if none of them is faster.

    A loop that starts later has to be faster for sure than all that start earlier: else its start may never pay.
    """
    faster = [(row, row.speedup) for row in alike if row.verdict == "faster" and row.speedup]
    faster = [one for one in faster if 0 < one[1].value < math.inf]
    if not faster or workload.base is None or workload.base.step_seconds is None:
        return None
    step = workload.base.step_seconds.value
    faster.sort(key=lambda one: (-one[1].value, _delay(one[0], step)))

    def earlier(row: Row) -> list[tuple[Row, Estimate]]:
        late = _delay(row, step)
        return [one for one in faster if one[0].break_even_steps and _delay(one[0], step) < late]

    long, ratio = next(one for one in faster if all(its.high < one[1].low for _, its in earlier(one[0])))
    # The total time of a loop over its steps is a straight line; the last one that `long` crosses is the one to use
    # until then. It is ahead of the baseline before that, or `long` would cross the baseline's line later.
    late, pays = _delay(long, step), ahead_from(long)
    crossings = [(row, _crossing(late - _delay(row, step), step, its, ratio)) for row, its in earlier(long)]
    short, overtakes = max(crossings, key=lambda one: one[1].value, default=(None, pays))
    if pays and overtakes and overtakes.value <= pays.value:
        short, overtakes = None, pays
    if overtakes and overtakes.value < SHORTEST_RUN:
        short, overtakes = None, None
    untried = _untried([long, *(row for row, _ in faster if row is not long)], workload.rows)
    return Choice(long, short, overtakes, untried, None if long is faster[0][0] else faster[0][0])


def _crossing(later: float, step: float, slow: Estimate, fast: Estimate) -> Estimate:
    """The steps after which a loop that starts ``later`` has overtaken a slower one, both given by their speedups.

    The ends of both speedups' intervals give an interval that is wider than needed.
    """

    def steps(slow: float, fast: float) -> float:
        gain = step * (1 / slow - 1 / fast)
        return later / gain if gain > 0 else math.inf

    return Estimate(steps(slow.value, fast.value), steps(slow.low, fast.high), steps(slow.high, fast.low))


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
