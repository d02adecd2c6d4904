"""The findings of a comparison, and the one outcome that its exit status tells."""

from dataclasses import dataclass
from typing import Literal

from loopmark.bench.judge.comparison import Verdict
from loopmark.bench.judge.statistics import Estimate

Outcome = Literal["no regression", "regression", "inconclusive", "not comparable"]
Unit = Literal["seconds", "bytes", "ratio"]
Inconclusive = Literal["pass", "fail"]  # the outcome that an inconclusive comparison counts as
EXIT_STATUS: dict[Outcome, int] = {"no regression": 0, "regression": 1, "inconclusive": 3, "not comparable": 4}


@dataclass(frozen=True)
class Finding:
    """One metric of one loop, on both sides. More of every metric is worse: seconds, bytes, a ratio of seconds."""

    workload: str
    loop: str
    metric: str  # `step`, `step / eager`, `peak memory`, or the name of a phase
    unit: Unit
    base: float | None  # None where it was not measured
    head: float | None
    change: Estimate | None  # head over base, 1.02 for 2 % more, with the interval that its `verdict` rests on
    verdict: Verdict  # `slower` where the head is more than the base by more than `threshold`, `faster` where less
    threshold: float  # the share by which the head may exceed the base, 0.02 for 2 %
    decides: bool  # whether it has a say in the outcome, or is shown only
    note: str | None = None

    @property
    def may_be_slower(self) -> bool:
        """Whether it is inconclusive and may still turn out slower, and not only the same or faster."""
        bounded = self.change is not None and self.change.high <= 1 + self.threshold
        return self.verdict == "inconclusive" and not bounded

    @property
    def broken(self) -> bool:
        """Whether the head has no figure at all where the base had one: it failed, or no longer trains."""
        return self.verdict == "slower" and self.change is None


@dataclass(frozen=True)
class Judgement:
    """A comparison, judged: what the terminal, the exit status and every file for CI say, each in its own way."""

    command: Literal["ab", "check"]
    base: str
    head: str
    findings: tuple[Finding, ...]
    false_alarms: float  # share of comparisons of unchanged code called a regression, all deciding findings together
    facts: tuple[str, ...] = ()  # how it was compared, a sentence each: launches, time, the smallest visible effect
    differences: tuple[str, ...] = ()  # what differs between the sides' environments, a sentence each
    warnings: tuple[str, ...] = ()
    refusal: str | None = None  # why nothing compares fairly; None where something does
    inconclusive: Inconclusive | None = None  # None where an inconclusive outcome has an exit status of its own

    @property
    def outcome(self) -> Outcome:
        """A regression where any finding that decides is one; inconclusive where any may still be."""
        deciding = [finding for finding in self.findings if finding.decides]
        if self.refusal is not None or not deciding:
            return "not comparable"
        if self.regressions:
            return "regression"
        return "inconclusive" if any(finding.may_be_slower for finding in deciding) else "no regression"

    @property
    def regressions(self) -> tuple[Finding, ...]:
        return tuple(f for f in self.findings if f.decides and f.verdict == "slower")

    @property
    def exit_status(self) -> int:
        """0 no regression, 1 regression, 3 inconclusive unless that counts as either, 4 not comparable."""
        if self.outcome == "inconclusive" and self.inconclusive is not None:
            return EXIT_STATUS["no regression" if self.inconclusive == "pass" else "regression"]
        return EXIT_STATUS[self.outcome]
