"""The loss reaches the parameters."""

from collections.abc import Sequence

from loopmark.bench.measure.properties.recorder import STOPS, listed
from loopmark.bench.measure.properties.step_trace import Subject, Trace
from loopmark.bench.records.checks import Outcome, Property

PROPERTY = Property(
    "loss-reaches-parameters", "Backward gives a gradient to every parameter that it gives one to in eager."
)


def check(subject: Subject) -> Outcome:
    """Whether it does."""
    frozen = {
        n.replace("_orig_mod.", "") for n, p in subject.trial.task.model.named_parameters() if not p.requires_grad
    }
    detached = judge(subject.traces, None)
    return detached if detached.status == "broken" else judge(subject.traces, subject.eagers_trace.graded, frozen)


def judge(traces: Sequence[Trace], eagers: frozenset[str] | None, frozen: Sequence[str] | set[str] = ()) -> Outcome:
    """Whether it does in ``traces``.

    Args:
        eagers: the parameters that eager gives a gradient to; None to look only for a loss that reaches none at all.
        frozen: the parameters that the loop has taken out of training on purpose.
    """
    for trace in traces:
        if cut := next((root for root in trace.roots if not root.needs_gradient), None):
            return PROPERTY.broken(
                f"detaches the loss: backward at {cut.place} begins at a tensor that no gradient leads away from; "
                "leave out .detach(), .data, .item() and torch.no_grad() between the model and backward"
            )
        ran = [event.place for lap in trace.ended for event in lap.events if event.what == "backward"]
        if ran and not trace.graded:
            return PROPERTY.broken(
                f"detaches the loss, or what it is computed from: backward at {ran[-1]} runs, and no parameter "
                "gets a gradient; leave out .detach(), .data and torch.no_grad() between the model and backward, and "
                "clear gradients before it, not after"
            )
    seen = frozenset[str]().union(*(trace.graded for trace in traces))
    if traces[0].fault:
        return PROPERTY.not_applicable(STOPS)
    if not seen:
        return PROPERTY.broken("never differentiates: no parameter gets a gradient; call loss.backward() in `backward`")
    if missing := [name for name in sorted(eagers or ()) if name not in seen and name not in frozen]:
        return PROPERTY.broken(
            f"detaches part of the model: {listed(missing)} get no gradient, and do in eager; leave out .detach() and "
            "torch.no_grad() within the model, or freeze them by requires_grad_(False)"
        )
    return PROPERTY.holds()
