"""A seed decides the losses, bit for bit."""

import math

from bench.measure.properties.names import STOPS
from bench.measure.properties.subject import Subject
from bench.measure.properties.trial import Trial
from bench.records.verification import Outcome, Property

PROPERTY = Property("seed-decides", "The same seed gives the same losses bit for bit, and another seed gives others.")


def check(subject: Subject) -> Outcome:
    """Whether it does."""
    if subject.fault:
        return PROPERTY.not_applicable(STOPS)
    first = [trace.loss_value for trace in subject.traces]
    if not all(loss is not None and math.isfinite(loss) for loss in first):
        return PROPERTY.not_applicable("there are no losses to compare: see scalar-loss")
    again = losses_of(subject.fresh(), len(first))
    if at := _parting(first, again):
        if _parting(losses_of(subject.eager(), len(first)), losses_of(subject.eager(), len(first))):
            return PROPERTY.not_applicable("eager's losses are not the same twice either on this device")
        return PROPERTY.broken(
            f"the same seed gives different losses from step {at} on: {first[at - 1]!r}, then {again[at - 1]!r}; draw "
            "by torch's generator, which the seed sets, and keep what changes in the task"
        )
    losses, eagers = subject.course
    if losses and _same(losses[0], first[0]):
        if _same(eagers[0], subject.eagers_trace.loss_value):
            return PROPERTY.not_applicable("the workload itself makes the same of every seed")
        return PROPERTY.broken("another seed gives the very same loss: it does not depend on the weights and the batch")
    return PROPERTY.holds()


def losses_of(trial: Trial, steps: int) -> list[float | None]:
    """The losses of a fresh trial's first steps."""
    return [trial.loss(driven=False) for _ in range(steps)]


def _parting(some: list[float | None], others: list[float | None]) -> int | None:
    """The first step, counted from one, whose losses differ; None where none do."""
    return next((i for i, (a, b) in enumerate(zip(some, others, strict=True), start=1) if not _same(a, b)), None)


def _same(a: float | None, b: float | None) -> bool:
    return repr(a) == repr(b)  # NaN is itself here
