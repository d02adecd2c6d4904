"""The findings of a comparison, and its outcome, which decides the exit status."""

from dataclasses import dataclass
from typing import Literal

from loopmark.bench.judge.comparison import Verdict
from loopmark.bench.judge.statistics import Estimate

Outcome = Literal["no regression", "regression", "inconclusive", "not comparable"]
Unit = Literal["seconds", "bytes", "ratio"]
Inconclusive = Literal["pass", "fail"]  # how an inconclusive comparison counts
EXIT_STATUS: dict[Outcome, int] = {"no regression": 0, "regression": 1, "inconclusive": 3, "not comparable": 4}


@dataclass(frozen=True)
class Finding:
    """One metric of one loop, on both sides. Higher is worse for every metric: seconds, bytes, a ratio of seconds."""

    workload: str
    loop: str
    metric: str  # `step`, `step / eager` (or another baseline), `peak memory`, or the name of a phase
    unit: Unit
    base: float | None  # None if it was not measured
    head: float | None
    change: Estimate | None  # head over base, 1.02 for 2 % more, with the interval that decides the `verdict`
    verdict: Verdict  # `slower` if the head exceeds the base by more than `threshold`, `faster` if it is below by more
    threshold: float  # the share by which the head may exceed the base, 0.02 for 2 %
    decides: bool  # True if it affects the outcome; else it is only shown
    note: str | None = None

    @property
    def may_be_slower(self) -> bool:
        """True if it is inconclusive, and slower is still possible."""
        bounded = self.change is not None and self.change.high <= 1 + self.threshold
        return self.verdict == "inconclusive" and not bounded

    @property
    def broken(self) -> bool:
        """True if the base has a figure and the head has none: it failed, or no longer trains."""
        return self.verdict == "slower" and self.change is None


@dataclass(frozen=True)
class Judgement:
    """A judged comparison: the content of the terminal output, the exit status and every file for CI."""

    command: Literal["ab", "check"]
    base: str
    head: str
    findings: tuple[Finding, ...]
    false_alarms: float  # share of comparisons of unchanged code called a regression, over all deciding findings
    facts: tuple[str, ...] = ()  # a sentence each on the method: launches, time, the smallest visible effect
    differences: tuple[str, ...] = ()  # the differences between the sides' environments, a sentence each
    warnings: tuple[str, ...] = ()
    refusal: str | None = None  # why nothing can be compared fairly; None if something can
    inconclusive: Inconclusive | None = None  # None if an inconclusive outcome has an exit status of its own

    @property
    def outcome(self) -> Outcome:
        """A regression if any deciding finding is one; inconclusive if any may still become one."""
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
