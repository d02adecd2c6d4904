"""The results of `loopmark doctor` for a machine, and of `loopmark verify` for a loop."""

from dataclasses import dataclass
from typing import Literal

State = Literal["good", "could be better", "bad", "not known"]
Area = Literal["processor", "memory", "software", "GPU"]


@dataclass(frozen=True)
class CheckResult:
    """The result of one check."""

    area: Area
    name: str  # stable, such as `frequency governor`
    state: State
    reading: str  # the value with its unit; if unknown, the reason
    why: str  # its effect on timing
    remedy: str = ""  # a possible change, and its cost
    commands: tuple[str, ...] = ()  # the commands for it; Loopmark runs none of them


@dataclass(frozen=True)
class Check:
    """A property of a machine that affects measurements."""

    area: Area
    name: str
    why: str

    def good(self, reading: str) -> CheckResult:
        return CheckResult(self.area, self.name, "good", reading, self.why)

    def could_be_better(self, reading: str, remedy: str, *commands: str) -> CheckResult:
        """Measurements are noisier, slower or less informative than necessary."""
        return CheckResult(self.area, self.name, "could be better", reading, self.why, remedy, commands)

    def bad(self, reading: str, remedy: str, *commands: str) -> CheckResult:
        """Measurements are distorted, or fail."""
        return CheckResult(self.area, self.name, "bad", reading, self.why, remedy, commands)

    def not_known(self, reason: str) -> CheckResult:
        return CheckResult(self.area, self.name, "not known", reason, self.why)


@dataclass(frozen=True)
class Diagnosis:
    """All results for one machine."""

    device: str
    findings: tuple[CheckResult, ...]

    def of_state(self, *states: State) -> tuple[CheckResult, ...]:
        return tuple(finding for finding in self.findings if finding.state in states)


Status = Literal["holds", "broken", "not applicable"]


@dataclass(frozen=True)
class Outcome:
    name: str  # stable, such as `zeroed-gradients`
    statement: str  # the property, as a sentence
    status: Status
    explanation: str = ""  # if broken: the fault, its place and the remedy; if not applicable: the reason


@dataclass(frozen=True)
class Property:
    """A property of the canonical step."""

    name: str
    statement: str

    def holds(self) -> Outcome:
        return Outcome(self.name, self.statement, "holds")

    def broken(self, explanation: str) -> Outcome:
        return Outcome(self.name, self.statement, "broken", explanation)

    def not_applicable(self, reason: str) -> Outcome:
        """It cannot be checked for this loop, or has no meaning for it."""
        return Outcome(self.name, self.statement, "not applicable", reason)


@dataclass(frozen=True)
class Verification:
    """All results for one loop."""

    loop: str
    workload: str
    device: str
    outcomes: tuple[Outcome, ...] = ()
    skipped: str | None = None  # why it cannot be tried on this machine or workload

    @property
    def broken(self) -> tuple[Outcome, ...]:
        return tuple(outcome for outcome in self.outcomes if outcome.status == "broken")
