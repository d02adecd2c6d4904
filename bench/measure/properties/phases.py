"""The phases exist, none is missing, and they come in their order."""

from collections.abc import Sequence
from itertools import pairwise

from loopmark.bench.measure.clock import refuse_unknown_phases
from loopmark.bench.measure.properties.recorder import STOPS, listed, phase_name
from loopmark.bench.measure.properties.step_trace import Subject, Trace
from loopmark.bench.records.checks import Outcome, Property
from loopmark.phases import DATA, FOR_EACH_PART, YIELDED

PROPERTY = Property(
    "phases-in-order", "The step yields every phase once, in order; forward, loss and backward may take turns."
)


def check(subject: Subject) -> Outcome:
    """Whether they do. Raises BadStep for a phase that does not exist, and for a step that yields none."""
    return judge(subject.traces)


def judge(traces: Sequence[Trace]) -> Outcome:
    """Whether they do in all of ``traces``; of a step that stopped, what it yielded before counts."""
    for trace in traces:
        if trace.phases or not trace.fault:
            refuse_unknown_phases(trace.phases)
        if not trace.fault and (trouble := _trouble(trace)):
            return PROPERTY.broken(trouble)
    if traces[0].fault:
        return PROPERTY.not_applicable(STOPS)
    first = traces[0].phases
    if other := next((trace.phases for trace in traces if trace.phases != first and not trace.fault), None):
        return PROPERTY.broken(
            f"yields different phases in different steps: {', '.join(first)} and then {', '.join(other)}; "
            "name the same ones each time"
        )
    return PROPERTY.holds()


def _trouble(trace: Trace) -> str | None:
    phases, order = trace.phases, YIELDED
    shown = listed(phases, 12)
    if DATA in phases:
        return f"yields `{DATA}`, which is lapped before the step begins; leave that yield out"
    if missing := [phase for phase in order if phase not in phases]:
        return (
            f"has no phase {', '.join(map(phase_name, missing))}: yields {shown}; yield each of {', '.join(order)} "
            "as its work ends"
        )
    turns, rest = divmod(len(phases) - 2, len(FOR_EACH_PART))
    if not rest and phases == (order[0], *FOR_EACH_PART * turns, order[-1]):
        return None
    place, wrong = next((lap.place, lap.phase) for lap, due in zip(trace.laps, _due(phases), strict=False) if not due)
    why = "again" if phases.count(wrong) > 1 else "out of order"
    wanted = ", ".join(order)
    return f"yields phases out of order: {phase_name(wrong)} comes {why} at {place}; yields {shown}, not {wanted}"


def _due(phases: Sequence[str]) -> list[bool]:
    """For each phase whether it may come where it does."""
    due = {*pairwise(("", *YIELDED)), (FOR_EACH_PART[-1], FOR_EACH_PART[0])}
    return [(before, phase) in due for before, phase in zip(("", *phases), phases, strict=False)]
