"""How loops trained: what was asked, what became of every case and seed, and what was compared with eager."""

import math
from dataclasses import dataclass
from typing import Literal

from loopmark.bench.records.machine import Environment, Machine
from loopmark.bench.records.run import CacheState, Plan, Status

TRAINING_VERSION = 1

Until = Literal["target", "convergence"]
"""How long a loop trains: to its workload's target, or on until its quality no longer rises."""
Ending = Literal["reached the target", "converged", "diverged", "spent its budget", "was interrupted"]
Divergence = Literal["not a number", "infinite", "exploded"]


@dataclass(frozen=True)
class Target:
    """What a workload's training is for."""

    metric: str
    value: float
    higher_is_better: bool

    def is_met(self, quality: float) -> bool:
        """Whether ``quality`` is good enough; what is not finite never is."""
        if not math.isfinite(quality):
            return False
        return quality >= self.value if self.higher_is_better else quality <= self.value

    def gain(self, before: float, after: float) -> float:
        """How much better ``after`` is than ``before``, in the metric's own unit."""
        return after - before if self.higher_is_better else before - after


@dataclass(frozen=True)
class Trial:
    """One case trained from one seed, in a process of its own."""

    workload: str
    loop: str
    seed: int
    status: Status
    reason: str | None
    setup_seconds: float | None = None
    first_steps_seconds: tuple[float, ...] = ()
    """Of the very first steps, each timed to its end: they compile and capture."""
    compile_seconds: float | None = None
    compile_cache: CacheState | None = None
    steps: int = 0
    steps_per_epoch: int | None = None
    """None where the batches do not say how many there are."""
    ending: Ending | None = None
    converged_at_step: int | None = None
    """The step of the best quality, from which on it rose no more."""
    diverged_at_step: int | None = None
    divergence: Divergence | None = None
    skipped_steps: int | None = None
    """That a gradient scaler skipped; None where there is none."""
    final_scale: float | None = None

    @property
    def key(self) -> tuple[str, str]:
        """Workload and loop."""
        return self.workload, self.loop

    @property
    def ended_well(self) -> bool:
        """Whether it came to an end of its own."""
        return self.status == "ok" and self.ending not in (None, "was interrupted")


@dataclass(frozen=True)
class Proof:
    """A case whose steps were each compared with the canonical step from the same state."""

    workload: str
    loop: str
    repeat: bool
    """True for the baseline's second appearance, in another process."""
    status: Status
    reason: str | None
    steps: int = 0
    """That were compared."""
    same_steps: int = 0
    """Of those, the first so many that gave eager's numbers to the last bit."""
    skipped_steps: int = 0
    """That a gradient scaler skipped, and that were not compared."""
    bits: int | None = None
    """Significant bits that the loop's arithmetic keeps: 24 in float32, 11 in float16, 8 in bfloat16."""
    draws_at_random: bool = False
    """Whether the model draws random numbers, of which a loop may draw others."""
    lost_at_step: int | None = None
    """The first step whose loss was NaN or infinite."""
    sha256: str | None = None
    """Of parameters and buffers after the last step."""
    compile_seconds: float = 0.0
    compile_cache: CacheState | None = None
    """Of this process, which is the case's first where nothing was timed before."""

    @property
    def key(self) -> tuple[str, str]:
        """Workload and loop."""
        return self.workload, self.loop


@dataclass(frozen=True)
class Training:
    """One invocation's training, whole but for its samples."""

    name: str
    started: str
    """UTC, ISO 8601."""
    seconds: float
    interrupted: bool
    plan: Plan
    seeds: tuple[int, ...]
    until: Until
    budget_seconds: float
    """Of training, for each seed of each case; set-up, the first steps and measuring quality are no part of it."""
    machine: Machine
    environment: Environment
    targets: dict[str, Target]
    """By workload, of those that state one."""
    proofs: tuple[Proof, ...]
    trials: tuple[Trial, ...]
    warnings: tuple[str, ...] = ()
    training_version: int = TRAINING_VERSION
