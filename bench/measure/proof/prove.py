"""Whether a loop trains the model that eager trains: each of its steps beside the canonical step from the same state.

Two runs of one loop that round differently drift apart, step by step, as chaos has it, until nothing can be said of
them. So no two runs are compared. The loop trains as it always does, and at each step the canonical step is taken from
the state that the loop had come to: eager's, one in float64, and some rounded at random. What they differ by is one
step's doing alone.
"""

import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from loopmark.bench.measure.proof.precision import BFLOAT16_BITS, FLOAT32_BITS, RandomRounding
from loopmark.bench.measure.proof.steps import (
    Errors,
    Layers,
    Own,
    State,
    Taken,
    Twin,
    Updated,
    WatchedLoop,
    changes,
    dense,
    digest_of,
    errors_of,
    relative,
    state_of,
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
BUDGET_SECONDS = 4.0
"""The time for comparing. A GPU with few float64 units (1/64 of float32's rate) is slow at it."""
MOST_STEPS = 4
"""Times as many steps as are to be compared: a gradient scaler skips the first few until it has found its scale."""


@dataclass
class Proven:
    """What a worker has seen of the loop's steps so far."""

    steps: int = 0  # that were compared
    same_steps: int = 0  # of those, the first so many gave eager's loss, gradients, update and buffers to the last bit
    skipped_steps: int = 0  # that a gradient scaler skipped, and that were not compared
    bits: int = FLOAT32_BITS  # significant bits that the loop's arithmetic keeps
    draws_at_random: bool = False  # whether the model draws random numbers (dropout), of which a loop may draw others
    lost_at_step: int | None = None  # the first step whose loss was NaN or infinite; nothing is compared from there on
    sha256: str = ""  # of parameters and buffers at the end
    compile_seconds: float = 0.0
    compile_cache: CacheState | None = None
    deviations: tuple[Deviation, ...] = ()
    why_not: str | None = None  # the canonical step could not be taken beside the loop's, which is no fault of the loop


@dataclass
class References:
    """Canonical steps that were taken beside the loop's so far, and how far from the exact result they were."""

    drawn: bool = False  # whether any rounded at random
    strayed: int = 0  # steps of the loop that no reference explained
    known: Errors = field(default_factory=dict)  # the most that any came to

    def explain(self, errors: Errors) -> bool:
        """Whether ``errors`` are no further from the exact result than the references suggest."""
        least = 2.0**-FLOAT32_BITS
        return all(error <= STRAYS * max(self.known.get(key, 0.0), least) for key, error in errors.items())


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


def compare(this: Comparer, seen: Proven, references: References, *, last: bool) -> None:
    """Add one step to ``seen``; only one that differs from eager's costs more than eager's own."""
    eager = this.canonical(this.eager)
    seen.draws_at_random = seen.draws_at_random or _drew(this.seed, this.own.loss.device)
    if _equal(this, eager):
        seen.same_steps += seen.same_steps == seen.steps
        seen.steps += 1
        return
    truth = _truth(this, eager)
    errors = errors_of(this.own, truth)
    if not this.own.told:
        del errors["loss", ""]
    of_eager, of_rounding, of_coarse = errors_of(eager, truth), Errors(), Errors()
    references.known = worst([references.known, of_eager])
    due = last or not references.drawn
    references.drawn = True
    for drawing in range(MOST_DRAWINGS):
        if not (due and drawing == 0) and (references.strayed >= HOPELESS or references.explain(errors)):
            break
        fine, coarse = _drawn(this, truth, seen.bits, drawing)
        of_rounding, of_coarse = worst([of_rounding, fine]), worst([of_coarse, coarse])
        jumps = {key: error for key, error in coarse.items() if key[0] == "gradient"}  # nothing else does
        references.known = worst([references.known, fine, jumps])
    references.strayed += not references.explain(errors)
    own_update, eager_update, nudged_updates = _update_errors(this)
    errors |= own_update
    of_eager |= eager_update
    of_rounding |= worst([eager_update, *nudged_updates])
    seen.deviations += tuple(
        Deviation(
            this.step, *key, error, of_eager.get(key, 0.0), of_rounding.get(key, math.nan), of_coarse.get(key, math.nan)
        )
        for key, error in errors.items()
    )
    seen.steps += 1


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


def _update_errors(this: Comparer) -> tuple[Errors, Errors, list[Errors]]:
    """The loop's update beside the exact one by the same gradients, eager's, and eager's with its settings nudged.

    To an update belongs what the optimizer keeps for the next one, in which alone it would show.
    A fused or capturable optimizer holds its settings in float32, where Adam's 1 - beta is off by much more than
    float32's own roundoff.
    """
    start = {name: this.before.layers[name] for name in this.own.updated.parameters}
    draw = random.Random(this.seed)

    def nudge(value: float) -> float:
        return value * (1 + draw.uniform(-1, 1) * 2.0**-FLOAT32_BITS)

    def changed(updated: Updated) -> Layers:
        return {**changes(start, updated.parameters), **updated.slots}

    before, gradients = this.before, this.own.gradients
    exact = changed((this.exact or this.eager).update(before, gradients))
    own, eager, *nudged = (
        relative("update", changed(updated), exact)
        for updated in (
            this.own.updated,
            this.eager.update(before, gradients),
            *(this.eager.update(before, gradients, nudge) for _ in range(DRAWS)),
        )
    )
    return own, eager, nudged


def _drew(seed: int, device: torch.device) -> bool:
    """Whether anything was drawn from torch's generators since they were set to ``seed``: the CPU's or the device's."""

    def states() -> list[torch.Tensor]:
        own = [] if device.type == "cpu" else [torch.get_device_module(device).get_rng_state(device)]
        return [torch.get_rng_state(), *own]

    now = states()
    torch.manual_seed(seed)
    return not all(torch.equal(one, other) for one, other in zip(now, states(), strict=True))


def prove(task: Task, loop: Loop, steps: int, seed: int, now: Callable[[], float] = time.perf_counter) -> Proven:
    """Train ``task`` by ``loop`` for some steps and compare each with the canonical step from the same state.

    All ``steps`` are taken; where ``BUDGET_SECONDS`` do not suffice, fewer of them are compared, and at least two.

    Gradients and the loss are measured against a step in float64, and so are those of eager and of eager with each
    operation rounded at random to the loop's precision: how far rounding alone can move them. The update is measured
    against the one in float64 by the loop's own gradients, so that it shows what the optimizer did.

    Raises:
        Skip: the loop cannot train such a task.
        BadStep: it names phases that there are none of.
        Exception: whatever the loop raises.
    """
    seen, references = Proven(), References()
    try:
        eager = Twin(task)
    except Exception as error:  # copying runs the model's own code
        seen.why_not = f"its model cannot be copied: {described(error)}"
    try:
        exact = Twin(task, exact=True)
    except Exception:
        exact = None
    torch.manual_seed(seed)
    watched, log = WatchedLoop(task, loop), CompilationLog()
    last, beyond, began = False, 0, 0.0
    for number in range(MOST_STEPS * steps):
        if seen.steps + beyond == steps or seen.lost_at_step is not None or seen.why_not is not None:
            break
        before, batch = state_of(task), task.next_batch()
        inputs, targets = (tensor.detach().clone(memory_format=torch.contiguous_format) for tensor in batch)
        torch.manual_seed(seed + number)
        own = watched.take(batch)
        seen.bits = watched.bits
        if own.told and not math.isfinite(own.loss):
            seen.lost_at_step = number
        elif was_skipped(before, own):
            seen.skipped_steps += 1
        elif last:
            beyond += 1  # taken all the same: every loop's digest is of as many steps
        else:
            if not seen.steps:
                began = now()  # not before: what the loop compiles is compiled by now
            spent = now() - began if seen.steps else 0.0
            last = seen.steps == steps - 1 or spent + 2 * spent / max(1, seen.steps) > BUDGET_SECONDS
            comparer = Comparer(eager, exact, before, (inputs, targets), own, seed + number, number)
            try:
                compare(comparer, seen, references, last=last)
            except Exception as error:  # a model may hold what no other type or rounding can
                seen.why_not = f"the canonical step could not be taken beside it: {described(error)}"
    seen.sha256, seen.compile_seconds, seen.compile_cache = digest_of(task), log.seconds(), log.cache_state()
    return seen
