"""One step is one update."""

from collections.abc import Sequence

from loopmark.bench.measure.properties.recorder import STOPS, places
from loopmark.bench.measure.properties.step_trace import Subject, Trace
from loopmark.bench.records.checks import Outcome, Property

PROPERTY = Property("one-update", "One step steps the optimizer once.")


def check(subject: Subject) -> Outcome:
    """Whether it does."""
    return judge(subject.traces)


def judge(traces: Sequence[Trace]) -> Outcome:
    """Whether it does in each of ``traces``; a step that a gradient scaler skips counts as one."""
    for trace in traces:
        updates = [event.place for _, event in trace.events if event.what == "update"]
        if len(updates) > 1:
            times = "twice" if len(updates) == 2 else f"{len(updates)} times"
            return PROPERTY.broken(
                f"steps {times}: task.optimizer.step() is called {times} in one step, at {places(updates)}; "
                "call it once"
            )
        if trace.fault:
            break
        if not updates:
            moved = any(lap.moved for lap in trace.laps)
            what = "something else moves the parameters" if moved else "nothing is learnt in such a step"
            return PROPERTY.broken(
                f"never steps: a step ends without a call of task.optimizer.step(), so {what}; call it in `optimizer`"
            )
    if traces[0].fault:
        return PROPERTY.not_applicable(STOPS)
    return PROPERTY.holds()


def updates_in(trace: Trace) -> int:
    """How often the optimizer was stepped."""
    return sum(event.what == "update" for _, event in trace.events)
