"""What `loopmark verify` found of a loop: for each property of the canonical step, whether the loop has it."""

from dataclasses import dataclass
from typing import Literal

Status = Literal["holds", "broken", "not applicable"]


@dataclass(frozen=True)
class Outcome:
    """One property of one loop."""

    name: str
    """Stable, such as ``zeroed-gradients``."""
    statement: str
    """What holds, as a sentence."""
    status: Status
    explanation: str = ""
    """Of a broken property: the fault by its name, where it is, what to do. Of one that does not apply: why."""


@dataclass(frozen=True)
class Property:
    """Something that the canonical step promises."""

    name: str
    statement: str

    def holds(self) -> Outcome:
        """The loop has it."""
        return Outcome(self.name, self.statement, "holds")

    def broken(self, explanation: str) -> Outcome:
        """The loop lacks it."""
        return Outcome(self.name, self.statement, "broken", explanation)

    def not_applicable(self, reason: str) -> Outcome:
        """The outcome where the property cannot be told of this loop, or makes no sense for it."""
        return Outcome(self.name, self.statement, "not applicable", reason)


@dataclass(frozen=True)
class Verification:
    """All that was found of one loop."""

    loop: str
    workload: str
    device: str
    outcomes: tuple[Outcome, ...] = ()
    skipped: str | None = None
    """Why this machine, or this workload, cannot try it; there are no outcomes then."""

    @property
    def broken(self) -> tuple[Outcome, ...]:
        """The properties that it lacks."""
        return tuple(outcome for outcome in self.outcomes if outcome.status == "broken")
