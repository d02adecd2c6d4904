"""Whether a loop trains the model that eager trains: each of its steps beside the canonical step from the same state.

Two runs of one loop that round differently drift apart, step by step, as chaos has it, until nothing can be said of
them. So no two runs are compared. The loop trains as it always does, and at each step the canonical step is taken from
the state that the loop had come to: what the two differ by is one step's doing alone.
"""

import functools
import hashlib
import math
import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from bench.measure.clock import refuse_unknown_phases
from bench.measure.compilation import CompilationLog
from bench.measure.proof.precision import BFLOAT16_BITS, least_bits
from bench.measure.proof.rounding import FLOAT32_BITS, RandomRounding
from bench.measure.proof.twin import (
    Layers,
    State,
    Taken,
    Twin,
    Updated,
    buffers_of,
    changes,
    gradients_of,
    parameters_of,
    slots_of,
    state_of,
)
from bench.records.proof import Deviation
from bench.records.run import CacheState
from loops.loop import Loop
from loops.task import Batch, Task
from loops.technique import Driver, Step
from loops.user_code import described

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
MOST_STEPS = 4
"""Times as many steps as are to be compared: a gradient scaler skips the first few until it has found its scale."""


@dataclass(frozen=True)
class Proven:
    """What a worker saw of the loop's steps."""

    steps: int
    """That were compared."""
    same_steps: int
    """Of those, the first so many gave eager's loss, gradients, update and buffers to the last bit."""
    skipped_steps: int
    """That a gradient scaler skipped, and that were not compared."""
    bits: int
    """Significant bits that the loop's arithmetic keeps."""
    draws_at_random: bool
    """Whether the model draws random numbers (dropout), of which a loop may draw others."""
    lost_at_step: int | None
    """The first step whose loss was NaN or infinite; nothing is compared from there on."""
    sha256: str
    """Of parameters and buffers at the end."""
    compile_seconds: float
    compile_cache: CacheState
    deviations: tuple[Deviation, ...]
    why_not: str | None = None
    """Why the canonical step could not be taken beside the loop's, which is no fault of the loop."""


Errors = dict[tuple[str, str], float]
"""By kind and layer."""


@dataclass
class _Tally:
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
        """Of more references."""
        self.known = _worst([self.known, *references])

    def strays(self, errors: Errors) -> bool:
        """Whether ``errors`` are further from the exact result than the references suggest."""
        return any(error > STRAYS * max(self.known.get(key, 0.0), 2.0**-FLOAT32_BITS) for key, error in errors.items())


def prove(task: Task, loop: Loop, steps: int, seed: int) -> Proven:
    """Train ``task`` by ``loop`` for some steps and compare each with the canonical step from the same state.

    Gradients and the loss are measured against a step in float64, and so are those of eager and of eager with each
    operation rounded at random to the loop's precision: how far rounding alone can move them. The update is measured
    against the one in float64 by the loop's own gradients, so that it shows what the optimizer did.

    Raises:
        Skip: the loop cannot train such a task.
        BadStep: it names phases that there are none of.
        Exception: whatever the loop raises.
    """
    twins = _twins(task)
    watched = _Watched(task)
    torch.manual_seed(seed)
    step = loop.prepare(task)
    handed = _Handed(task)
    tally, number, log = _Tally(), 0, CompilationLog()
    why_not = twins if isinstance(twins, str) else None
    while tally.compared < steps and number < MOST_STEPS * steps and tally.lost is None and why_not is None:
        before, batch = state_of(task), task.next_batch()
        canonical = tuple(tensor.detach().clone(memory_format=torch.contiguous_format) for tensor in batch)
        torch.manual_seed(seed + number)
        own = _take(task, step, batch, handed)
        if own.told and not math.isfinite(own.loss):
            tally.lost = number
        elif _was_skipped(before, own):
            tally.skipped += 1
        elif not isinstance(twins, str):
            comparer = _Comparer(*twins, before, (canonical[0], canonical[1]), own, seed + number, number)
            try:
                _compare(comparer, tally, watched.bits(), last=tally.compared == steps - 1)
            except Exception as error:  # a model may hold what no other type or rounding can
                why_not = f"the canonical step could not be taken beside it: {described(error)}"
        number += 1
    return Proven(
        steps=tally.compared,
        same_steps=tally.same,
        skipped_steps=tally.skipped,
        bits=watched.bits(),
        draws_at_random=tally.draws,
        lost_at_step=tally.lost,
        sha256=_digest(task),
        compile_seconds=log.seconds(),
        compile_cache=log.cache_state(),
        deviations=tuple(tally.rows),
        why_not=why_not,
    )


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


@dataclass(frozen=True)
class _Own(Taken):
    """What the loop's own step computed, and what its optimizer left."""

    updated: Updated
    told: bool
    """Whether the step left its loss in ``Task.last_loss``."""


class _Handed:
    """Notes the gradients that the optimizer is handed: after unscaling, clipping, or whatever a step makes of them."""

    def __init__(self, task: Task) -> None:
        self.gradients: Layers | None = None
        self._task, optimizer, step = task, task.optimizer, task.optimizer.step

        @functools.wraps(step)
        def noting(*arguments: Any, **options: Any) -> Any:
            # A fused optimizer unscales by itself, by what the scaler has left on it.
            scale = getattr(optimizer, "grad_scale", None)
            found = gradients_of(task.plain_model)
            self.gradients = found if scale is None else {name: gradient / scale for name, gradient in found.items()}
            return step(*arguments, **options)

        optimizer.step = noting  # type: ignore[method-assign]


def _take(task: Task, step: Step | Driver, batch: Batch, handed: _Handed) -> _Own:
    handed.gradients = None
    if isinstance(step, Driver):
        step(task, *batch)
        handed.gradients = None  # a replay hands over what its capture did, out of anyone's sight
    else:
        refuse_unknown_phases(list(step(task, *batch)))
    gradients = gradients_of(task.plain_model) if handed.gradients is None else handed.gradients
    loss = torch.tensor(float("nan")) if task.last_loss is None else task.last_loss.detach().clone()
    told = task.last_loss is not None
    updated = Updated(parameters_of(task.plain_model), slots_of(task.plain_model, task.optimizer))
    return _Own(loss, gradients, buffers_of(task.plain_model), updated, told)


def _was_skipped(before: State, own: _Own) -> bool:
    """Whether a scaler, the task's or the step's own, left out the update because a gradient was not finite."""
    if all(bool(_dense(gradient).isfinite().all()) for gradient in own.gradients.values()):
        return False
    return all(torch.equal(before.layers[name], after) for name, after in own.updated.parameters.items())


class _Watched:
    """Notes what a step predicts, and how: that tells of an autocast within a person's own step."""

    def __init__(self, task: Task) -> None:
        self._task, self._bits = task, FLOAT32_BITS
        loss_fn = task.loss_fn

        def watched(predictions: Any, targets: Any) -> Tensor:
            self._note(predictions)
            return loss_fn(predictions, targets)

        if isinstance(loss_fn, nn.Module):  # it stays what it is, since a step may ask it for more than its loss
            loss_fn.register_forward_pre_hook(lambda _, given: self._note(*given[:1]))
        else:
            task.loss_fn = watched

    def _note(self, predictions: Any = None) -> None:
        if isinstance(predictions, Tensor):
            self._bits = min(self._bits, least_bits(self._task, predictions))

    def bits(self) -> int:
        return self._bits


@dataclass(frozen=True)
class _Comparer:
    """One step of the loop's, and the canonical ones from the state before it."""

    eager: Twin
    exact: Twin | None
    before: State
    batch: Batch
    own: _Own
    seed: int
    step: int

    def canonical(self, twin: Twin, rounding: RandomRounding | None = None) -> Taken:
        torch.manual_seed(self.seed)
        return twin.take(self.before, self.batch, rounding)


def _compare(this: _Comparer, tally: _Tally, bits: int, *, last: bool) -> None:
    """Add one step to ``tally``; only one that differs from eager's costs more than eager's own."""
    eager = this.canonical(this.eager)
    tally.draws = tally.draws or _drew(this.seed)
    if _equal(this, eager):
        tally.same += tally.same == tally.compared
        tally.compared += 1
        return
    truth = _truth(this, eager)
    errors = _errors(this.own, truth)
    if not this.own.told:
        del errors["loss", ""]
    of_eager, of_rounding, of_coarse = _errors(eager, truth), Errors(), Errors()
    tally.know(of_eager)
    due = last or not tally.referenced
    tally.referenced = True
    for drawing in range(MOST_DRAWINGS):
        if not (due and drawing == 0) and (tally.strayed >= HOPELESS or not tally.strays(errors)):
            break
        fine, coarse = _drawn(this, truth, bits, drawing)
        of_rounding, of_coarse = _worst([of_rounding, fine]), _worst([of_coarse, coarse])
        tally.know(fine, {key: error for key, error in coarse.items() if key[0] == "gradient"})  # nothing else jumps
    tally.strayed += tally.strays(errors)
    own_update, exact_update, eager_updates = _updates(this)
    for name, error in _relative(own_update, exact_update).items():
        errors["update", name] = error
        known = [_relative(update, exact_update)[name] for update in eager_updates]
        of_eager["update", name], of_rounding["update", name] = known[0], max(known)
    tally.rows += [
        Deviation(
            this.step, *key, error, of_eager.get(key, 0.0), of_rounding.get(key, math.nan), of_coarse.get(key, math.nan)
        )
        for key, error in errors.items()
    ]
    tally.compared += 1


def _equal(this: _Comparer, eager: Taken) -> bool:
    own = this.own
    if own.told and not torch.equal(own.loss.to(eager.loss.dtype), eager.loss):
        return False
    if own.gradients.keys() != eager.gradients.keys():
        return False
    pairs = [(own.gradients, eager.gradients), (own.buffers, eager.buffers)]
    if not all(torch.equal(_dense(mine[name]), _dense(its[name])) for mine, its in pairs for name in its):
        return False
    updated = this.eager.update(this.before, eager.gradients)
    if own.updated.slots.keys() != updated.slots.keys():
        return False
    pairs = [(own.updated.parameters, updated.parameters), (own.updated.slots, updated.slots)]
    return all(torch.equal(mine[name], its[name]) for mine, its in pairs for name in its)


def _truth(this: _Comparer, eager: Taken) -> Taken:
    """The step in float64; eager's own where the model cannot compute in float64."""
    if this.exact is None:
        return eager
    try:
        return this.canonical(this.exact)
    except Exception as error:  # a model may insist on float32 in whatever way it likes
        if isinstance(error, torch.OutOfMemoryError):
            torch.cuda.empty_cache()
        return eager


def _drawn(this: _Comparer, truth: Taken, bits: int, drawing: int) -> tuple[Errors, Errors]:
    """What rounding at random comes to: to ``bits`` at worst, and more coarsely."""
    coarse_bits = max(BFLOAT16_BITS, bits - COARSER_BITS)
    several = [bits] * DRAWS + [coarse_bits]
    errors = []
    for draw, kept in enumerate(several, start=drawing * len(several)):
        seed = this.seed * MOST_DRAWINGS * len(several) + draw
        rounding = RandomRounding(kept, seed, this.own.loss.device, this.eager.model.buffers())
        errors.append(_errors(this.canonical(this.eager, rounding), truth))
    *fine, coarse = errors
    return _worst(errors if coarse_bits == bits else fine), coarse


def _updates(this: _Comparer) -> tuple[Layers, Layers, list[Layers]]:
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


def _errors(taken: Taken, truth: Taken) -> Errors:
    # In the order in which they come about: the loss, then the gradients from the last layer to the first.
    found: Errors = {("loss", ""): _relative({"": taken.loss}, {"": truth.loss})[""]}
    for kind, mine, its in (
        ("gradient", taken.gradients, dict(reversed(truth.gradients.items()))),
        ("buffer", taken.buffers, truth.buffers),
    ):
        found |= {(kind, name): error for name, error in _relative(mine, its).items()}
    # A gradient where there should be none at all.
    found |= {("gradient", name): math.inf for name in taken.gradients.keys() - truth.gradients.keys()}
    return found


def _relative(some: Mapping[str, Tensor], truth: Mapping[str, Tensor]) -> dict[str, float]:
    """The norm of each layer's difference over the norm of the truth; infinite where there should be nothing."""
    return {name: _distance(some.get(name), _dense(tensor).double()) for name, tensor in truth.items()}


def _distance(some: Tensor | None, truth: Tensor) -> float:
    size = float(truth.norm())
    away = size if some is None else float((_dense(some).double() - truth).norm())
    if math.isnan(away):
        return math.inf
    return away / size if size else (math.inf if away else 0.0)


def _dense(tensor: Tensor) -> Tensor:
    """An embedding's gradient may be sparse, and its optimizer may insist on that."""
    return tensor.to_dense() if tensor.is_sparse else tensor


def _worst(several: Iterable[Errors]) -> Errors:
    worst: Errors = {}
    for errors in several:
        worst |= {key: max(error, worst.get(key, 0.0)) for key, error in errors.items()}
    return worst


def _drew(seed: int) -> bool:
    """Whether anything was drawn from torch's generators since they were set to ``seed``."""
    now = torch.get_rng_state()
    cuda = torch.cuda.get_rng_state() if torch.cuda.is_initialized() else None
    torch.manual_seed(seed)
    same_cuda = cuda is None or torch.equal(cuda, torch.cuda.get_rng_state())
    return not (torch.equal(now, torch.get_rng_state()) and same_cuda)


def _digest(task: Task) -> str:
    digest = hashlib.sha256()
    for layers in (parameters_of(task.plain_model), buffers_of(task.plain_model)):
        for name, tensor in layers.items():
            digest.update(name.encode())
            digest.update(tensor.cpu().flatten().contiguous().view(torch.uint8).numpy().data)
    return digest.hexdigest()
