"""What belongs to others is left as it was: the batch, and the model's mode."""

from collections.abc import Sequence

from loopmark.bench.measure.properties.recorder import STOPS, listed
from loopmark.bench.measure.properties.step_trace import Subject, Trace
from loopmark.bench.records.checks import Outcome, Property

PROPERTY = Property("batch-and-mode-kept", "The step changes no batch in place, and leaves the model in its mode.")


def check(subject: Subject) -> Outcome:
    """Whether it does."""
    return judge(subject.traces)


def judge(traces: Sequence[Trace]) -> Outcome:
    """Whether it does in ``traces``."""
    for trace in traces:
        if trace.changed_batch:
            return PROPERTY.broken(
                f"changes the batch in place: {' and '.join(trace.changed_batch)} are others after the step, and a "
                "dataset in memory would be too; work on a copy"
            )
        if trace.changed_modes:
            which = [
                name.replace("_orig_mod.", "").removesuffix("_orig_mod") or "the whole model"
                for name in trace.changed_modes
            ]
            return PROPERTY.broken(
                f"leaves {listed(dict.fromkeys(which))} in another mode, training or not, than before the step; "
                "put the mode back within the step"
            )
    if traces[0].fault:
        return PROPERTY.not_applicable(STOPS)
    return PROPERTY.holds()
