"""One step of a loop beside the canonical ones from the same state: eager's, the exact one, some rounded at random."""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from loopmark.bench.measure.proof.errors import Errors, dense, errors_of, relative, worst
from loopmark.bench.measure.proof.own_step import Own
from loopmark.bench.measure.proof.precision import BFLOAT16_BITS
from loopmark.bench.measure.proof.rounding import FLOAT32_BITS, RandomRounding
from loopmark.bench.measure.proof.twin import Layers, State, Taken, Twin, Updated, changes
from loopmark.bench.records.training import Deviation
from loopmark.loops.task import Batch

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
    strayed: int = 0
    """Steps that no reference explained."""
    known: Errors = field(default_factory=dict)
    """The most that any reference came to."""

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
