"""Every benchmark at every size that is in the running, in random order, until the budget is spent.

First each benchmark's sizes are tried in turn, from small to large, as far as memory and the budget go. Then all sizes
of all benchmarks take one sample each a round, each round in an order of its own: what drifts (a clock that falls as
the chip grows hot, a neighbour who comes and goes) favours none. Now and then, those that are clearly beaten drop out.
"""

import random
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import torch

from loopmark.bench.measure.ceilings.microbenchmarks import microbenchmarks_of
from loopmark.bench.measure.ceilings.sampling import Candidate, Microbenchmark
from loopmark.bench.measure.meters import DisturbanceMeter
from loopmark.bench.measure.nvml import monitor_of
from loopmark.bench.measure.pool import WorkerPool, WorkerProcess
from loopmark.bench.measure.warmup import warm_up
from loopmark.bench.median import LEAST_SAMPLES, median_interval
from loopmark.bench.records.ceilings import Ceiling, Ceilings, Interference, LeftOut, Tried
from loopmark.bench.records.machine import Machine
from loopmark.bench.records.run import Plan
from loopmark.loops.catalog import find_workload
from loopmark.loops.loop import EAGER
from loopmark.loops.technique import Skip
from loopmark.loops.user_code import described

SAMPLE_SECONDS = 0.02
"""Long beside a clock's reading and a device's start, short beside what disturbs: many short samples have a steadier
median than few long ones."""
SAMPLE_SHARE, WARM_UP_SHARE = 1 / 750, 1 / 20
"""Of the budget: the longest sample of operations that are shorter, and the longest warm-up of a benchmark."""
OPERATION_SHARE, SMALLEST_SHARE = 1 / 60, 1 / 20
"""Of the budget: the longest operation that a size may have, and that the smallest size may have."""
SOAK_SECONDS, SOAK_SHARE, SOAK_SAMPLES = 2.0, 1 / 4, 4
"""A soak's length, its largest share of the budget, and its samples. The survey's samples are short, with rests between
them, and a board at its power limit may not hold what they reach; the soak's last sample tells what it holds."""
LOOPS_MULTIPLY_IN = ("float32", "tf32", "bfloat16", "float16")
"""The types of Loopmark's own loops, by whose products their utilisation is told."""
ENOUGH_ROUNDS = 3 * LEAST_SAMPLES  # where the budget is too small for so many, it goes to fewer sizes


@dataclass(frozen=True)
class FoundCeilings:
    ceilings: tuple[Ceiling, ...]
    left_out: tuple[LeftOut, ...]


@dataclass(frozen=True)
class CandidateSet:
    """One benchmark with its sizes that are in the running: none where ``reason`` says why."""

    benchmark: Microbenchmark
    candidates: tuple[Candidate, ...] = ()
    steady: bool = False
    reason: str = ""


def survey(
    benchmarks: Iterable[Microbenchmark],
    budget_seconds: float,
    seed: int,
    meter: DisturbanceMeter | None = None,
    now: Callable[[], float] = time.perf_counter,
    *,
    soak: bool = False,
) -> FoundCeilings:
    """The ceiling of every benchmark, or the reason why it has none; all within the budget, preparation included.

    With ``soak``, also what the best matrix product holds.
    """
    soak_seconds = min(SOAK_SECONDS, SOAK_SHARE * budget_seconds) if soak else 0.0
    end = now() + budget_seconds - soak_seconds
    entries = [_entry(benchmark, budget_seconds) for benchmark in benchmarks]
    running = _affordable([one for entry in entries for one in entry.candidates], end - now())
    _take_rounds(running, random.Random(seed), meter, lambda: end - now())
    outcomes = [_outcome(entry, budget_seconds) for entry in entries]
    if soak:
        outcomes = _soaked(outcomes, entries, soak_seconds)
    return FoundCeilings(
        ceilings=tuple(one for one in outcomes if isinstance(one, Ceiling)),
        left_out=tuple(one for one in outcomes if isinstance(one, LeftOut)),
    )


def _entry(benchmark: Microbenchmark, budget_seconds: float) -> CandidateSet:
    """The sizes that are in the running, in ascending order, the benchmark warmed up."""
    found: list[Candidate] = []
    longest = SMALLEST_SHARE * budget_seconds
    for size in benchmark.sizes:
        if found and found[-1].forecast_seconds(size) > longest:
            break
        try:
            candidate = Candidate(benchmark, size, benchmark.prepare(size))
            candidate.try_out(min(SAMPLE_SECONDS, SAMPLE_SHARE * budget_seconds), longest)
        except Exception as error:  # a dtype that the device cannot multiply; a size that memory has no room for
            if not found:
                return CandidateSet(benchmark, reason=described(error))
            break
        if candidate.operation_seconds > longest:
            break
        found.append(candidate)
        longest = OPERATION_SHARE * budget_seconds
    if not found:
        too_slow = (
            f"at the smallest size, {size:,}, it took {candidate.operation_seconds:.3g} s, and a budget of "
            f"{budget_seconds:g} s allows {longest:.3g} s; give a longer --budget"
        )
        return CandidateSet(benchmark, reason=too_slow)
    try:
        steady = warm_up(found[0].seconds, WARM_UP_SHARE * budget_seconds).steady
    except Exception as error:
        return CandidateSet(benchmark, reason=described(error))
    return CandidateSet(benchmark, tuple(found), steady)


def _affordable(candidates: Sequence[Candidate], seconds: float) -> list[Candidate]:
    """Those with time for enough rounds: the costliest go first, and the best one of each benchmark stays."""
    kept = list(candidates)
    for one in sorted(candidates, key=lambda one: one.cost_seconds, reverse=True):
        if ENOUGH_ROUNDS * sum(other.cost_seconds for other in kept) <= seconds:
            break
        if one.promise < max(other.promise for other in kept if other.benchmark is one.benchmark):
            kept.remove(one)
    return kept


def _take_rounds(
    candidates: Sequence[Candidate],
    order: random.Random,
    meter: DisturbanceMeter | None,
    left_seconds: Callable[[], float],
) -> None:
    """One sample each a round, until the next would not be over in time."""
    going, rounds, next_look = list(candidates), 0, LEAST_SAMPLES
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
            for one in going:
                one.beaten = any(one.is_beaten_by(other) for other in going if other.benchmark is one.benchmark)
        going = [one for one in going if one.failure is None and not one.beaten]


def _outcome(entry: CandidateSet, budget_seconds: float) -> Ceiling | LeftOut:
    benchmark = entry.benchmark
    if not entry.candidates:
        return benchmark.left_out(entry.reason)
    best = max((one for one in entry.candidates if not one.beaten), key=lambda one: one.merit)
    if len(best.values) < LEAST_SAMPLES:
        most = max(len(one.values) for one in entry.candidates)
        too_few = (
            f"a budget of {budget_seconds:g} s left time for {most} of the {LEAST_SAMPLES} samples that an interval "
            "takes; give a longer --budget"
        )
        return benchmark.left_out(next((one.failure for one in entry.candidates if one.failure is not None), too_few))
    value, low, high = median_interval(best.values)
    return Ceiling(
        kind=benchmark.kind,
        dtype=benchmark.dtype,
        value=value,
        low=low,
        high=high,
        unit=benchmark.unit,
        best_size=best.size,
        samples=len(best.values),
        variant=benchmark.variant,
        steady=entry.steady,
        disturbance=_disturbance(best),
        tried=tuple(Tried(one.size, tuple(one.values)) for one in entry.candidates if one.values),
    )


def _soaked(
    outcomes: Sequence[Ceiling | LeftOut], entries: Sequence[CandidateSet], seconds: float
) -> list[Ceiling | LeftOut]:
    """The outcomes, the best product of ``LOOPS_MULTIPLY_IN`` with what it holds; as they were where that fails."""
    found = list(outcomes)
    known = [(place, one) for place, one in enumerate(found) if isinstance(one, Ceiling)]
    products = [pair for pair in known if pair[1].kind == "matrix product" and pair[1].dtype in LOOPS_MULTIPLY_IN]
    if products:
        place, best = max(products, key=lambda pair: pair[1].value)
        one = next(one for one in entries[place].candidates if one.size == best.best_size)
        with suppress(Exception):  # memory that another process has taken meanwhile
            found[place] = replace(best, held=one.value_held(seconds / SOAK_SAMPLES, SOAK_SAMPLES))
    return found


def _disturbance(best: Candidate) -> Interference | None:
    """Over all its samples."""
    seen = best.disturbances
    if not seen:
        return None
    reasons = {reason for one in seen for reason in one.throttle_reasons.split(", ") if reason}
    return Interference(
        sampled_seconds=best.sampled_seconds,
        involuntary_switches=sum(one.involuntary_switches for one in seen),
        steal_seconds=sum(one.steal_seconds for one in seen),
        throttle_reasons=tuple(sorted(reasons)),
        foreign_processes=max(one.foreign_processes for one in seen),
    )


def ceilings_of(device: torch.device, cores: Sequence[int], budget_seconds: float, seed: int) -> FoundCeilings:
    """The device's ceilings, with the threads that torch has in this process. Raises Skip where nobody knows how."""
    if device.type not in ("cpu", "cuda"):
        raise Skip(f"nothing measures yet what a device of type {device.type} can do")
    with torch.no_grad():
        wanted = microbenchmarks_of(device, cores, seed)
        benchmarks = [one for one in wanted if isinstance(one, Microbenchmark)]
        meter = DisturbanceMeter(cores, monitor_of(device))
        found = survey(benchmarks, budget_seconds, seed, meter, soak=device.type == "cuda")
    absent = tuple(one for one in wanted if isinstance(one, LeftOut))
    return FoundCeilings(found.ceilings, found.left_out + absent)


def measure_ceilings(pool: WorkerPool, plan: Plan, machine: Machine, budget_seconds: float) -> Ceilings:
    """What the pool's device can do, each ceiling with its interval, and the reasons for what has none.

    Raises CaseEnded where the process died, or took longer than the pool's limit beyond its budget.
    """
    started, start = datetime.now(UTC), time.perf_counter()
    workload = find_workload(plan.workloads[0]).name  # which is not set up: the process is there for the device
    with pool.start(workload, EAGER.name, log="ceilings", neighbours=0) as process:
        environment = process.within(pool.limit_seconds).environment()
        found = find_ceilings(process, pool.limit_seconds, budget_seconds, plan.seed)
    return Ceilings(
        started=started.isoformat(timespec="seconds"),
        seconds=time.perf_counter() - start,
        budget_seconds=budget_seconds,
        seed=plan.seed,
        machine=machine,
        environment=environment,
        device=plan.device,
        ceilings=found.ceilings,
        left_out=found.left_out,
    )


def find_ceilings(process: WorkerProcess, limit_seconds: float, budget_seconds: float, seed: int) -> FoundCeilings:
    """What ``process`` finds within ``budget_seconds``; it is given up on ``limit_seconds`` after them."""
    return process.within(limit_seconds + budget_seconds).find_ceilings(budget_seconds=budget_seconds, seed=seed)
