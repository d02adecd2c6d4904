"""Only ``optimizer`` moves parameters."""

from collections.abc import Sequence

from loopmark.bench.measure.properties.recorder import STOPS, listed, phase_name
from loopmark.bench.measure.properties.step_trace import Lap, Subject, Trace
from loopmark.bench.records.checks import Outcome, Property

PROPERTY = Property("only-optimizer-moves-parameters", "No parameter changes in any phase but `optimizer`.")


def check(subject: Subject) -> Outcome:
    """Whether none does."""
    return judge(subject.traces)


def judge(traces: Sequence[Trace]) -> Outcome:
    """Whether none does in ``traces``."""
    wrong = [lap for trace in traces for lap in trace.ended if lap.moved and lap.phase != "optimizer"]
    if not wrong and traces[0].fault:
        return PROPERTY.not_applicable(STOPS)
    if not wrong:
        return PROPERTY.holds()
    phases = dict.fromkeys(lap.phase for lap in wrong)
    return PROPERTY.broken(
        f"moves parameters in {' and in '.join(map(phase_name, phases))}, not only in `optimizer`: "
        f"{listed(wrong[0].moved)}{_by_whom(wrong[0])}; let task.optimizer.step(), in `optimizer`, be all that does"
    )


def phases_that_move_parameters(trace: Trace) -> list[str]:
    """The phases in which a parameter changed, in order; "" for what comes after the last yield."""
    return [lap.phase for lap in trace.laps if lap.moved]


def _by_whom(lap: Lap) -> str:
    update = next((event for event in lap.events if event.what == "update"), None)
    if update:
        return f" (the optimizer's step at {update.place})"
    return f" (before the yield at {lap.place})" if lap.place else ""
