"""Checks of training: gradients, the loss and where it goes, what a seed decides, and steps that come to their end."""

import math
from collections.abc import Sequence
from statistics import fmean

import torch
from torch import Tensor

from loopmark.bench.measure.properties.prepared_loop import (
    Fault,
    PreparedLoop,
    Snapshot,
    largest_difference,
    parameters_of,
    phase_name,
    same,
)
from loopmark.bench.measure.properties.step_trace import (
    STOPS,
    LoopUnderTest,
    NotApplicable,
    StepTrace,
    listed,
    places,
    property_check,
)
from loopmark.loops.task import Batch

LEAVE_IT = "end with task.last_loss = loss.detach()"


@property_check
def scalar_loss(loop: LoopUnderTest) -> str | None:
    """A step leaves its loss in task.last_loss: one finite number, (), detached from its graph."""
    for number, trace in enumerate(loop.traces, start=1):
        if vector := next((r for r in trace.roots if r.shape and not r.seeded and math.prod(r.shape) != 1), None):
            return (
                f"the loss is no scalar: backward begins at a tensor of shape {vector.shape} at {vector.place}; "
                "take its mean, as in loss.mean()"
            )
        if trace.fault:
            return None
        if trouble := _trouble_with(trace.loss, number):
            return trouble
    return None


def _trouble_with(loss: object, number: int) -> str | None:
    if loss is None:
        return f"never sets task.last_loss: step {number} leaves none; {LEAVE_IT}"
    if not isinstance(loss, Tensor):
        return f"task.last_loss is a {type(loss).__name__}, and reading a number waits for the device; {LEAVE_IT}"
    if loss.shape != ():
        return f"the loss is no scalar: task.last_loss has shape {tuple(loss.shape)}; leave one of shape ()"
    if loss.requires_grad:
        return (
            "task.last_loss still holds its graph, and with it all of the step's activations until the next loss; "
            f"{LEAVE_IT}"
        )
    if not bool(loss.isfinite()):
        return f"the loss is {float(loss)} in step {number}, which is no finite number"
    return None


@property_check
def loss_reaches_parameters(loop: LoopUnderTest) -> str | None:
    """Backward gives a gradient to every parameter that it gives one to in eager."""
    if said := _reaches_nothing(loop.traces):
        return said
    if loop.traces[0].fault:
        raise NotApplicable(STOPS)
    named = loop.prepared.task.model.named_parameters()
    frozen = {name.replace("_orig_mod.", "") for name, parameter in named if not parameter.requires_grad}
    graded = frozen.union(*(trace.graded for trace in loop.traces))
    if missing := sorted(loop.eagers_trace.graded - graded):
        return (
            f"detaches part of the model: {listed(missing)} get no gradient, and do in eager; leave out .detach() and "
            "torch.no_grad() within the model, or freeze them by requires_grad_(False)"
        )
    return None


def _reaches_nothing(traces: Sequence[StepTrace]) -> str | None:
    for trace in traces:
        if cut := next((root for root in trace.roots if not root.needs_gradient), None):
            return (
                f"detaches the loss: backward at {cut.place} begins at a tensor that no gradient leads away from; "
                "leave out .detach(), .data, .item() and torch.no_grad() between the model and backward"
            )
        ran = [event.place for lap in trace.ended for event in lap.events if event.what == "backward"]
        if ran and not trace.graded:
            return (
                f"detaches the loss, or what it is computed from: backward at {ran[-1]} runs, and no parameter "
                "gets a gradient; leave out .detach(), .data and torch.no_grad() between the model and backward, and "
                "clear gradients before it, not after"
            )
    if not traces[0].fault and not any(trace.graded for trace in traces):
        return "never differentiates: no parameter gets a gradient; call loss.backward() in `backward`"
    return None


LEAK_STEPS = 3
POISON = 1e4
CLEAN_RUNS = 3  # more, where the poisoned one differs: how far apart they are when nothing is left
NOT_THE_SAME = 4.0
"""How many times further apart than two runs with nothing left the poisoned one must be, where those differ."""


@property_check
def zeroed_gradients(loop: LoopUnderTest) -> str | None:
    """A gradient that is left from before a step does not change it."""
    if loop.fault:
        raise NotApplicable(STOPS)
    leaks = gradients_leak(loop.prepared)
    if leaks is None:
        raise NotApplicable("the step does not repeat itself from the same weights and batches")
    return _explain_leak(loop.traces) if leaks else None


def gradients_leak(prepared: PreparedLoop) -> bool | None:
    """Whether a gradient that is there before a step changes what the step does; None where that cannot be told.

    The loop must have taken a step, so that its optimizer has its state.
    """
    batches = [prepared.task.next_batch() for _ in range(LEAK_STEPS)]
    before = Snapshot(prepared.task)
    clean, poisoned = (_weights(prepared, batches, before, gradient) for gradient in (None, POISON))
    if same(clean, poisoned):
        return False
    # Several, since what a step counts by itself (a schedule of learning rates) may change now and then.
    usual = max(largest_difference(clean, _weights(prepared, batches, before, None)) for _ in range(CLEAN_RUNS))
    if not math.isfinite(usual):
        return None
    # Written so that weights which are no numbers any more differ.
    return not largest_difference(clean, poisoned) <= NOT_THE_SAME * usual


def _weights(prepared: PreparedLoop, batches: list[Batch], before: Snapshot, gradient: float | None) -> list[Tensor]:
    """The weights after each step on ``batches``, each begun with ``gradient`` left everywhere."""
    before.restore()
    torch.manual_seed(0)
    found = []
    for batch in batches:
        for parameter in prepared.task.model.parameters():
            if prepared.driver is not None and parameter.grad is not None:
                # A graph's replay knows only the memory of the gradients that it was captured with.
                parameter.grad.fill_(gradient or 0.0)
            elif parameter.requires_grad:
                parameter.grad = None if gradient is None else torch.full_like(parameter, gradient)
        prepared.take(batch)
        found.extend(parameters_of(prepared.task))
    before.restore()
    return found


def _explain_leak(traces: Sequence[StepTrace]) -> str:
    calls = [(phase, event.place) for trace in traces for phase, event in trace.events if event.what == "zero_grad"]
    everywhere = places([place for _, place in calls])
    elsewhere = [(phase, place) for phase, place in calls if phase != "zero_grad"]
    if not calls:
        what = "forgets zero_grad"
    elif elsewhere:
        what = f"calls zero_grad in {phase_name(elsewhere[0][0])} ({places([place for _, place in elsewhere])})"
    elif len(calls) < len(traces):
        what = f"forgets zero_grad in some steps ({everywhere} is not reached in each)"
    else:
        what = f"does not zero every gradient, though it calls zero_grad at {everywhere}"
    return (
        f"{what}: a gradient left from the step before is added to this step's; call "
        "task.optimizer.zero_grad(set_to_none=True) before `zero_grad` is yielded"
    )


LAST = 3  # the mean of so many losses is where it got to
SHARE = 0.5  # of eager's decrease; what changes the numbers (16 bits, batch statistics of parts) may cost some of it


@property_check
def loss_decreases(loop: LoopUnderTest) -> str | None:
    """Trained on one batch again and again, the loss falls, as eager's does."""
    if loop.fault:
        raise NotApplicable(STOPS)
    losses, eagers = loop.course
    if not losses or math.isnan(losses[0]):
        raise NotApplicable("there is no loss to follow: see scalar-loss")
    if not _fall(eagers) > 0:
        raise NotApplicable(f"eager's loss does not fall either ({_described(eagers)})")
    if _fall(losses) >= SHARE * _fall(eagers):
        return None
    return (
        f"the loss does not decrease as it should: on one batch it goes {_described(losses)}, and eager's, from the "
        f"same weights, {_described(eagers)}; see that what backward begins at is the loss, its sign and its scale"
    )


def _fall(losses: Sequence[float]) -> float:
    return losses[0] - fmean(losses[-LAST:])


def _described(losses: Sequence[float]) -> str:
    return f"from {losses[0]:.4g} to {fmean(losses[-LAST:]):.4g} in {len(losses)} steps"


ROUNDING = 2.0**-20
"""The relative difference, of eight float32 steps at most, up to which sums in another order part two losses."""


@property_check
def seed_decides(loop: LoopUnderTest) -> str | None:
    """The same seed gives the same losses bit for bit, and another seed gives others."""
    if loop.fault:
        raise NotApplicable(STOPS)
    first = [trace.loss_value for trace in loop.traces]
    if not all(loss is not None and math.isfinite(loss) for loss in first):
        raise NotApplicable("there are no losses to compare: see scalar-loss")
    again = losses_of(loop.fresh(), len(first))
    if at := _parting(first, again):
        if _parting(losses_of(loop.eager(), len(first)), losses_of(loop.eager(), len(first))):
            raise NotApplicable("eager's losses are not the same twice either on this device")
        parted = f"from step {at} on: {first[at - 1]!r}, then {again[at - 1]!r}"
        if at > 1 and torch.get_num_threads() > 1 and _as_near_as_rounding(first[at - 1], again[at - 1]):
            raise NotApplicable(
                f"the same seed gives losses that differ as rounding does {parted}; threads that add up in no fixed "
                "order do that, in compiled code for example: on a CPU `--threads 1` tells"
            )
        return (
            f"the same seed gives different losses {parted}; draw by torch's generator, which the seed sets, and keep "
            "what changes in the task"
        )
    losses, eagers = loop.course
    if losses and _same(losses[0], first[0]):
        if _same(eagers[0], loop.eagers_trace.loss_value):
            raise NotApplicable("the workload itself makes the same of every seed")
        return "another seed gives the very same loss: it does not depend on the weights and the batch"
    return None


def losses_of(prepared: PreparedLoop, steps: int) -> list[float | None]:
    """The losses of a fresh loop's first steps."""
    return [prepared.loss(driven=False) for _ in range(steps)]


def _parting(some: list[float | None], others: list[float | None]) -> int | None:
    """The first step, counted from one, whose losses differ; None where none do."""
    return next((i for i, (a, b) in enumerate(zip(some, others, strict=True), start=1) if not _same(a, b)), None)


def _as_near_as_rounding(a: float | None, b: float | None) -> bool:
    return a is not None and b is not None and math.isclose(a, b, rel_tol=ROUNDING)


def _same(a: float | None, b: float | None) -> bool:
    return repr(a) == repr(b)  # NaN is itself here


UNWATCHED_STEPS = 50  # a fault may need some steps to show


@property_check
def runs(loop: LoopUnderTest) -> str | None:
    """Every step runs to its end, in the one process that it was begun in."""
    if loop.fault:
        return explain_stop(loop, loop.fault)
    for _ in range(UNWATCHED_STEPS):
        loop.prepared.take()
    if forks := loop.prepared.recorder.forks:
        return (
            f"forks its process at {places(forks)}: the child would go on training as a second copy; start what it "
            "needs before the first step"
        )
    return None


def explain_stop(loop: LoopUnderTest, fault: Fault) -> str:
    """How the loop stops. Raises NotApplicable where that follows from another property that it lacks."""
    if fault.hangs or fault.early or not loop.fault:
        return fault.text
    causes = {scalar_loss: scalar_loss.explain(loop), loss_reaches_parameters: _reaches_nothing(loop.traces)}
    if cause := next((prop.name for prop, broken in causes.items() if broken), None):
        raise NotApplicable(f"the step stops, which follows from {cause}")
    return fault.text
