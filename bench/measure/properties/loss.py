"""The loss is a scalar, a number, and left where others find it."""

from collections.abc import Sequence

from torch import Tensor

from loopmark.bench.measure.properties.recorder import STOPS
from loopmark.bench.measure.properties.step_trace import Subject, Trace
from loopmark.bench.records.checks import Outcome, Property

PROPERTY = Property(
    "scalar-loss", "A step leaves its loss in task.last_loss: one finite number, (), detached from its graph."
)
LEAVE_IT = "end with task.last_loss = loss.detach()"


def check(subject: Subject) -> Outcome:
    """Whether it does."""
    return judge(subject.traces)


def judge(traces: Sequence[Trace]) -> Outcome:
    """Whether it does in each of ``traces``."""
    for number, trace in enumerate(traces, start=1):
        if vector := next((r for r in trace.roots if r.shape and not r.seeded and _product(r.shape) != 1), None):
            return PROPERTY.broken(
                f"the loss is no scalar: backward begins at a tensor of shape {vector.shape} at {vector.place}; "
                "take its mean, as in loss.mean()"
            )
        if trace.fault:
            break
        if trouble := _trouble(trace.loss, number):
            return PROPERTY.broken(trouble)
    if traces[0].fault:
        return PROPERTY.not_applicable(STOPS)
    return PROPERTY.holds()


def _trouble(loss: object, number: int) -> str | None:
    if loss is None:
        return f"never sets task.last_loss: step {number} leaves none; {LEAVE_IT}"
    if not isinstance(loss, Tensor):
        return f"task.last_loss is a {type(loss).__name__}, and reading a number waits for the device; {LEAVE_IT}"
    if loss.shape != ():
        return f"the loss is no scalar: task.last_loss has shape {tuple(loss.shape)}; leave one of shape ()"
    if loss.requires_grad:
        return (
            "task.last_loss still holds its graph, and with it all of the step's activations until the next loss; "
            f"{LEAVE_IT}"
        )
    if not bool(loss.isfinite()):
        return f"the loss is {float(loss)} in step {number}, which is no finite number"
    return None


def _product(shape: tuple[int, ...]) -> int:
    product = 1
    for size in shape:
        product *= size
    return product
