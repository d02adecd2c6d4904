"""A step runs to its end, and so do those after it."""

from loopmark.bench.measure.properties import loss, reach
from loopmark.bench.measure.properties.recorder import places
from loopmark.bench.measure.properties.step_trace import Subject
from loopmark.bench.measure.properties.trial import Fault
from loopmark.bench.records.checks import Outcome, Property

PROPERTY = Property("runs", "Every step runs to its end, in the one process that it was begun in.")
STEPS = 50
"""How many are taken with nobody looking: a fault may need some steps to show."""


def check(subject: Subject) -> Outcome:
    """Whether they do. Raises Stopped where one does not."""
    if subject.fault:
        return stopped(subject, subject.fault)
    for _ in range(STEPS):
        subject.trial.take()
    if forks := subject.trial.recorder.forks:
        return PROPERTY.broken(
            f"forks its process at {places(forks)}: the child would go on training as a second copy; start what it "
            "needs before the first step"
        )
    return PROPERTY.holds()


def stopped(subject: Subject, fault: Fault) -> Outcome:
    """What it says of a loop that it stopped with ``fault``; not its own fault where another property is the cause."""
    if fault.hangs or fault.early or not subject.fault:
        return PROPERTY.broken(fault.text)
    for cause in (loss.judge(subject.traces), reach.judge(subject.traces, None)):
        if cause.status == "broken":
            return PROPERTY.not_applicable(f"the step stops, which follows from {cause.name}")
    return PROPERTY.broken(fault.text)
