"""Nothing is left on in whoever drives the step."""

from collections.abc import Sequence

from loopmark.bench.measure.properties.recorder import STOPS, phase_name, places
from loopmark.bench.measure.properties.step_trace import Subject, Trace
from loopmark.bench.records.checks import Outcome, Property

PROPERTY = Property(
    "no-yield-in-with", "The step never yields inside a `with`, and leaves no autocast or no_grad on at a yield."
)


def check(subject: Subject) -> Outcome:
    """Whether it never does."""
    return judge(subject.traces)


def judge(traces: Sequence[Trace]) -> Outcome:
    """Whether it never does in ``traces``."""
    left = [(what, lap.phase) for trace in traces for lap in trace.laps for what in lap.left_on]
    kept = f"; {left[0][0]} is still on at {_when(left[0][1])}" if left else ""
    if held := [place for trace in traces for place in trace.held_yields]:
        return PROPERTY.broken(
            f"yields inside a `with` at {places(held)}, which stays open in whoever drives the step{kept}; "
            "close it before the yield and open it again after"
        )
    if left:
        return PROPERTY.broken(
            f"leaves {left[0][0]} on at {_when(left[0][1])}, and so in whoever drives the step; turn it off before "
            "the yield"
        )
    if traces[0].fault:
        return PROPERTY.not_applicable(STOPS)
    return PROPERTY.holds()


def _when(phase: str) -> str:
    return f"the yield of {phase_name(phase)}" if phase else "the step's end"
