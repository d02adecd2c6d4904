"""A seed decides the losses, bit for bit."""

import math

import torch

from loopmark.bench.measure.properties.recorder import STOPS
from loopmark.bench.measure.properties.step_trace import Subject
from loopmark.bench.measure.properties.trial import Trial
from loopmark.bench.records.checks import Outcome, Property

PROPERTY = Property("seed-decides", "The same seed gives the same losses bit for bit, and another seed gives others.")

ROUNDING = 2.0**-20
"""The relative difference, of eight float32 steps at most, up to which sums in another order part two losses."""


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
        parted = f"from step {at} on: {first[at - 1]!r}, then {again[at - 1]!r}"
        if at > 1 and torch.get_num_threads() > 1 and _as_near_as_rounding(first[at - 1], again[at - 1]):
            return PROPERTY.not_applicable(
                f"the same seed gives losses that differ as rounding does {parted}; threads that add up in no fixed "
                "order do that, in compiled code for example: on a CPU `--threads 1` tells"
            )
        return PROPERTY.broken(
            f"the same seed gives different losses {parted}; draw "
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


def _as_near_as_rounding(a: float | None, b: float | None) -> bool:
    return a is not None and b is not None and math.isclose(a, b, rel_tol=ROUNDING, abs_tol=0.0)


def _same(a: float | None, b: float | None) -> bool:
    return repr(a) == repr(b)  # NaN is itself here
