"""Whether a loop trains the model that eager trains: each of its steps beside the canonical step from the same state.

Two runs of one loop that round differently drift apart, step by step, as chaos has it, until nothing can be said of
them. So no two runs are compared. The loop trains as it always does, and at each step the canonical step is taken from
the state that the loop had come to: eager's, one in float64, and some rounded at random. What they differ by is one
step's doing alone.
"""

import hashlib
import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from loopmark.bench.measure.proof.precision import BFLOAT16_BITS, FLOAT32_BITS, RandomRounding
from loopmark.bench.measure.proof.steps import (
    Errors,
    Handed,
    Layers,
    Own,
    State,
    Taken,
    Twin,
    Updated,
    Watched,
    buffers_of,
    changes,
    dense,
    errors_of,
    parameters_of,
    relative,
    state_of,
    take,
    was_skipped,
    worst,
)
from loopmark.bench.measure.warmup import CompilationLog
from loopmark.bench.records.run import CacheState
from loopmark.bench.records.training import Deviation
from loopmark.loops.loop import Loop
from loopmark.loops.task import Batch, Task
from loopmark.loops.user_code import described

DRAWS = 2
"""References that round at random to the loop's precision, each time that any are drawn: at the first step that is not
eager's to the last bit, at the last step, and wherever the loop strays."""
COARSER_BITS = 8
"""So many bits fewer has one reference more, but never fewer than bfloat16. A gradient jumps where an activation that
is nearly zero rounds to the other side of a ReLU's kink, by as much as the kink is worth however fine the rounding;
coarser rounding meets more of them."""
STRAYS = 2.0
"""Times what the references so far came to. A loop may go further where rounding counts for more, by a gradient that
all but cancels or an activation at a kink, which references from that very state show."""
MOST_DRAWINGS = 3
"""In one step. Of the references from a state with an activation at a kink, about every other one goes over it."""
HOPELESS = 2
"""Steps that strayed whatever was drawn; after so many, no more is drawn than for a loop that does not stray."""


@dataclass
class Tally:
    """What the steps so far have shown."""

    rows: list[Deviation] = field(default_factory=list)
    compared: int = 0
    same: int = 0
    skipped: int = 0
    lost: int | None = None
    draws: bool = False
    referenced: bool = False
    strayed: int = 0  # steps that no reference explained
    known: Errors = field(default_factory=dict)  # the most that any reference came to

    def know(self, *references: Errors) -> None:
        """Add the errors of more references."""
        self.known = worst([self.known, *references])

    def strays(self, errors: Errors) -> bool:
        """Whether ``errors`` are further from the exact result than the references suggest."""
        return any(error > STRAYS * max(self.known.get(key, 0.0), 2.0**-FLOAT32_BITS) for key, error in errors.items())


@dataclass(frozen=True)
class Comparer:
    """One step of the loop's, and the canonical ones from the state before it."""

    eager: Twin
    exact: Twin | None
    before: State
    batch: Batch
    own: Own
    seed: int
    step: int

    def canonical(self, twin: Twin, rounding: RandomRounding | None = None) -> Taken:
        """The step as ``twin`` takes it, with the random numbers that the loop was given."""
        torch.manual_seed(self.seed)
        return twin.take(self.before, self.batch, rounding)


def compare(this: Comparer, tally: Tally, bits: int, *, last: bool) -> None:
    """Add one step to ``tally``; only one that differs from eager's costs more than eager's own."""
    eager = this.canonical(this.eager)
    tally.draws = tally.draws or _drew(this.seed, this.own.loss.device)
    if _equal(this, eager):
        tally.same += tally.same == tally.compared
        tally.compared += 1
        return
    truth = _truth(this, eager)
    errors = errors_of(this.own, truth)
    if not this.own.told:
        del errors["loss", ""]
    of_eager, of_rounding, of_coarse = errors_of(eager, truth), Errors(), Errors()
    tally.know(of_eager)
    due = last or not tally.referenced
    tally.referenced = True
    for drawing in range(MOST_DRAWINGS):
        if not (due and drawing == 0) and (tally.strayed >= HOPELESS or not tally.strays(errors)):
            break
        fine, coarse = _drawn(this, truth, bits, drawing)
        of_rounding, of_coarse = worst([of_rounding, fine]), worst([of_coarse, coarse])
        tally.know(fine, {key: error for key, error in coarse.items() if key[0] == "gradient"})  # nothing else jumps
    tally.strayed += tally.strays(errors)
    own_update, exact_update, eager_updates = _updates(this)
    as_it_is, *nudged = (relative(update, exact_update) for update in eager_updates)
    for name, error in relative(own_update, exact_update).items():
        errors["update", name], of_eager["update", name] = error, as_it_is[name]
        of_rounding["update", name] = max(known[name] for known in (as_it_is, *nudged))
    tally.rows += [
        Deviation(
            this.step, *key, error, of_eager.get(key, 0.0), of_rounding.get(key, math.nan), of_coarse.get(key, math.nan)
        )
        for key, error in errors.items()
    ]
    tally.compared += 1


def _equal(this: Comparer, eager: Taken) -> bool:
    own = this.own
    if own.told and not torch.equal(own.loss.to(eager.loss.dtype), eager.loss):
        return False
    if own.gradients.keys() != eager.gradients.keys():
        return False
    pairs = [(own.gradients, eager.gradients), (own.buffers, eager.buffers)]
    if not all(torch.equal(dense(mine[name]), dense(its[name])) for mine, its in pairs for name in its):
        return False
    updated = this.eager.update(this.before, eager.gradients)
    if own.updated.slots.keys() != updated.slots.keys():
        return False
    pairs = [(own.updated.parameters, updated.parameters), (own.updated.slots, updated.slots)]
    return all(torch.equal(mine[name], its[name]) for mine, its in pairs for name in its)


def _truth(this: Comparer, eager: Taken) -> Taken:
    """The step in float64; eager's own where the model cannot compute in float64."""
    if this.exact is None:
        return eager
    try:
        return this.canonical(this.exact)
    except Exception as error:  # a model may insist on float32 in whatever way it likes
        if isinstance(error, torch.OutOfMemoryError):
            torch.cuda.empty_cache()
        return eager


def _drawn(this: Comparer, truth: Taken, bits: int, drawing: int) -> tuple[Errors, Errors]:
    """What rounding at random comes to: to ``bits`` at worst, and more coarsely."""
    coarse_bits = max(BFLOAT16_BITS, bits - COARSER_BITS)
    several = [bits] * DRAWS + [coarse_bits]
    errors = []
    for draw, kept in enumerate(several, start=drawing * len(several)):
        seed = this.seed * MOST_DRAWINGS * len(several) + draw
        rounding = RandomRounding(kept, seed, this.own.loss.device, this.eager.model.buffers())
        errors.append(errors_of(this.canonical(this.eager, rounding), truth))
    *fine, coarse = errors
    return worst(errors if coarse_bits == bits else fine), coarse


def _updates(this: Comparer) -> tuple[Layers, Layers, list[Layers]]:
    """The loop's update, the exact one by the same gradients, and eager's: as it is, and with its settings nudged.

    To an update belongs what the optimizer keeps for the next one, in which alone it would show.
    A fused or capturable optimizer holds its settings in float32, where Adam's 1 - beta is off by much more than
    float32's own roundoff.
    """
    start = {name: this.before.layers[name] for name in this.own.updated.parameters}
    draw = random.Random(this.seed)

    def nudge(value: float) -> float:
        return value * (1 + draw.uniform(-1, 1) * 2.0**-FLOAT32_BITS)

    def updated(twin: Twin, by: Callable[[float], float] = lambda value: value) -> Layers:
        return changed(twin.update(this.before, this.own.gradients, by))

    def changed(updated: Updated) -> Layers:
        return {**changes(start, updated.parameters), **updated.slots}

    return (
        changed(this.own.updated),
        updated(this.exact or this.eager),
        [updated(this.eager), *(updated(this.eager, nudge) for _ in range(DRAWS))],
    )


def _drew(seed: int, device: torch.device) -> bool:
    """Whether anything was drawn from torch's generators since they were set to ``seed``: the CPU's or the device's."""

    def states() -> list[torch.Tensor]:
        own = [] if device.type == "cpu" else [torch.get_device_module(device).get_rng_state(device)]
        return [torch.get_rng_state(), *own]

    now = states()
    torch.manual_seed(seed)
    return not all(torch.equal(one, other) for one, other in zip(now, states(), strict=True))


BUDGET_SECONDS = 4.0
"""The time for comparing. A GPU with few float64 units (1/64 of float32's rate) is slow at it."""
LEAST_STEPS = 2  # that are compared however long they take
MOST_STEPS = 4
"""Times as many steps as are to be compared: a gradient scaler skips the first few until it has found its scale."""


@dataclass(frozen=True)
class Proven:
    """What a worker saw of the loop's steps."""

    steps: int  # that were compared
    same_steps: int  # of those, the first so many gave eager's loss, gradients, update and buffers to the last bit
    skipped_steps: int  # that a gradient scaler skipped, and that were not compared
    bits: int  # significant bits that the loop's arithmetic keeps
    draws_at_random: bool  # whether the model draws random numbers (dropout), of which a loop may draw others
    lost_at_step: int | None  # the first step whose loss was NaN or infinite; nothing is compared from there on
    sha256: str  # of parameters and buffers at the end
    compile_seconds: float
    compile_cache: CacheState
    deviations: tuple[Deviation, ...]
    why_not: str | None = None
    """Why the canonical step could not be taken beside the loop's, which is no fault of the loop."""


def prove(task: Task, loop: Loop, steps: int, seed: int, now: Callable[[], float] = time.perf_counter) -> Proven:
    """Train ``task`` by ``loop`` for some steps and compare each with the canonical step from the same state.

    All ``steps`` are taken; where ``BUDGET_SECONDS`` do not suffice, fewer of them are compared (``Proven.steps``).

    Gradients and the loss are measured against a step in float64, and so are those of eager and of eager with each
    operation rounded at random to the loop's precision: how far rounding alone can move them. The update is measured
    against the one in float64 by the loop's own gradients, so that it shows what the optimizer did.

    Raises:
        Skip: the loop cannot train such a task.
        BadStep: it names phases that there are none of.
        Exception: whatever the loop raises.
    """
    twins = _twins(task)
    watched = Watched(task)
    torch.manual_seed(seed)
    step = loop.prepare(task)
    handed = Handed(task)
    tally, number, log = Tally(), 0, CompilationLog()
    why_not = twins if isinstance(twins, str) else None
    budget, last, beyond = _Budget(now), False, 0
    while tally.compared + beyond < steps and number < MOST_STEPS * steps and tally.lost is None and why_not is None:
        before, batch = state_of(task), task.next_batch()
        canonical = tuple(tensor.detach().clone(memory_format=torch.contiguous_format) for tensor in batch)
        torch.manual_seed(seed + number)
        own = take(task, step, batch, handed)
        if own.told and not math.isfinite(own.loss):
            tally.lost = number
        elif was_skipped(before, own):
            tally.skipped += 1
        elif last:
            beyond += 1  # taken all the same: every loop's digest is of as many steps
        elif not isinstance(twins, str):
            comparer = Comparer(*twins, before, (canonical[0], canonical[1]), own, seed + number, number)
            last = budget.holds_no_more_than_one(tally.compared) or tally.compared == steps - 1
            try:
                compare(comparer, tally, watched.bits, last=last)
            except Exception as error:  # a model may hold what no other type or rounding can
                why_not = f"the canonical step could not be taken beside it: {described(error)}"
        number += 1
    return Proven(
        steps=tally.compared,
        same_steps=tally.same,
        skipped_steps=tally.skipped,
        bits=watched.bits,
        draws_at_random=tally.draws,
        lost_at_step=tally.lost,
        sha256=_digest(task),
        compile_seconds=log.seconds(),
        compile_cache=log.cache_state(),
        deviations=tuple(tally.rows),
        why_not=why_not,
    )


class _Budget:
    """``BUDGET_SECONDS``, counted from the first comparison on: what the loop compiles is compiled by then."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now

    def holds_no_more_than_one(self, compared: int) -> bool:
        """Whether, after so many compared steps, the next is the last that fits."""
        if not compared:
            self._began = self._now()
            return False
        spent = self._now() - self._began
        return compared + 1 >= LEAST_STEPS and spent + 2 * spent / compared > BUDGET_SECONDS


def _twins(task: Task) -> tuple[Twin, Twin | None] | str:
    """Eager, and eager in float64 where the model can be that; or why there can be none."""
    try:
        eager = Twin(task)
    except Exception as error:  # copying runs the model's own code
        return f"its model cannot be copied: {described(error)}"
    try:
        return eager, Twin(task, exact=True)
    except Exception:
        return eager, None


def _digest(task: Task) -> str:
    digest = hashlib.sha256()
    for layers in (parameters_of(task.plain_model), buffers_of(task.plain_model)):
        for name, tensor in layers.items():
            digest.update(name.encode())
            digest.update(tensor.cpu().flatten().contiguous().view(torch.uint8).numpy().data)
    return digest.hexdigest()
