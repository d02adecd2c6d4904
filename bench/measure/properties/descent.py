"""The loss decreases."""

from collections.abc import Sequence
from statistics import fmean

from loopmark.bench.measure.properties.recorder import STOPS
from loopmark.bench.measure.properties.step_trace import Subject
from loopmark.bench.records.checks import Outcome, Property

PROPERTY = Property("loss-decreases", "Trained on one batch again and again, the loss falls, as eager's does.")
LAST = 3
"""The mean of so many losses is where it got to."""
SHARE = 0.5
"""Of eager's decrease; what changes the numbers (16 bits, batch statistics of parts) may cost some of it."""


def check(subject: Subject) -> Outcome:
    """Whether it does."""
    if subject.fault:
        return PROPERTY.not_applicable(STOPS)
    losses, eagers = subject.course
    if not losses or losses[0] != losses[0]:
        return PROPERTY.not_applicable("there is no loss to follow: see scalar-loss")
    return judge(losses, eagers)


def judge(losses: Sequence[float], eagers: Sequence[float]) -> Outcome:
    """Whether ``losses`` fall by at least half as much as ``eagers`` do, from the same weights on the same batch."""
    fall, eagers_fall = _fall(losses), _fall(eagers)
    if not eagers_fall > 0:
        return PROPERTY.not_applicable(f"eager's loss does not fall either ({_course(eagers)})")
    if fall >= SHARE * eagers_fall:
        return PROPERTY.holds()
    return PROPERTY.broken(
        f"the loss does not decrease as it should: on one batch it goes {_course(losses)}, and eager's, from the same "
        f"weights, {_course(eagers)}; see that what backward begins at is the loss, its sign and its scale"
    )


def _fall(losses: Sequence[float]) -> float:
    return losses[0] - fmean(losses[-LAST:])


def _course(losses: Sequence[float]) -> str:
    return f"from {losses[0]:.4g} to {fmean(losses[-LAST:]):.4g} in {len(losses)} steps"
