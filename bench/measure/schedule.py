"""The order of turns, random so that the machine's drift favours no loop, and the forecast of a run's duration."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Protocol, TypeVar

import numpy as np

from loopmark.bench.measure.training.stopping import Terms
from loopmark.bench.measure.warmup import Cycle
from loopmark.bench.records.run import Case, Plan
from loopmark.loops.catalog import find_loop

T = TypeVar("T")

LEAST_ROUNDS = 3  # least rounds of a launch at any budget: a median needs more than one
MOST_STEPS_A_BLOCK = 1000
BLOCKS_A_TURN, BLOCKS_OF_SLOW_STEPS, LONG_BLOCKS = 8, 4, 2
"""Blocks of a turn, in quads of four: two quads make the cost of the uncounted first step small, and one is used where
blocks are no longer than their uncounted lead-in. Half a quad is used where a block is an epoch that takes long."""
LONG_SECONDS = 0.05


class Schedule:
    """The random choices of one run; the same seed gives the same choices."""

    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)

    def shuffled(self, items: Sequence[T]) -> list[T]:
        return [items[i] for i in self._random.permutation(len(items))]

    def turn(self, blocks: int = BLOCKS_A_TURN) -> tuple[bool, ...]:
        """The blocks of a turn, True with laps: quads of ABBA or BAAB, so that a steady drift in a quad cancels."""
        firsts = (bool(self._random.integers(2)) for _ in range(0, blocks, 4))
        return tuple(lapped for first in firsts for lapped in (first, not first, not first, first))[:blocks]


def steps_per_block(step_seconds: float, block_seconds: float, cycle: Cycle | None = None) -> int:
    """The number of steps that fill a block, at least one; whole cycles where the data has one."""
    if cycle is not None:
        return cycle.steps * max(1, round(block_seconds / cycle.seconds))
    return max(1, min(MOST_STEPS_A_BLOCK, round(block_seconds / step_seconds)))


def blocks_a_turn(steps: int, lead_in: int, cycle: Cycle | None = None) -> int:
    """The number of blocks in a turn, for blocks of ``steps`` steps after ``lead_in`` uncounted ones."""
    if cycle is not None and cycle.seconds > LONG_SECONDS:
        return LONG_BLOCKS
    return BLOCKS_OF_SLOW_STEPS if steps <= lead_in else BLOCKS_A_TURN


class Progress(Protocol):
    """Shows the progress of the run. It is called only between blocks, never while one is timed."""

    def tell(self, doing: str, done: float, left_seconds: float | None, expected_seconds: float | None = None) -> None:
        """Report the work that begins.

        Args:
            doing: its name, after its places from the largest on: ``launch 1/5 · resnet · compile · compiling``.
            done: the fraction of the whole before it.
            left_seconds: of the whole; None if unknown.
            expected_seconds: of this work; None if unknown.
        """


@dataclass(frozen=True)
class PartCosts:
    """Seconds of each part of a run for one loop, on one kind of device."""

    start: float  # a process starts and gets its task
    warm_up: float
    compilation: float  # a loop compiled with an empty cache, added to ``start`` and ``warm_up``
    compiled: float  # the same with the compiled code in the cache
    step: float
    energy: float  # windows of one launch
    proof: float  # a case compared with the baseline
    training: float  # a case trained from one seed, when no budget ends it


ON_CPU = PartCosts(
    start=0.2, warm_up=0.2, compilation=13.0, compiled=1.6, step=0.004, energy=0.0, proof=0.7, training=0.8
)
"""Measured in the reference run (two AMD EPYC cores, small sizes); start and warm-up took 0.4 s together."""
ON_GPU = PartCosts(
    start=2.0, warm_up=1.8, compilation=35.0, compiled=3.0, step=0.06, energy=0.5, proof=4.0, training=8.0
)
TINY_ON_GPU = PartCosts(
    start=1.2, warm_up=0.3, compilation=8.0, compiled=2.0, step=0.001, energy=0.5, proof=0.7, training=1.5
)
"""Not measured: estimates for an H100-class GPU, from the sizes of the work."""
STEPS_A_TURN = 9
"""Steps of a turn where steps are slow: an uncounted first one, then four blocks of one step and one lead-in step."""
TINY = ("regression", "regression_mlp")  # workloads with short steps even at their large size


def costs_on(device: str, workload: str) -> PartCosts:
    return ON_CPU if device == "cpu" else TINY_ON_GPU if workload in TINY else ON_GPU


def compiling_loops(plan: Plan) -> set[str]:
    """The names of the plan's loops that compile."""
    loops = map(find_loop, plan.loops)  # by full spec: a name alone may belong to another file
    return {loop.name for loop in loops if any(technique.compiles for technique in loop.techniques)}


@dataclass(frozen=True)
class Part:
    name: str
    seconds: float
    after: bool = False  # True if it follows all timing and the ceilings


def parts_of(
    plan: Plan, cases: Sequence[tuple[str, str]], terms: Terms | None, ceiling_seconds: float
) -> tuple[Part, ...]:
    """The parts of a run of ``cases``, given as (workload, loop), with the baseline's repetition."""
    compiling = compiling_loops(plan)
    known = [(costs_on(plan.device, workload), loop in compiling) for workload, loop in cases]
    later = plan.launches - 1
    starts = plan.launches * sum(costs.start + costs.warm_up for costs, _ in known)
    compilation = sum(costs.compilation + later * costs.compiled for costs, compiled in known if compiled)
    each_launch = plan.budget_seconds / plan.launches
    sampling = plan.launches * sum(
        costs.energy + max(each_launch, LEAST_ROUNDS * STEPS_A_TURN * costs.step) for costs, _ in known
    )
    seconds = {"starts": starts, "compilation": compilation, "sampling": sampling, "ceilings": ceiling_seconds}
    parts = [Part(name, each) for name, each in seconds.items()]
    if terms is not None:
        begun = [(costs, costs.start + costs.compiled * compiled) for costs, compiled in known]
        parts.append(Part("proofs", sum(start + costs.proof for costs, start in begun), after=True))
        trained = dict(zip(cases, begun, strict=True)).values()  # the baseline once
        each = sum(start + min(costs.training, terms.budget_seconds) for costs, start in trained)
        parts.append(Part("training", terms.seeds * each, after=True))
    return tuple(parts)


def sentence(parts: Iterable[Part]) -> str:
    """``about 9 minutes: starts 7, sampling 2``, the longest first. Parts below a twentieth are left out."""
    known = sorted(parts, key=lambda part: -part.seconds)
    total = sum(part.seconds for part in known)
    unit, name = (60.0, "minutes") if total >= 100 else (1.0, "seconds")
    amounts = [(part.name, part.seconds / unit) for part in known if part.seconds >= total / 20]
    shown = [f"{part} {amount:.{0 if amount >= 2 else 1}f}" for part, amount in amounts]
    return f"about {max(1, round(total / unit))} {name}: {', '.join(shown)}"


@dataclass
class Forecast:
    """The remaining time of a run with ``launches`` launches of each of the workloads.

    First and later launches are kept apart, since only the first one compiles.
    """

    launches: int
    first: dict[str, float]  # seconds in which all processes of a workload's first launch start
    later: dict[str, float]  # the same of a later launch
    sampling: dict[str, float]  # seconds of sampling in one launch of each workload
    compiling: set[str] = field(default_factory=set)  # loops
    cold: dict[str, float] = field(default_factory=dict)  # seconds of the last start on a workload that compiled

    @classmethod
    def of(cls, plan: Plan, cases: Sequence[tuple[str, str]]) -> "Forecast":
        """The forecast before anything was measured."""
        compiling, cold = compiling_loops(plan), dict[str, float]()
        first, later, sampling = (defaultdict[str, float](float) for _ in range(3))
        for workload, loop in cases:
            costs = costs_on(plan.device, workload)
            first[workload] += costs.start + costs.warm_up + costs.compilation * (loop in compiling)
            later[workload] += costs.start + costs.warm_up + costs.compiled * (loop in compiling)
            sampling[workload] += plan.budget_seconds / plan.launches
            cold[workload] = costs.compilation
        return cls(plan.launches, first, later, sampling, compiling, cold)

    def next_start(self, case: Case) -> tuple[str, float | None]:
        """A name for the next start of ``case``, and its expected seconds; None if no start is like it."""
        if not case.launches:
            return ("compiling", self.cold[case.workload]) if case.loop in self.compiling else ("starting", None)
        last = case.launches[-1]
        compiled = 0.0 if last.index else last.compile_seconds or 0.0
        return "starting", (last.setup_seconds or 0.0) + (last.warmup_seconds or 0.0) - compiled

    def started(self, workload: str, launch: int, overhead_seconds: float, compile_seconds: float) -> None:
        """Note that a launch of ``workload`` warmed all its processes in ``overhead_seconds``."""
        if launch == 0:
            self.first[workload] = overhead_seconds
            overhead_seconds = max(0.0, overhead_seconds - compile_seconds)
        self.later[workload] = overhead_seconds

    def remaining_seconds(self, workload: str, launch: int, elapsed_seconds: float) -> float:
        """The remaining seconds, ``elapsed_seconds`` after the begin of a launch of ``workload``."""
        turns = [*product(range(self.launches), self.first)]
        ahead = turns[turns.index((launch, workload)) :]
        this, *others = [(self.later if later else self.first)[name] + self.sampling[name] for later, name in ahead]
        return max(0.0, this - elapsed_seconds) + sum(others)
