"""The survey of all benchmarks at all candidate sizes, in random order, until the budget is spent.

First, each benchmark's sizes are tried from small to large, as far as memory and the budget allow. Then all sizes of
all benchmarks take one sample per round, each round in a new random order, so that drift (a clock that falls with
heat, a changing neighbour) favours none. At growing intervals, sizes that are clearly beaten drop out.
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
from loopmark.loops.technique import Skip
from loopmark.loops.user_code import described

SAMPLE_SECONDS = 0.02
"""Long compared with a clock reading and a device's start, short compared with disturbances: many short samples have
a steadier median than a few long ones."""
SAMPLE_SHARE, WARM_UP_SHARE = 1 / 750, 1 / 20
"""Shares of the budget: the longest sample of short operations, and the longest warm-up of a benchmark."""
OPERATION_SHARE, SMALLEST_SHARE = 1 / 60, 1 / 20
"""Shares of the budget: the longest operation of a size, and of the smallest size."""
SOAK_SECONDS, SOAK_SHARE, SOAK_SAMPLES = 2.0, 1 / 4, 4
"""A soak's length, its largest share of the budget, and its samples. The survey's samples are short, with pauses. A
board at its power limit may not sustain their rate; the soak's last sample shows the sustained rate."""
LOOPS_MULTIPLY_IN = ("float32", "tf32", "bfloat16", "float16")
"""The types of Loopmark's own loops, whose products give their utilisation."""
ENOUGH_ROUNDS = 3 * LEAST_SAMPLES  # a budget too small for this number of rounds is spent on fewer sizes


@dataclass(frozen=True)
class FoundCeilings:
    ceilings: tuple[Ceiling, ...]
    left_out: tuple[LeftOut, ...]


@dataclass(frozen=True)
class CandidateSet:
    """One benchmark and its candidate sizes; if there are none, ``reason`` gives the reason."""

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
    """The ceiling of every benchmark, or the reason why it has none, all within the budget with preparation.

    With ``soak``, also the sustained rate of the best matrix product.
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
    """The candidate sizes in ascending order, after the benchmark's warm-up."""
    found: list[Candidate] = []
    longest = SMALLEST_SHARE * budget_seconds
    for size in benchmark.sizes:
        if found and found[-1].forecast_seconds(size) > longest:
            break
        try:
            candidate = Candidate(benchmark, size, benchmark.prepare(size))
            candidate.try_out(min(SAMPLE_SECONDS, SAMPLE_SHARE * budget_seconds), longest)
        except Exception as error:  # a dtype that the device cannot multiply, or a size too large for memory
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
    """The candidates with time for enough rounds. The costliest are removed first; each benchmark's best one stays."""
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
    """Take one sample of each candidate per round, until the next would not end in time."""
    going, rounds, next_look = list(candidates), 0, LEAST_SAMPLES
    while going:
        order.shuffle(going)
        for one in going:
            if one.cost_seconds > left_seconds():
                return
            try:
                one.add_sample(meter)
            except Exception as error:  # another process has taken the memory
                one.failure = described(error)
        rounds += 1
        if rounds == next_look:  # few comparisons: with many, chance would remove a good size
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
    """The outcomes, with the sustained rate of the best product of ``LOOPS_MULTIPLY_IN``; unchanged on failure."""
    found = list(outcomes)
    known = [(place, one) for place, one in enumerate(found) if isinstance(one, Ceiling)]
    products = [pair for pair in known if pair[1].kind == "matrix product" and pair[1].dtype in LOOPS_MULTIPLY_IN]
    if products:
        place, best = max(products, key=lambda pair: pair[1].value)
        one = next(one for one in entries[place].candidates if one.size == best.best_size)
        with suppress(Exception):  # another process has taken the memory
            found[place] = replace(best, held=one.value_held(seconds / SOAK_SAMPLES, SOAK_SAMPLES))
    return found


def _disturbance(best: Candidate) -> Interference | None:
    """The disturbances of all its samples; None without a meter."""
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
    """The device's ceilings, with torch's threads in this process. Raises Skip for an unsupported device type."""
    if device.type not in ("cpu", "cuda"):
        raise Skip(f"ceilings are not supported on devices of type {device.type}; use cpu or cuda")
    with torch.no_grad():
        wanted = microbenchmarks_of(device, cores, seed)
        benchmarks = [one for one in wanted if isinstance(one, Microbenchmark)]
        meter = DisturbanceMeter(cores, monitor_of(device))
        found = survey(benchmarks, budget_seconds, seed, meter, soak=device.type == "cuda")
    absent = tuple(one for one in wanted if isinstance(one, LeftOut))
    return FoundCeilings(found.ceilings, found.left_out + absent)


def measure_ceilings(pool: WorkerPool, plan: Plan, machine: Machine, budget_seconds: float) -> Ceilings:
    """The ceilings of the pool's device with their intervals, and the reasons for missing ones.

    Raises CaseEnded where the process died, or exceeded its budget by more than the pool's limit.
    """
    started, start = datetime.now(UTC), time.perf_counter()
    workload = find_workload(plan.workloads[0]).name  # not set up: the process measures only the device
    with pool.start(workload, plan.baseline, log="ceilings", neighbours=0) as process:
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
    """The ceilings that ``process`` finds in ``budget_seconds``; it is ended after ``limit_seconds`` more."""
    return process.within(limit_seconds + budget_seconds).find_ceilings(budget_seconds=budget_seconds, seed=seed)
