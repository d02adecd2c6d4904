"""Every target at every size that is in the running, in random order, until the budget is spent.

First each target's sizes are tried in turn, from small to large, as far as memory and the budget go. Then all of them,
of all targets, take one sample each a round, each round in an order of its own: what drifts (a clock that falls as the
chip grows hot, a neighbour who comes and goes) favours none. Now and then, those that are clearly beaten drop out.
"""

import random
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from loopmark.bench.measure.ceilings.contender import Contender
from loopmark.bench.measure.ceilings.target import Target
from loopmark.bench.measure.disturbance import DisturbanceMeter
from loopmark.bench.measure.warmup import warm_up
from loopmark.bench.median import LEAST_SAMPLES, median_interval
from loopmark.bench.records.ceilings import Ceiling, Disturbance, LeftOut, Tried
from loopmark.loops.user_code import described

SAMPLE_SECONDS = 0.02
"""Long beside a clock's reading and a device's start, short beside what disturbs: many short samples have a steadier
median than few long ones."""
SAMPLE_SHARE, WARM_UP_SHARE = 1 / 750, 1 / 20
"""Of the budget: the longest sample of operations that are shorter, and the longest warm-up of a target."""
OPERATION_SHARE, SMALLEST_SHARE = 1 / 60, 1 / 20
"""Of the budget: the longest operation that a size may have, and that the smallest size may have."""
SOAK_SECONDS, SOAK_SHARE, SOAK_SAMPLES = 2.0, 1 / 4, 4
"""A soak's length, its largest share of the budget, and its samples. The survey's samples are short, with rests between
them, and a board at its power limit may not hold what they reach; the soak's last sample tells what it holds."""
LOOPS_MULTIPLY_IN = ("float32", "tf32", "bfloat16", "float16")
"""The types of Loopmark's own loops, by whose products their utilisation is told."""
ENOUGH_ROUNDS = 3 * LEAST_SAMPLES
"""Where the budget is too small for so many, it goes to fewer sizes."""


@dataclass(frozen=True)
class Found:
    """What was measured, and what was left out."""

    ceilings: tuple[Ceiling, ...]
    left_out: tuple[LeftOut, ...]


@dataclass(frozen=True)
class Entry:
    """One target with its sizes that are in the running: none where ``reason`` says why."""

    target: Target
    contenders: tuple[Contender, ...] = ()
    steady: bool = False
    reason: str = ""


def survey(
    targets: Iterable[Target],
    budget_seconds: float,
    seed: int,
    meter: DisturbanceMeter | None = None,
    now: Callable[[], float] = time.perf_counter,
    *,
    soak: bool = False,
) -> Found:
    """The ceiling of every target, or the reason why it has none.

    Args:
        budget_seconds: of all targets together, whatever it takes to prepare them included.
        seed: of the order.
        meter: looks at what disturbs each sample.
        soak: whether to tell what the best matrix product holds, within the budget too.
    """
    soak_seconds = min(SOAK_SECONDS, SOAK_SHARE * budget_seconds) if soak else 0.0
    end = now() + budget_seconds - soak_seconds
    entries = [_entry(target, budget_seconds) for target in targets]
    running = _affordable([one for entry in entries for one in entry.contenders], end - now())
    _take_rounds(running, random.Random(seed), meter, lambda: end - now())
    outcomes = [_outcome(entry, budget_seconds) for entry in entries]
    if soak:
        outcomes = _soaked(outcomes, entries, soak_seconds)
    return Found(
        ceilings=tuple(one for one in outcomes if isinstance(one, Ceiling)),
        left_out=tuple(one for one in outcomes if isinstance(one, LeftOut)),
    )


def _entry(target: Target, budget_seconds: float) -> Entry:
    """The sizes that are in the running, in ascending order, the target warmed up."""
    found: list[Contender] = []
    longest = SMALLEST_SHARE * budget_seconds
    for size in target.sizes:
        if found and found[-1].forecast_seconds(size) > longest:
            break
        try:
            contender = Contender(target, size, target.prepare(size))
            contender.try_out(min(SAMPLE_SECONDS, SAMPLE_SHARE * budget_seconds), longest)
        except Exception as error:  # a dtype that the device cannot multiply; a size that memory has no room for
            if not found:
                return Entry(target, reason=described(error))
            break
        if contender.operation_seconds > longest:
            break
        found.append(contender)
        longest = OPERATION_SHARE * budget_seconds
    if not found:
        return Entry(target, reason=_too_slow(contender, budget_seconds))
    try:
        steady = warm_up(found[0].seconds, WARM_UP_SHARE * budget_seconds).steady
    except Exception as error:
        return Entry(target, reason=described(error))
    return Entry(target, tuple(found), steady)


def _affordable(contenders: Sequence[Contender], seconds: float) -> list[Contender]:
    """Those that ``seconds`` allow enough rounds of: the costliest go first, and of each target the best one stays."""
    kept = list(contenders)
    for one in sorted(contenders, key=lambda one: one.cost_seconds, reverse=True):
        if ENOUGH_ROUNDS * sum(other.cost_seconds for other in kept) <= seconds:
            break
        if one.promise < max(other.promise for other in kept if other.target is one.target):
            kept.remove(one)
    return kept


def _take_rounds(
    contenders: Sequence[Contender],
    order: random.Random,
    meter: DisturbanceMeter | None,
    left_seconds: Callable[[], float],
) -> None:
    """One sample each a round, until the next would not be over in time."""
    going, rounds, next_look = list(contenders), 0, LEAST_SAMPLES
    while going:
        order.shuffle(going)
        for one in going:
            if one.cost_seconds > left_seconds():
                return
            try:
                one.add_sample(meter)
            except Exception as error:  # memory that another process has taken meanwhile
                one.failure = described(error)
        rounds += 1
        if rounds == next_look:  # few looks, or chance would beat someone in the end
            next_look *= 2
            _drop_beaten(going)
        going = [one for one in going if one.failure is None and not one.beaten]


def _drop_beaten(contenders: Sequence[Contender]) -> None:
    """Those than which another size of the same target is clearly better."""
    for one in contenders:
        one.beaten = any(one.is_beaten_by(other) for other in contenders if other.target is one.target)


def _outcome(entry: Entry, budget_seconds: float) -> Ceiling | LeftOut:
    target = entry.target
    if not entry.contenders:
        return target.left_out(entry.reason)
    best = max((one for one in entry.contenders if not one.beaten), key=lambda one: one.merit)
    if len(best.values) < LEAST_SAMPLES:
        failure = next((one.failure for one in entry.contenders if one.failure is not None), None)
        return target.left_out(failure or _too_few(entry.contenders, budget_seconds))
    value, low, high = median_interval(best.values)
    return Ceiling(
        kind=target.kind,
        dtype=target.dtype,
        value=value,
        low=low,
        high=high,
        unit=target.unit,
        best_size=best.size,
        samples=len(best.values),
        variant=target.variant,
        steady=entry.steady,
        disturbance=_disturbance(best),
        tried=tuple(Tried(one.size, tuple(one.values)) for one in entry.contenders if one.values),
    )


def _soaked(outcomes: Sequence[Ceiling | LeftOut], entries: Sequence[Entry], seconds: float) -> list[Ceiling | LeftOut]:
    """The outcomes, the best product of ``LOOPS_MULTIPLY_IN`` with what it holds; as they were where that fails."""
    found = list(outcomes)
    known = [(place, one) for place, one in enumerate(found) if isinstance(one, Ceiling)]
    products = [pair for pair in known if pair[1].kind == "matrix product" and pair[1].dtype in LOOPS_MULTIPLY_IN]
    if products:
        place, best = max(products, key=lambda pair: pair[1].value)
        one = next(one for one in entries[place].contenders if one.size == best.best_size)
        with suppress(Exception):  # memory that another process has taken meanwhile
            found[place] = replace(best, held=one.value_held(seconds / SOAK_SAMPLES, SOAK_SAMPLES))
    return found


def _disturbance(best: Contender) -> Disturbance | None:
    """Over all its samples."""
    seen = best.disturbances
    if not seen:
        return None
    reasons = {reason for one in seen for reason in one.throttle_reasons.split(", ") if reason}
    return Disturbance(
        sampled_seconds=best.sampled_seconds,
        involuntary_switches=sum(one.involuntary_switches for one in seen),
        steal_seconds=sum(one.steal_seconds for one in seen),
        throttle_reasons=tuple(sorted(reasons)),
        foreign_processes=max(one.foreign_processes for one in seen),
    )


def _too_slow(contender: Contender, budget_seconds: float) -> str:
    return (
        f"at the smallest size, {contender.size:,}, it took {contender.operation_seconds:.3g} s, and a budget of "
        f"{budget_seconds:g} s allows {SMALLEST_SHARE * budget_seconds:.3g} s; give a longer --budget"
    )


def _too_few(contenders: Sequence[Contender], budget_seconds: float) -> str:
    most = max(len(one.values) for one in contenders)
    return (
        f"a budget of {budget_seconds:g} s left time for {most} of the {LEAST_SAMPLES} samples that an interval takes; "
        "give a longer --budget"
    )
