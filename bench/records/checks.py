"""The results of `loopmark doctor` for a machine, and of `loopmark verify` for a loop."""

from dataclasses import dataclass
from functools import partialmethod
from typing import Literal

State = Literal["good", "could be better", "bad", "not known"]
Area = Literal["processor", "memory", "software", "GPU"]


@dataclass(frozen=True)
class CheckResult:
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

    def _result(self, state: State, reading: str, remedy: str = "", *commands: str) -> CheckResult:
        return CheckResult(**vars(self), state=state, reading=reading, remedy=remedy, commands=commands)

    good = partialmethod(_result, "good")
    could_be_better = partialmethod(_result, "could be better")  # noisier, slower or less informative than necessary
    bad = partialmethod(_result, "bad")  # measurements are distorted, or fail
    not_known = partialmethod(_result, "not known")


@dataclass(frozen=True)
class Diagnosis:
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

    def _outcome(self, status: Status, explanation: str = "") -> Outcome:
        return Outcome(self.name, self.statement, status, explanation)

    holds = partialmethod(_outcome, "holds")
    broken = partialmethod(_outcome, "broken")
    not_applicable = partialmethod(_outcome, "not applicable")  # cannot be checked for this loop, or has no meaning


@dataclass(frozen=True)
class Verification:
    loop: str
    workload: str
    device: str
    outcomes: tuple[Outcome, ...] = ()
    skipped: str | None = None  # why it cannot be tried on this machine or workload

    @property
    def broken(self) -> tuple[Outcome, ...]:
        return tuple(outcome for outcome in self.outcomes if outcome.status == "broken")
