"""Two sides measured in turns: what was compared, launch pair by launch pair."""

from dataclasses import dataclass

from loopmark.bench.records.machine import Environment, Machine

COMPARISON_VERSION = 1


@dataclass(frozen=True)
class Side:
    """What one side ran."""

    given: dict[str, str]
    """As it was asked for: ``loop``, ``workload``, ``rev``, ``python``, and ``env NAME``."""
    workload: str
    loop: str
    commit: str | None
    """Of its own worktree; None where the files were measured as they lay."""
    environment: Environment
    batch_size: int | None
    parameters: int
    data_sha256: str | None
    phases: tuple[str, ...]
    memory_kind: str
    laps_count: bool
    """Whether blocks with laps say as much of the step as those without; a CUDA graph's do not."""


@dataclass(frozen=True)
class Pair:
    """A fresh process of each side, which took turns."""

    index: int
    head_first: bool
    """Whether the head's process was started first, which is drawn by lot."""
    start_seconds: float
    """To start and warm up both."""
    ended_seconds: float
    """Since the comparison began."""
    base_peak_memory_bytes: int | None
    head_peak_memory_bytes: int | None
    compiled: bool = False
    """Whether a side compiled with an empty cache, which takes time and memory that later launches do not."""
    head_lost_at_step: int | None = None
    """The first step whose loss was NaN or infinite on the head; the base has none, or the sides are not compared."""


@dataclass(frozen=True)
class Comparison:
    """One comparison, whole but for its samples."""

    name: str
    command: str
    started: str
    """UTC, ISO 8601."""
    seconds: float
    interrupted: bool
    base: Side
    head: Side
    machine: Machine
    device: str
    size: str
    seed: int
    """Of weights and batches; in which order the sides took turns is in ``pairs`` and the samples."""
    budget_seconds: float
    shared_server: bool
    """Whether both sides were forked from one process that had imported torch."""
    pairs: tuple[Pair, ...]
    warnings: tuple[str, ...] = ()
    comparison_version: int = COMPARISON_VERSION
