"""What a worker answers to what it is asked."""

from dataclasses import dataclass
from typing import Literal

from loopmark.bench.measure.clock import Block
from loopmark.bench.measure.disturbance import Disturbance
from loopmark.bench.measure.warmup import WarmUp
from loopmark.bench.records.run import CacheState, GpuState

MemoryKind = Literal["device memory", "host memory"]


@dataclass(frozen=True)
class Ready:
    """A task that has been made."""

    seconds: float
    batch_size: int | None
    """Samples a step; None where batches differ in it."""
    parameters: int
    compiles: bool
    data_sha256: str | None


@dataclass(frozen=True)
class Rows:
    """What the task's batches are made of."""

    batch: int
    """Rows of a batch that was looked at."""
    data: int | None
    """Rows of the data set; None where it does not say."""
    per_step: float
    """Rows of a batch on average, where the data says how many it has and makes: an epoch's last one may be smaller."""


@dataclass(frozen=True)
class Held:
    """A device's memory as a process sees it, in bytes."""

    reserved: int
    """The most that torch's allocator has reserved for this process."""
    free: int
    """What is left, whoever has the rest."""


@dataclass(frozen=True)
class Warm:
    """A task that has been warmed up."""

    warm_up: WarmUp
    losses: tuple[float, ...]
    first_step_seconds: float
    compile_seconds: float
    compile_cache: CacheState
    phases: tuple[str, ...]
    memory_kind: str
    laps_count: bool
    """Whether a step with laps runs as one without does; a graph's runs by itself, and is read before the next."""
    device_step_seconds: float | None = None
    """Of a step without laps, where one with laps says less: warm-up steps of a graph hold the device for a while."""
    lead_in: int = 0
    """Uncounted steps that a block takes before it."""
    held: Held | None = None
    """None where that is not known, as on a CPU."""

    @property
    def step_seconds(self) -> float:
        """What a steady step takes in a block, as far as warm-up can tell."""
        return self.device_step_seconds or self.warm_up.steady_step_seconds


@dataclass(frozen=True)
class Turn:
    """One turn: a few blocks, each with its first step's number and what disturbed it."""

    blocks: tuple[tuple[int, Block, Disturbance], ...]


@dataclass(frozen=True)
class Solo:
    """Steps of one process with no other taking turns."""

    rounds: int
    mean_seconds: float


@dataclass(frozen=True)
class Finished:
    """What is known at the end of a launch."""

    steps: int
    peak_memory_bytes: int | None
    memory_kind: str
    skipped_steps: int | None
    final_scale: float | None
    gpu: GpuState | None


@dataclass(frozen=True)
class Failed:
    """A request that could not be fulfilled; ``skipped`` when that is no fault of the loop."""

    reason: str
    skipped: bool = False
    bad_step: bool = False
    """Whether the step is none: it names phases that there are none of."""
    ran_out_of: MemoryKind | None = None
