"""Two sides measured in turns: what was compared, launch pair by launch pair."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from loopmark.bench.records.files import as_json, replace_file
from loopmark.bench.records.machine import Environment, Machine
from loopmark.bench.records.tables import as_parquet

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


COMPARISON_FILE = "comparison.json"


def write_comparison(folder: Path, comparison: Comparison, blocks: pd.DataFrame, phases: pd.DataFrame) -> None:
    """Keep a comparison in ``folder``; ``comparison.json`` goes last, so that a folder that has it is whole."""
    for name, table in (("blocks", blocks), ("phases", phases)):
        replace_file(folder / f"{name}.parquet", as_parquet(table))
    replace_file(folder / COMPARISON_FILE, as_json(comparison))


# The samples: two tidy tables. All times are seconds; a device column is NaN on the host's clock. ``pair`` is an index
# into ``Comparison.pairs``; a quad is four turns, base, head, head, base or the other way round.
_PLACE = {"pair": "int32", "quad": "int32", "turn": "int32", "head": "bool"}
BLOCKS = {
    # One row a block: consecutive steps, `lapped` phase by phase or timed as a whole.
    **_PLACE,
    "lapped": "bool",
    "steps": "int64",
    "host_seconds": "float64",
    "device_seconds": "float64",
    "involuntary_switches": "int64",
    "steal_seconds": "float64",
    "throttle_reasons": "str",
    "foreign_processes": "int64",
}
PHASES = {
    # One row a phase of a lapped block: the mean over its steps.
    **_PLACE,
    "phase": "str",
    "host_seconds": "float64",
    "device_seconds": "float64",
}
