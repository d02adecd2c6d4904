"""The memory of one training step: how much is in use at each moment, and in which phase."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from loopmark.bench.records.machine import Environment, Machine
from loopmark.bench.records.run import Plan, Status

MEMORY_FILE = "memory.json"

Kind = Literal["tensors alive", "device memory allocated"]
"""The former are the exact bytes of every tensor that the step makes or holds, without what operators use while they
run; the latter is what torch's allocator has handed out."""


@dataclass(frozen=True)
class Stretch:
    """A step from one of its yields to the next; a phase that comes several times has several."""

    phase: str
    moments: tuple[int, ...]  # bytes in use after each operator, or each time the allocator gave or took
    peak_bytes: int
    end_bytes: int
    peak_reserved_bytes: int | None = None  # taken by the allocator, where there is one to ask
    peak_inactive_split_bytes: int | None = None  # free, but stuck in a block that is partly in use


@dataclass(frozen=True)
class PhaseMemory:
    """A phase of the step, all its stretches together."""

    phase: str
    peak_bytes: int
    end_bytes: int  # at the end of the last of them
    peak_reserved_bytes: int | None

    @classmethod
    def of(cls, phase: str, stretches: Sequence[Stretch]) -> "PhaseMemory":
        reserved = [s.peak_reserved_bytes for s in stretches if s.peak_reserved_bytes is not None]
        peak = max(stretch.peak_bytes for stretch in stretches)
        return cls(phase, peak, stretches[-1].end_bytes, max(reserved, default=None))


@dataclass(frozen=True)
class Footprint:
    """One step, after a few that are not looked at."""

    kind: Kind
    batch_size: int
    before_bytes: int  # weights, optimizer state, and the gradients of the step before
    stretches: tuple[Stretch, ...]
    peak_operator: str | None  # after which the most was in use; None where operators are not seen
    ran_eagerly: bool  # whether a loop that compiles was run without compiling, since compiled code shows nothing

    @property
    def peak(self) -> Stretch:
        return max(self.stretches, key=lambda stretch: stretch.peak_bytes)

    @property
    def phases(self) -> tuple[PhaseMemory, ...]:
        stretches: dict[str, list[Stretch]] = {}
        for stretch in self.stretches:
            stretches.setdefault(stretch.phase, []).append(stretch)
        return tuple(PhaseMemory.of(name, found) for name, found in stretches.items())

    @property
    def fragmentation_bytes(self) -> int | None:
        """What the allocator had taken beyond what was in use, around the peak."""
        reserved = self.peak.peak_reserved_bytes
        return None if reserved is None else reserved - self.peak.peak_bytes


@dataclass(frozen=True)
class FootprintCase:
    workload: str
    loop: str
    status: Status
    reason: str | None
    footprint: Footprint | None


@dataclass(frozen=True)
class Footprints:
    """One `loopmark memory`. It is no run, and nothing in it was timed."""

    name: str
    started: str  # UTC, ISO 8601
    plan: Plan
    machine: Machine
    environment: Environment
    cases: tuple[FootprintCase, ...]
    footprint_version: int = 1
