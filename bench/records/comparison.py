"""Two sides measured in turns: what was compared, launch pair by launch pair."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import pandas as pd

from loopmark.bench.errors import BadInput
from loopmark.bench.records.files import read_record
from loopmark.bench.records.machine import Environment, Machine
from loopmark.bench.records.samples import ON_CORES, ON_GPU, TIMES, write_with_tables

COMPARISON_FILE = "comparison.json"


@dataclass(frozen=True)
class Side:
    """What one side ran."""

    given: dict[str, str]  # `loop`, `workload`, `rev`, `python`, and `env NAME`, as asked for
    workload: str
    loop: str
    commit: str | None  # of its own worktree; None where the files were measured as they lay
    environment: Environment
    batch_size: int | None
    parameters: int
    data_sha256: str | None
    phases: tuple[str, ...]
    memory_kind: str
    laps_count: bool  # whether lapped blocks say as much of the step; a CUDA graph's do not


@dataclass(frozen=True)
class Pair:
    """A fresh process of each side, which took turns."""

    index: int
    head_first: bool  # whether the head's process was started first, which is drawn by lot
    start_seconds: float  # to start and warm up both
    ended_seconds: float  # since the comparison began
    base_peak_memory_bytes: int | None
    head_peak_memory_bytes: int | None
    compiled: bool = False  # with an empty cache, which later launches have not
    head_lost_at_step: int | None = None  # the first step whose loss was not finite on the head


@dataclass(frozen=True)
class Comparison:
    """One comparison, whole but for its samples."""

    name: str
    command: str
    started: str  # UTC, ISO 8601
    seconds: float
    interrupted: bool
    base: Side
    head: Side
    machine: Machine
    device: str
    size: str
    seed: int  # of weights and batches
    budget_seconds: float
    shared_server: bool  # whether both sides were forked from one process that had imported torch
    pairs: tuple[Pair, ...]
    warnings: tuple[str, ...] = ()
    comparison_version: int = 1


def write_comparison(folder: Path, comparison: Comparison, blocks: pd.DataFrame, phases: pd.DataFrame) -> None:
    write_with_tables(folder / COMPARISON_FILE, comparison, {"blocks": blocks, "phases": phases})


# The samples: two tidy tables. All times are seconds; a device column is NaN on the host's clock. ``pair`` is an index
# into ``Comparison.pairs``; a quad is four turns, base, head, head, base or the other way round.
_PLACE = {"pair": "int32", "quad": "int32", "turn": "int32", "head": "bool"}
# One row a block: consecutive steps, `lapped` phase by phase or timed as a whole.
BLOCKS = {**_PLACE, "lapped": "bool", "steps": "int64", **TIMES, **ON_CORES, **ON_GPU}
# One row a phase of a lapped block: the mean over its steps.
PHASES = {**_PLACE, "phase": "str", **TIMES}


CALIBRATION_VERSION = 2
REMOVE_IT = "remove it"


@dataclass(frozen=True)
class CalibrationTrial:
    """One comparison of a loop with itself, or with itself slowed down on purpose."""

    effect: float  # the share by which the head was held up: 0 for A/A, 0.01 for 1 %
    verdict: Literal["slower", "faster", "same", "inconclusive"]  # on the step
    regression: bool  # whether the comparison as a whole was one: its step or its memory
    seconds: float  # to the verdict, or to the last launch pair's end
    step_seconds: float  # a typical step of the base
    logs: tuple[float, ...]  # the log of head over base of each launch pair, in order
    uncertainties: tuple[float, ...]  # the standard error of each log within its launch pair
    ended_seconds: tuple[float, ...]
    """Each pair's end since the comparison began; with unchanged code past an early verdict, as long as both means."""
    stored_mean_seconds: float | None  # of the base, measured alone before, as pytest-benchmark stores it
    later_mean_seconds: float | None  # measured alone after the comparison


@dataclass(frozen=True)
class Calibration:
    """Trials of one loop on one machine."""

    started: str  # UTC, ISO 8601
    machine: Machine
    environment: Environment
    device: str
    workload: str
    loop: str
    size: str
    false_alarms: float  # the rate asked for
    margin: float
    method: int  # of judging; trials of another say nothing of this one
    budget_seconds: float
    solo_seconds: float  # how long each of the two solitary means was measured
    trials: tuple[CalibrationTrial, ...]
    calibration_version: int = CALIBRATION_VERSION

    def with_trial(self, trial: CalibrationTrial) -> "Calibration":
        return replace(self, trials=(*self.trials, trial))


def calibration_path(folder: Path, workload: str, loop: str) -> Path:
    """Where a machine's folder keeps the calibration with that workload and loop."""
    name = "".join(c if c.isalnum() or c in "+_-" else "_" for c in f"{workload}-{loop}")[:120]
    return folder / f"calibration-{name}.json"


def read_calibration(path: Path) -> Calibration | None:
    """The calibration in ``path``; None where there is none. Raises BadInput for one that is damaged or of old."""
    found = read_record(path, Calibration, again=REMOVE_IT)
    if found is not None and found.calibration_version != CALIBRATION_VERSION:
        version = found.calibration_version
        raise BadInput(f"{path} is of format {version}; this Loopmark reads {CALIBRATION_VERSION}: {REMOVE_IT}")
    return found


def calibrations_of(machine: str, *roots: Path) -> Iterator[Calibration]:
    """Every readable calibration of a machine under ``roots``; a damaged one is passed over."""
    for root in dict.fromkeys(root.resolve() for root in roots):
        for path in sorted((root / machine).glob("calibration-*.json")):
            with contextlib.suppress(BadInput):
                if (found := read_calibration(path)) is not None:
                    yield found
