"""The memory of one training step: how much is in use at each moment, and in which phase."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from loopmark.bench.records.machine import Environment, Machine
from loopmark.bench.records.run import Plan, Status

MEMORY_FILE = "memory.json"

Kind = Literal["tensors alive", "device memory allocated"]
"""The former counts the exact bytes of every tensor that the step creates or holds, without the temporary memory of
operators; the latter is the memory allocated by torch's allocator."""


@dataclass(frozen=True)
class Stretch:
    """A step from one of its yields to the next; a phase that repeats has several."""

    phase: str
    moments: tuple[int, ...]  # bytes in use after each operator, or after each allocation and release
    peak_bytes: int
    end_bytes: int
    peak_reserved_bytes: int | None = None  # reserved by the allocator; None without one
    peak_inactive_split_bytes: int | None = None  # free, but within a block that is partly in use


@dataclass(frozen=True)
class PhaseMemory:
    """A phase of the step, over all its stretches."""

    phase: str
    peak_bytes: int
    end_bytes: int  # at the end of the last stretch
    peak_reserved_bytes: int | None

    @classmethod
    def of(cls, stretches: Sequence[Stretch]) -> "PhaseMemory":
        reserved = [s.peak_reserved_bytes for s in stretches if s.peak_reserved_bytes is not None]
        peak = max(stretch.peak_bytes for stretch in stretches)
        return cls(stretches[0].phase, peak, stretches[-1].end_bytes, max(reserved, default=None))


@dataclass(frozen=True)
class Footprint:
    """One step, after a few unobserved ones."""

    kind: Kind
    batch_size: int
    before_bytes: int  # weights, optimizer state and the gradients of the previous step
    stretches: tuple[Stretch, ...]
    peak_operator: str | None  # the operator after which the most was in use; None if operators are not visible
    ran_eagerly: bool  # True if a compiling loop was run without compiling, since compiled code hides its operators

    @property
    def peak(self) -> Stretch:
        return max(self.stretches, key=lambda stretch: stretch.peak_bytes)

    @property
    def phases(self) -> tuple[PhaseMemory, ...]:
        names = dict.fromkeys(stretch.phase for stretch in self.stretches)
        return tuple(PhaseMemory.of([one for one in self.stretches if one.phase == name]) for name in names)

    @property
    def fragmentation_bytes(self) -> int | None:
        """Bytes reserved by the allocator beyond those in use, at the peak."""
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
    """One `loopmark memory`. It is not a run, and nothing in it was timed."""

    name: str
    started: str  # UTC, ISO 8601
    plan: Plan
    machine: Machine
    environment: Environment
    cases: tuple[FootprintCase, ...]
    footprint_version: int = 1
