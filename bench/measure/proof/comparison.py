"""One step of a loop, compared with the baseline's from the same state."""

import math
import random
from dataclasses import dataclass, field, replace

import torch

from loopmark.bench.measure.proof.precision import BFLOAT16_BITS, FLOAT32_BITS, RandomRounding
from loopmark.bench.measure.proof.steps import Errors, Own, Settings, State, Taken, alike, errors_of, relative, worst
from loopmark.bench.measure.proof.twin import Nudge, Twin
from loopmark.bench.records.run import CacheState
from loopmark.bench.records.training import Deviation
from loopmark.loops.batch import Batch

DRAWS = 2
"""References with random rounding to the loop's precision, per drawing. They are drawn at the first step that differs
from eager in any bit, at the last step, and wherever the loop strays."""
COARSER_BITS = 8
"""One more reference keeps this number of bits less, but at least bfloat16's. Where a nearly zero activation rounds to
the other side of a ReLU's kink, the gradient jumps, by the same amount at any precision. Coarser rounding crosses more
kinks."""
STRAYS = 2.0
"""A step strays where its error exceeds the references' largest by this factor. Rounding matters more in some states
(a gradient that nearly cancels, an activation at a kink); new references from that state show it."""
MOST_DRAWINGS = 3
"""Most drawings in one step. With an activation at a kink, about every second reference crosses it."""
HOPELESS = 2
"""Steps that strayed from all references; after this number, no extra references are drawn."""


@dataclass
class Proven:
    """The results of comparing the loop's steps so far."""

    steps: int = 0  # compared steps
    same_steps: int = 0  # leading compared steps with eager's loss, gradients, update and buffers in every bit
    skipped_steps: int = 0  # skipped by a gradient scaler, and not compared
    bits: int = FLOAT32_BITS  # significant bits of the loop's arithmetic
    draws_at_random: bool = False  # True if the model draws random numbers (dropout); a loop may draw different ones
    lost_at_step: int | None = None  # the first step with a NaN or infinite loss; no later step is compared
    sha256: str = ""  # of the final parameters and buffers
    compile_seconds: float = 0.0
    compile_cache: CacheState | None = None
    deviations: tuple[Deviation, ...] = ()
    causes: tuple[str, ...] = ()  # for which it departs, as clauses; empty where none is known
    why_not: str | None = None  # the reason why the canonical step could not be taken; not a fault of the loop


@dataclass
class References:
    """The errors of the canonical steps so far, measured against the exact result."""

    drawn: bool = False  # True if any rounded at random
    strayed: int = 0  # steps of the loop that no reference explained
    known: Errors = field(default_factory=dict)  # the largest error of any
    departed: bool = False  # True if an error of any step exceeded the errors of rounding at that step

    def learn(self, this: "Comparer", truth: Taken, bits: int, drawing: int = 0) -> tuple[Errors, Errors]:
        """Draw references that round at random, and return their errors: those at ``bits``, and the coarse ones."""
        fine, coarse = _drawn(this, truth, bits, drawing)
        jumps = {key: error for key, error in coarse.items() if key[0] == "gradient"}  # only gradients jump
        self.known = worst([self.known, fine, jumps])
        return fine, coarse

    def explain(self, errors: Errors) -> bool:
        """True if the references explain ``errors``: none exceeds their largest error by more than ``STRAYS``."""
        least = 2.0**-FLOAT32_BITS
        return all(error <= STRAYS * max(self.known.get(key, 0.0), least) for key, error in errors.items())


@dataclass(frozen=True)
class Comparer:
    """One step of the loop, and the twins that take the canonical step from the same state."""

    eager: Twin
    exact: Twin | None
    before: State
    batch: Batch
    own: Own
    seed: int
    step: int

    def taken(self, twin: Twin, rounding: RandomRounding | None = None, nudge: Nudge | None = None) -> Taken:
        """The baseline's step by ``twin``, with the loop's random seed."""
        torch.manual_seed(self.seed)
        return twin.take(self.before, self.batch, rounding, nudge)

    def truth(self, eager: Taken) -> Taken:
        """The step in float64; eager's step where the model cannot compute in float64."""
        if self.exact is None:
            return eager
        try:
            return self.taken(self.exact)
        except Exception as error:  # a model that requires float32 may raise anything
            if isinstance(error, torch.OutOfMemoryError):
                torch.cuda.empty_cache()
            return eager

    def errors(self, taken: Taken, truth: Taken) -> Errors:
        return errors_of(taken, truth, self.before)


def compare(this: Comparer, seen: Proven, references: References, *, last: bool) -> None:
    """Add one step to ``seen``. A step equal to the baseline's costs only one step of it."""
    eager = this.taken(this.eager)
    seen.draws_at_random = seen.draws_at_random or drew(this.seed, this.own.loss.device)
    if _equal(this, eager):
        if this.exact is not None and not this.exact.is_canonical:
            this.truth(eager)  # the state that its step keeps moves on
        seen.same_steps += seen.same_steps == seen.steps
        seen.steps += 1
        return
    truth = this.truth(eager)
    if eager.updated is not None and _explains(this, eager):
        eager, truth = replace(eager, updated=None), replace(truth, updated=None)  # compared from equal gradients below
    errors = this.errors(this.own, truth)
    if not this.own.told or not bool(truth.loss.isfinite()):
        del errors["loss", ""]
    of_eager, of_rounding, of_coarse = this.errors(eager, truth), Errors(), Errors()
    references.known = worst([references.known, of_eager])
    due = last or not references.drawn
    references.drawn = True
    for drawing in range(MOST_DRAWINGS):
        if not (due and drawing == 0) and (references.strayed >= HOPELESS or references.explain(errors)):
            break
        fine, coarse = references.learn(this, truth, seen.bits, drawing)
        of_rounding, of_coarse = worst([of_rounding, fine]), worst([of_coarse, coarse])
    references.strayed += not references.explain(errors)
    if eager.updated is None:
        own_update, eager_update, nudged_updates = update_errors(this)
        errors |= own_update
        of_eager |= eager_update
        of_rounding |= worst([eager_update, *nudged_updates])
    else:  # an update from gradients that jump jumps as they do
        of_rounding = worst([of_rounding, {key: e for key, e in of_coarse.items() if key[0] == "update"}])
    at_this_step = References(known=worst([references.known, of_eager, of_rounding]))
    references.departed = references.departed or not at_this_step.explain(errors)
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
    buffers = {name: own.buffers[name] for name in eager.buffers}
    if not alike(own.gradients, eager.gradients) or not alike(buffers, eager.buffers):
        return False
    return own.updated.equals(eager.updated or this.eager.update(this.before, eager.gradients))


def _drawn(this: Comparer, truth: Taken, bits: int, drawing: int) -> tuple[Errors, Errors]:
    """The errors of random rounding: the worst at ``bits``, and those of coarser rounding."""
    coarse_bits = max(BFLOAT16_BITS, bits - COARSER_BITS)
    several = [bits] * DRAWS + [coarse_bits]
    errors = []
    for draw, kept in enumerate(several, start=drawing * len(several)):
        seed = this.seed * MOST_DRAWINGS * len(several) + draw
        rounding = RandomRounding(kept, seed, this.own.loss.device, this.eager.model.buffers())
        errors.append(this.errors(this.taken(this.eager, rounding, _nudge(seed)), truth))
    *fine, coarse = errors
    return worst(errors if coarse_bits == bits else fine), coarse


def update_errors(this: Comparer, settings: Settings | None = None) -> tuple[Errors, Errors, list[Errors]]:
    """Errors of three updates from the same gradients: the loop's, eager's, and eager's with nudged settings.

    ``settings`` replace those of eager's optimizers.

    An update includes the optimizer's own state, since a fault there shows only in the next update.
    A fused or capturable optimizer holds its settings in float32, where the error of Adam's 1 - beta is much larger
    than float32's roundoff.
    """
    nudge, before, gradients = _nudge(this.seed), this.before, this.own.gradients
    exact = (this.exact or this.eager).update(before, gradients, own=settings).since(before)
    own, eager, *nudged = (
        relative("update", updated.since(before), exact)
        for updated in (
            this.own.updated,
            this.eager.update(before, gradients, own=settings),
            *(this.eager.update(before, gradients, nudge, settings) for _ in range(DRAWS)),
        )
    )
    return own, eager, nudged


def _nudge(seed: int) -> Nudge:
    draw = random.Random(seed)
    return lambda value: value * (1 + draw.uniform(-1, 1) * 2.0**-FLOAT32_BITS)


def _explains(this: Comparer, eager: Taken) -> bool:
    """True if the optimizers' update from the baseline's gradients is all that its step did to the model."""
    assert eager.updated is not None
    try:
        return this.eager.update(this.before, eager.gradients).equals(eager.updated)
    except Exception:  # an optimizer that needs a closure
        return False


def drew(seed: int, device: torch.device) -> bool:
    """True if random numbers were drawn, on the CPU or the device, since torch's generators were set to ``seed``."""

    def states() -> list[torch.Tensor]:
        own = [] if device.type == "cpu" else [torch.get_device_module(device).get_rng_state(device)]
        return [torch.get_rng_state(), *own]

    now = states()
    torch.manual_seed(seed)
    return not all(torch.equal(one, other) for one, other in zip(now, states(), strict=True))
