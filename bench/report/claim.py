"""A judgement in words, the same for the terminal, job summaries, JUnit and annotations."""

from loopmark.bench.judge.finding import Finding, Judgement
from loopmark.bench.report import show
from loopmark.bench.report.text import elide

NAME_LENGTH, SENTENCE_LENGTH = 60, 500
MOST_NAMED = 3


def word(finding: Finding) -> str:
    """The verdict; ``not slower`` for an inconclusive one that is the same or faster, ``broken`` for no figure."""
    if finding.broken:
        return "broken"
    return "not slower" if finding.verdict == "inconclusive" and not finding.may_be_slower else finding.verdict


def change(finding: Finding) -> str:
    """``+2.1 % [+0.3, +4.0]``: the head's figure relative to the base's."""
    return show.overhead_range(finding.change)


def figure(finding: Finding, value: float | None) -> str:
    """``value`` in the metric's unit."""
    return {"seconds": show.seconds, "bytes": show.data, "ratio": show.ratio}[finding.unit](value)


def allowed(finding: Finding) -> str:
    """``5.0 %``: the slowdown that is allowed; ``any`` for a finding that decides nothing."""
    if not finding.decides:
        return "any"
    return show.percent(finding.threshold) if finding.threshold else "0 %"


def title(finding: Finding) -> str:
    """The workload, loop and metric of a finding, on one short line."""
    return f"{place(finding)}: {elide(finding.metric, NAME_LENGTH)}"


def place(finding: Finding) -> str:
    """The workload and loop of a finding, on one short line."""
    return f"{elide(finding.workload, NAME_LENGTH)}, {elide(finding.loop, NAME_LENGTH)}"


def note(finding: Finding) -> str:
    """A finding's remark beyond its figures, with its name; empty for most."""
    if finding.note is None:
        return ""
    return f"{place(finding) if finding.broken else title(finding)}: {elide(finding.note, SENTENCE_LENGTH)}"


def sentence(finding: Finding) -> str:
    """A finding on one metric, in one plain sentence."""
    aside = f" ({elide(finding.note, SENTENCE_LENGTH)})" if finding.note else ""
    if finding.broken:
        return f"{place(finding)} is broken{aside}"
    figures = f"{figure(finding, finding.base)} → {figure(finding, finding.head)}"
    allowed = f"{show.percent(finding.threshold)} is allowed" if finding.threshold else "no more is allowed"
    said = "the same" if finding.verdict == "same" else word(finding)
    return f"{title(finding)} is {said}, {change(finding)} ({figures}; {allowed}){aside}"


def conclusion(judgement: Judgement) -> str:
    """The outcome of the comparison, in one plain sentence."""
    outcome = judgement.outcome.capitalize()
    deciding = [finding for finding in judgement.findings if finding.decides]
    if judgement.refusal is not None:
        return f"{outcome}: {elide(judgement.refusal, SENTENCE_LENGTH)}"
    if judgement.outcome == "regression":
        named = "; ".join(map(sentence, judgement.regressions[:MOST_NAMED]))
        others = len(judgement.regressions) - MOST_NAMED
        return f"{outcome}: {named}{f'; and {others} more' if others > 0 else ''}."
    if judgement.outcome == "inconclusive":
        open_ = tuple(finding for finding in deciding if finding.may_be_slower)
        what = f"{len(open_)} of {len(deciding)} findings may be slower by more than is allowed"
        counts = f" An inconclusive outcome counts as a {judgement.inconclusive}." if judgement.inconclusive else ""
        # A note gives the reason for an unbounded figure, which a larger budget does not remove.
        hopeless = judgement.command == "ab" and all(finding.note for finding in open_)
        more = "give a larger --budget, or " if judgement.command == "ab" else "measure with more --launches, or "
        return f"{outcome}: {what}; {'' if hopeless else more}measure on an idle machine.{counts}"
    if judgement.outcome == "no regression":
        none = "the one finding is not" if len(deciding) == 1 else f"none of {len(deciding)} findings is"
        return f"{outcome}: {none} slower by more than is allowed."
    return f"{outcome}: no finding decides the outcome."
