"""What `loopmark doctor` found of a machine, and `loopmark verify` of a loop."""

from dataclasses import dataclass
from typing import Literal

State = Literal["good", "could be better", "bad", "not known"]
Area = Literal["processor", "memory", "software", "GPU"]


@dataclass(frozen=True)
class CheckResult:
    """One thing that was looked at."""

    area: Area
    name: str  # stable, such as `frequency governor`
    state: State
    reading: str  # what was read, with its unit; of what is not known, the reason
    why: str  # why it matters for timing
    remedy: str = ""  # what a person could do, and what it costs
    commands: tuple[str, ...] = ()  # how, to the letter; Loopmark runs none of them


@dataclass(frozen=True)
class Check:
    """Something of a machine that is worth a look."""

    area: Area
    name: str
    why: str

    def good(self, reading: str) -> CheckResult:
        return CheckResult(self.area, self.name, "good", reading, self.why)

    def could_be_better(self, reading: str, remedy: str, *commands: str) -> CheckResult:
        """Measurements are noisier, slower or poorer in what they tell than they need be."""
        return CheckResult(self.area, self.name, "could be better", reading, self.why, remedy, commands)

    def bad(self, reading: str, remedy: str, *commands: str) -> CheckResult:
        """Measurements are distorted, or fail."""
        return CheckResult(self.area, self.name, "bad", reading, self.why, remedy, commands)

    def not_known(self, reason: str) -> CheckResult:
        return CheckResult(self.area, self.name, "not known", reason, self.why)


@dataclass(frozen=True)
class Diagnosis:
    """All that was found of one machine."""

    device: str
    findings: tuple[CheckResult, ...]

    def of_state(self, *states: State) -> tuple[CheckResult, ...]:
        return tuple(finding for finding in self.findings if finding.state in states)


Status = Literal["holds", "broken", "not applicable"]


@dataclass(frozen=True)
class Outcome:
    name: str  # stable, such as `zeroed-gradients`
    statement: str  # what holds, as a sentence
    status: Status
    explanation: str = ""  # of a broken property: the fault, its place, what to do; of one that does not apply: why


@dataclass(frozen=True)
class Property:
    """Something that the canonical step promises."""

    name: str
    statement: str

    def holds(self) -> Outcome:
        return Outcome(self.name, self.statement, "holds")

    def broken(self, explanation: str) -> Outcome:
        return Outcome(self.name, self.statement, "broken", explanation)

    def not_applicable(self, reason: str) -> Outcome:
        """It cannot be told of this loop, or makes no sense for it."""
        return Outcome(self.name, self.statement, "not applicable", reason)


@dataclass(frozen=True)
class Verification:
    """All that was found of one loop."""

    loop: str
    workload: str
    device: str
    outcomes: tuple[Outcome, ...] = ()
    skipped: str | None = None  # why this machine, or this workload, cannot try it

    @property
    def broken(self) -> tuple[Outcome, ...]:
        return tuple(outcome for outcome in self.outcomes if outcome.status == "broken")
