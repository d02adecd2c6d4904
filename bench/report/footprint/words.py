"""A step's memory in words."""

from loopmark.bench.records.footprint import Footprint, FootprintCase
from loopmark.bench.report import format as show
from loopmark.bench.report.text import elide

NAME_WIDTH, LONGEST = 60, 600
COUNTED = {
    "tensors alive": "every tensor that the step makes or holds; what operators use for themselves is not seen",
    "device memory allocated": "what torch's allocator has handed out",
}


def conclusion(case: FootprintCase) -> str:
    """Where the peak is, and what it is made of, in one sentence."""
    who = f"{elide(case.workload, NAME_WIDTH)}, {elide(case.loop, NAME_WIDTH)}"
    step = case.footprint
    if step is None:
        return f"{who}: {case.status.replace('_', ' ')}: {elide(case.reason or '', LONGEST)}."
    share = step.peak.peak_bytes - step.before_bytes
    text = (
        f"{who}: the step comes to {show.data(step.peak.peak_bytes)} in {elide(step.peak.phase, NAME_WIDTH)}"
        f"{_operator(step)}: {show.data(max(0, share))} above the {show.data(step.before_bytes)} that it begins with"
    )
    return f"{text}{_fragmentation(step)}."


def counted(step: Footprint) -> str:
    """What the bytes are of."""
    eagerly = "; compiled code was run eagerly, since nothing is seen inside it" if step.ran_eagerly else ""
    return f"{step.kind}: {COUNTED[step.kind]}{eagerly}"


def _operator(step: Footprint) -> str:
    return f", at {elide(step.peak_operator, NAME_WIDTH)}" if step.peak_operator else ""


def _fragmentation(step: Footprint) -> str:
    if step.fragmentation_bytes is None:
        return ""
    split = show.data(step.peak.peak_inactive_split_bytes)
    return (
        f"; around then the allocator held {show.data(step.fragmentation_bytes)} more than was in use, "
        f"at most {split} of it stuck in blocks that are partly in use"
    )
