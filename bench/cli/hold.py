"""A contest held to its verdict: what ``ab`` and ``calibrate`` share."""

import time
from typing import TYPE_CHECKING

from bench.progress import RunProgress

if TYPE_CHECKING:
    from bench.judge.contest import Referee, Rules
    from bench.measure.contest import Contest, Measured


def hold(
    contest: "Contest", budget_seconds: float, rules: "Rules", progress: RunProgress | None
) -> "tuple[list[Measured], Referee | None, bool]":
    """Launch pairs until the referee has decided or the budget is spent.

    Returns what was measured, the referee (None where not one pair was), and whether Ctrl-C ended it.
    """
    from bench.judge.contest import Referee

    measured: list[Measured] = []
    referee, interrupted, start = None, False, time.perf_counter()
    try:
        if progress:
            progress.tell("launch pair 1", 0.0, budget_seconds)
        for pair in contest.pairs(budget_seconds):
            if referee is None:
                referee = Referee(rules, *contest.sides)
            referee.add(pair.pair, pair.blocks, pair.phases)
            measured.append(pair)
            if referee.decided:
                break
            if progress:
                spent = time.perf_counter() - start
                doing = f"launch pair {len(measured) + 1}, at most {budget_seconds:g} s"
                progress.tell(doing, min(1.0, spent / budget_seconds), max(0.0, budget_seconds - spent))
    except KeyboardInterrupt:
        interrupted = True
    return measured, referee, interrupted
