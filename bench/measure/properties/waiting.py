"""No wait for the device is hidden in a phase."""

from collections.abc import Sequence

from loopmark.bench.measure.properties.recorder import STOPS, phase_name
from loopmark.bench.measure.properties.step_trace import Subject, Trace, watch
from loopmark.bench.measure.properties.trial import Stopped
from loopmark.bench.records.checks import Outcome, Property

PROPERTY = Property("no-hidden-synchronisation", "The step never makes the host wait for the device.")


def check(subject: Subject) -> Outcome:
    """Whether it never does."""
    said = judge(subject.traces)
    if said.status == "broken" or subject.fault:
        return said
    trace = watch(subject.trial, for_waits=True)
    if trace.fault and trace.fault.hangs:
        raise Stopped(trace.fault)
    if trace.fault:  # it runs unwatched, so it is the watching that it does not bear
        return PROPERTY.not_applicable(f"torch cannot be looked into while this step runs ({trace.fault.text})")
    return judge([trace])


def judge(traces: Sequence[Trace]) -> Outcome:
    """Whether it never does in ``traces``."""
    found: dict[tuple[str, str], str] = {}
    for phase, event in (pair for trace in traces for pair in trace.events):
        if event.what == "wait":
            found.setdefault((phase, event.place), event.detail)
    if not found:
        return PROPERTY.not_applicable(STOPS) if traces[-1].fault else PROPERTY.holds()
    shown = [f"in {phase_name(phase)}, {place} {what}" for (phase, place), what in found.items()]
    more = f"; and {len(shown) - 3} more" if len(shown) > 3 else ""
    return PROPERTY.broken(
        f"waits for the device: {'; '.join(shown[:3])}{more}; keep numbers on the device, and read task.last_loss "
        "between steps"
    )
