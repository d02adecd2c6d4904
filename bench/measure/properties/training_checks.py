"""Checks of training: gradients, the loss and its course, the effect of the seed, and steps that run to their end."""

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
    ACCUMULATES,
    STOPS,
    LoopUnderTest,
    NotApplicable,
    StepTrace,
    listed,
    losses_on_one_batch,
    places,
    property_check,
)
from loopmark.loops.batch import Batch
from loopmark.loops.loop import EAGER

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
        return f"the loss is {float(loss)} in step {number}, which is not finite"
    return None


@property_check
def loss_reaches_parameters(loop: LoopUnderTest) -> str | None:
    """Backward gives a gradient to every parameter that gets one in eager."""
    if said := _reaches_nothing(loop.traces):
        return said
    if loop.traces[0].fault:
        raise NotApplicable(STOPS)
    named = loop.prepared.task.model.named_parameters()
    frozen = {name.replace("_orig_mod.", "") for name, parameter in named if not parameter.requires_grad}
    roots = [root for trace in loop.traces for root in trace.roots]
    # A gradient can be zero by itself, as that of a bias in the difference of two outputs.
    graded = frozen.union(*(trace.graded for trace in loop.traces), *(root.reached for root in roots))
    if missing := sorted(loop.eagers_trace.graded - graded):
        return (
            f"detaches part of the model: {listed(missing)} get no gradient, but do in eager; leave out .detach() and "
            "torch.no_grad() within the model, or freeze them by requires_grad_(False)"
        )
    return None


def _reaches_nothing(traces: Sequence[StepTrace]) -> str | None:
    for trace in traces:
        if cut := next((root for root in trace.roots if not root.needs_gradient), None):
            return (
                f"detaches the loss: backward at {cut.place} begins at a tensor without a gradient function; "
                "leave out .detach(), .data, .item() and torch.no_grad() between the model and backward"
            )
        ran = [event.place for lap in trace.ended for event in lap.events if event.what == "backward"]
        if ran and not trace.graded:
            return (
                f"detaches the loss, or its inputs: backward at {ran[-1]} runs, but no parameter "
                "gets a gradient; leave out .detach(), .data and torch.no_grad() between the model and backward, and "
                "clear gradients before it, not after"
            )
    if not traces[0].fault and not any(trace.graded for trace in traces):
        where = "the closure" if traces[0].has_closure else "`backward`"
        return f"never differentiates: no parameter gets a gradient; call loss.backward() in {where}"
    return None


LEAK_STEPS = 3
POISON = 1e4
CLEAN_RUNS = 3  # further clean runs, if the poisoned one differs, to measure their own differences
NOT_THE_SAME = 4.0
"""The least difference of the poisoned run, as a multiple of the difference between two clean runs."""


@property_check
def zeroed_gradients(loop: LoopUnderTest) -> str | None:
    """A gradient left from an earlier step does not change the step."""
    if loop.fault:
        raise NotApplicable(STOPS)
    if loop.accumulates:
        raise NotApplicable(ACCUMULATES)
    leaks = gradients_leak(loop.prepared)
    if leaks is None:
        raise NotApplicable("the step gives different results from the same weights and batches")
    return _explain_leak(loop.traces) if leaks else None


def gradients_leak(prepared: PreparedLoop) -> bool | None:
    """True if a gradient left before a step changes the step; None where this cannot be decided.

    The loop must have taken a step, so that its optimizer has its state.
    """
    batches = [prepared.task.next_batch() for _ in range(LEAK_STEPS)]
    before = Snapshot(prepared.task)
    clean, poisoned = (_weights(prepared, batches, before, gradient) for gradient in (None, POISON))
    if same(clean, poisoned):
        return False
    # Several runs, since a step's own counter (a learning rate schedule) may change its result now and then.
    usual = max(largest_difference(clean, _weights(prepared, batches, before, None)) for _ in range(CLEAN_RUNS))
    if not math.isfinite(usual):
        return None
    # `not <=`, so that NaN weights count as different.
    return not largest_difference(clean, poisoned) <= NOT_THE_SAME * usual


def _weights(prepared: PreparedLoop, batches: list[Batch], before: Snapshot, gradient: float | None) -> list[Tensor]:
    """The weights after each step on ``batches``, with every gradient set to ``gradient`` before each step."""
    before.restore()
    torch.manual_seed(0)
    found = []
    for batch in batches:
        for parameter in prepared.task.model.parameters():
            if prepared.driver is not None and parameter.grad is not None:
                # A graph's replay uses only the gradients' memory from its capture.
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
    where = "in the closure, before backward" if traces[0].has_closure else "before yielding `zero_grad`"
    return (
        f"{what}: a gradient left from the previous step is added to this step's; call "
        f"task.optimizer.zero_grad(set_to_none=True) {where}"
    )


LEAST_FALL = 2.0**-8  # of the loss: bfloat16 rounds as much, and a warm-up may begin with such steps
LAST = 3  # number of last losses whose mean is the final loss
SHARE = 0.5  # least share of eager's decrease; 16-bit numbers or batch statistics of parts may cost some of it


@property_check
def loss_decreases(loop: LoopUnderTest) -> str | None:
    """In repeated training on one batch, the loss falls, as eager's does."""
    if loop.fault:
        raise NotApplicable(STOPS)
    (losses, rates), (eagers, eagers_rates) = ((course.losses, course.rates) for course in loop.course)
    if not losses or math.isnan(losses[0]):
        raise NotApplicable("there is no loss to follow: see scalar-loss")
    whose = "eager's" if loop.reference is EAGER else "without techniques the step's"
    eagers_course = f"{whose} loss goes {_described(eagers)} at a learning rate of {_spread(eagers_rates)}"
    if not _fall(eagers) > 0:
        raise NotApplicable(f"{eagers_course}, so it does not fall either")
    if _fall(losses) >= SHARE * _fall(eagers):
        return None
    if loop.accumulates:
        raise NotApplicable(ACCUMULATES)
    chance = _eagers_chance(loop)
    if _fall(eagers) < LEAST_FALL * abs(eagers[0]) or chance > SHARE * _fall(eagers):
        raise NotApplicable(f"{eagers_course}, no more than rounding or random numbers, as of dropout, explain")
    differ = f"the step's learning rate is {_spread(rates)}, and eager's {_spread(eagers_rates)}"
    if len(rates) > len(eagers_rates) or rates == {0.0}:  # a schedule of the step's own, which may warm up
        if _fall(losses) > 0:
            return None
        raise NotApplicable(f"{differ}, so its losses cannot be compared with eager's")
    check = "check that backward begins at the loss, and its sign and scale" if rates == eagers_rates else differ
    return (
        f"the loss does not decrease as it should: on one batch it goes {_described(losses)}, and eager's, from the "
        f"same weights, {_described(eagers)}; {check}"
    )


def _fall(losses: Sequence[float]) -> float:
    return losses[0] - fmean(losses[-LAST:])


def _eagers_chance(loop: LoopUnderTest) -> float:
    """The range of eager's falls with other random numbers, from the same weights and on the same batch."""
    falls = []
    for seed in range(3):
        prepared = loop.eager()
        torch.manual_seed(seed)
        falls.append(_fall(losses_on_one_batch(prepared).losses))
    return max(falls) - min(falls)


def _spread(rates: set[float]) -> str:
    low, high = (f"{rate:.3g}" for rate in (min(rates, default=0.0), max(rates, default=0.0)))
    return low if low == high else f"{low} to {high}"


def _described(losses: Sequence[float]) -> str:
    return f"from {losses[0]:.4g} to {fmean(losses[-LAST:]):.4g} in {len(losses)} steps"


ROUNDING = 2.0**-20
"""The largest relative difference between two losses that another order of summation explains (eight float32 steps)."""


@property_check
def seed_decides(loop: LoopUnderTest) -> str | None:
    """The same seed gives the same losses bit for bit, and another seed gives different losses."""
    if loop.fault:
        raise NotApplicable(STOPS)
    first = [trace.loss_value for trace in loop.traces]
    if not all(loss is not None and math.isfinite(loss) for loss in first):
        raise NotApplicable("there are no losses to compare: see scalar-loss")
    again = losses_of(loop.fresh(), len(first))
    if _parting(first, again):
        # torch compiles a second instance in another way: a number that changed in the first is no constant in it.
        first, again = (_with_empty_compiler(loop, len(first)) for _ in range(2))
    if at := _parting(first, again):
        if _parting(losses_of(loop.eager(), len(first)), losses_of(loop.eager(), len(first))):
            raise NotApplicable("eager's own losses differ between two runs on this device")
        parted = f"from step {at} on: {first[at - 1]!r}, then {again[at - 1]!r}"
        if at > 1 and torch.get_num_threads() > 1 and _as_near_as_rounding(first[at - 1], again[at - 1]):
            raise NotApplicable(
                f"the same seed gives losses that differ as rounding does {parted}; threads that sum in no fixed order "
                "cause this, for example in compiled code: on a CPU, check with `--threads 1`"
            )
        return (
            f"the same seed gives different losses {parted}; draw random numbers from torch's generator, which the "
            "seed sets, and keep changing state in the task"
        )
    losses, eagers = (course.losses for course in loop.course)
    if losses and _same(losses[0], first[0]):
        if _same(eagers[0], loop.eagers_trace.loss_value):
            raise NotApplicable("the workload itself gives the same task for every seed")
        return "another seed gives exactly the same loss: it does not depend on the weights and the batch"
    return None


def _with_empty_compiler(loop: LoopUnderTest, steps: int) -> list[float | None]:
    torch.compiler.reset()
    return losses_of(loop.fresh(), steps)


def losses_of(prepared: PreparedLoop, steps: int) -> list[float | None]:
    """The losses of a new loop's first steps."""
    return [prepared.loss(driven=False) for _ in range(steps)]


def _parting(some: list[float | None], others: list[float | None]) -> int | None:
    """The first step, counted from one, whose losses differ; None if all agree."""
    return next((i for i, (a, b) in enumerate(zip(some, others, strict=True), start=1) if not _same(a, b)), None)


def _as_near_as_rounding(a: float | None, b: float | None) -> bool:
    return a is not None and b is not None and math.isclose(a, b, rel_tol=ROUNDING)


def _same(a: float | None, b: float | None) -> bool:
    return repr(a) == repr(b)  # NaN equals NaN here


UNWATCHED_STEPS = 50  # a fault may appear only after some steps


@property_check
def runs(loop: LoopUnderTest) -> str | None:
    """Every step runs to its end, in the process in which it began."""
    if loop.fault:
        return explain_stop(loop, loop.fault)
    for _ in range(UNWATCHED_STEPS):
        loop.prepared.take()
    if forks := loop.prepared.recorder.forks:
        return (
            f"forks its process at {places(forks)}: the child would continue training as a second copy; start worker "
            "processes before the first step"
        )
    return None


def explain_stop(loop: LoopUnderTest, fault: Fault) -> str:
    """The reason why the loop stops. Raises NotApplicable where another broken property explains it."""
    if fault.hangs or fault.early or not loop.fault:
        return fault.text
    causes = {scalar_loss: scalar_loss.explain(loop), loss_reaches_parameters: _reaches_nothing(loop.traces)}
    if cause := next((prop.name for prop, broken in causes.items() if broken), None):
        raise NotApplicable(f"the step stops, which follows from {cause}")
    return fault.text
