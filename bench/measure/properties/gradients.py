"""Gradients are zeroed: what a step before has left does not change this one."""

import math

import torch
from torch import Tensor

from loopmark.bench.measure.properties.recorder import STOPS, phase_name, places
from loopmark.bench.measure.properties.step_trace import Subject
from loopmark.bench.measure.properties.trial import Snapshot, Trial, largest_difference, parameters_of, same
from loopmark.bench.records.checks import Outcome, Property
from loopmark.loops.task import Batch

PROPERTY = Property("zeroed-gradients", "A gradient that is left from before a step does not change it.")
STEPS = 3
POISON = 1e4
CLEAN_RUNS = 3
"""More, where the poisoned one differs: how far apart they are when nothing is left."""
NOT_THE_SAME = 4.0
"""How many times further apart than two runs with nothing left the poisoned one must be, where those differ."""


def check(subject: Subject) -> Outcome:
    """Whether it does not."""
    if subject.fault:
        return PROPERTY.not_applicable(STOPS)
    leaks = gradients_leak(subject.trial)
    if leaks is None:
        return PROPERTY.not_applicable("the step does not repeat itself from the same weights and batches")
    return PROPERTY.broken(_explained(subject)) if leaks else PROPERTY.holds()


def gradients_leak(trial: Trial) -> bool | None:
    """Whether a gradient that is there before a step changes what the step does; None where that cannot be told.

    The trial must have taken a step, so that its optimizer has its state.
    """
    batches = [trial.task.next_batch() for _ in range(STEPS)]
    before = Snapshot(trial.task)
    clean, poisoned = (_weights(trial, batches, before, gradient) for gradient in (None, POISON))
    if same(clean, poisoned):
        return False
    # Several, since what a step counts by itself (a schedule of learning rates) may change now and then.
    usual = max(largest_difference(clean, _weights(trial, batches, before, None)) for _ in range(CLEAN_RUNS))
    if not math.isfinite(usual):
        return None
    # Written so that weights which are no numbers any more differ.
    return not largest_difference(clean, poisoned) <= NOT_THE_SAME * usual


def _weights(trial: Trial, batches: list[Batch], before: Snapshot, gradient: float | None) -> list[Tensor]:
    """The weights after each step on ``batches``, each begun with ``gradient`` left everywhere."""
    before.restore()
    torch.manual_seed(0)
    found = []
    for batch in batches:
        for parameter in trial.task.model.parameters():
            if trial.driver is not None and parameter.grad is not None:
                # A graph's replay knows only the memory of the gradients that it was captured with.
                parameter.grad.fill_(gradient or 0.0)
            elif parameter.requires_grad:
                parameter.grad = None if gradient is None else torch.full_like(parameter, gradient)
        trial.take(batch)
        found.extend(parameters_of(trial.task))
    before.restore()
    return found


def _explained(subject: Subject) -> str:
    calls = [
        (phase, event.place) for trace in subject.traces for phase, event in trace.events if event.what == "zero_grad"
    ]
    why = "a gradient left from the step before is added to this step's"
    fix = "call task.optimizer.zero_grad(set_to_none=True) before `zero_grad` is yielded"
    if not calls:
        return f"forgets zero_grad: {why}; {fix}"
    if elsewhere := [(phase, place) for phase, place in calls if phase != "zero_grad"]:
        return f"calls zero_grad in {phase_name(elsewhere[0][0])} ({places([p for _, p in elsewhere])}): {why}; {fix}"
    if len(calls) < len(subject.traces):
        return f"forgets zero_grad in some steps ({places([p for _, p in calls])} is not reached in each): {why}; {fix}"
    return f"does not zero every gradient, though it calls zero_grad at {places([p for _, p in calls])}: {why}; {fix}"
