"""A run: what was asked, on what, and what became of every case."""

from dataclasses import dataclass, replace
from typing import Literal

from loopmark.bench.records.machine import Environment, Machine

Status = Literal["ok", "skipped", "failed", "timed_out"]
CacheState = Literal["cold", "warm", "none"]

POWER_CAP = "power cap"  # where a loop that keeps the board busy belongs: leaving it out would flatter the hungriest


@dataclass(frozen=True)
class Plan:
    """What was asked for, complete enough to ask for it again. Of an imported run nothing was: its numbers are 0."""

    command: str
    workloads: tuple[str, ...]
    loops: tuple[str, ...]
    device: str
    size: str
    batch_size: int | None
    budget_seconds: float  # sampling time of one case, over all launches; warm-up is not part of it
    launches: int
    seed: int
    threads: int
    block_seconds: float
    warmup_ceiling_seconds: float
    limit_seconds: float  # how long a worker may take over one request before it counts as hung
    remeasure_throttled: bool = True  # whether a turn during which the GPU's clock was held down is taken again


@dataclass(frozen=True)
class GpuState:
    """None for what the driver does not say."""

    temperature_celsius: float | None = None
    power_watts: float | None = None  # of the whole board, just then; on newer boards over the last second
    power_limit_watts: float | None = None
    sm_clock_hertz: float | None = None
    memory_clock_hertz: float | None = None
    ecc: bool | None = None  # whether memory errors are corrected
    mig: bool | None = None  # whether the device is cut into instances


@dataclass(frozen=True)
class PhaseWork:
    """One phase of one step: what its operations come to, however they are fused."""

    phase: str
    flops: dict[str, float]  # of its matrix products and convolutions, by the type that they multiply in
    least_bytes: float  # that it has to read or write at least once: what it did not make itself, and what outlives it
    attention: tuple[str, ...] = ()  # kernels of scaled_dot_product_attention: `flash`, `efficient`, `cudnn`, `math`…


@dataclass(frozen=True)
class Launch:
    """One fresh process of one case: how it got going, and what it held. None: an imported run does not tell it."""

    index: int
    setup_seconds: float | None
    first_step_seconds: float | None  # from the start of the set-up: what a person waits for
    warmup_steps: int | None
    warmup_seconds: float | None
    steady: bool | None  # False when warm-up ended at its ceiling with steps still getting faster
    steady_step_seconds: float | None
    excess_seconds: float | None  # what warm-up took beyond as many steady steps: compilation, autotuning, first touch
    compile_seconds: float | None  # by torch's own counters; 0 where nothing was compiled
    compile_cache: CacheState | None
    steps: int
    peak_memory_bytes: int | None
    skipped_steps: int | None  # steps that a gradient scaler skipped; None where there is none
    final_scale: float | None
    pid: int | None
    joules_per_step: float | None = None  # over a window of its own, without turns; None where nothing counts energy
    gpu: GpuState | None = None  # right after a second of nothing but its steps; None where nothing tells

    @property
    def start_seconds(self) -> float | None:
        """What this launch took beyond its steady steps: set-up, compilation and whatever else came first."""
        if self.setup_seconds is None or self.excess_seconds is None:
            return None
        return self.setup_seconds + self.excess_seconds


@dataclass(frozen=True)
class Case:
    """One (workload, loop) of a run."""

    workload: str
    loop: str
    repeat: bool  # True for the baseline's second appearance: what this machine reports when nothing changed
    status: Status
    reason: str | None
    batch_size: int | None
    parameters: int | None
    data_sha256: str | None
    phases: tuple[str, ...]
    memory_kind: str | None  # what `peak_memory_bytes` counts: `device memory allocated` or `resident set`
    launches: tuple[Launch, ...]
    work: tuple[PhaseWork, ...] = ()  # what one step has to do, phase by phase; empty where it was not counted

    @property
    def label(self) -> str:
        return f"{self.loop} (again)" if self.repeat else self.loop

    @property
    def attention(self) -> tuple[str, ...]:
        """The kernels that torch chose for its attention, where that was seen."""
        return tuple(sorted({kernel for phase in self.work for kernel in phase.attention}))

    def ended(self, status: Status, reason: str) -> "Case":
        """This case, ended before its time; ``reason`` is shown in every report."""
        return replace(self, status=status, reason=reason)


@dataclass(frozen=True)
class CommandRecord:
    """One command that measured something: what was asked, when, and on what."""

    name: str
    started: str  # UTC, ISO 8601
    seconds: float
    interrupted: bool
    plan: Plan
    machine: Machine
    environment: Environment


@dataclass(frozen=True)
class Run(CommandRecord):
    """One `loopmark run`, whole but for its samples."""

    cases: tuple[Case, ...]
    warnings: tuple[str, ...] = ()
    imported_from: str | None = None  # the tool that measured it, if not Loopmark: None and empty then mean not known
    format_version: int = 1


def disturbs(reasons: str) -> bool:
    """Whether any of ``reasons`` is a disturbance (heat, a brake, a fault of the hardware) and not the loop's own."""
    return any(reason and reason != POWER_CAP for reason in reasons.split(", "))
