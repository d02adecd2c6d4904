"""Two sides measured in turns, launch pair by launch pair."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from loopmark.bench.errors import BadInput
from loopmark.bench.records.files import read_record
from loopmark.bench.records.machine import Environment, Machine
from loopmark.bench.records.samples import ON_CORES, ON_GPU, TIMES

COMPARISON_FILE = "comparison.json"


@dataclass(frozen=True)
class Side:
    given: dict[str, str]  # `loop`, `workload`, `rev`, `python`, `cmd` and `env NAME`, as given
    workload: str
    loop: str
    commit: str | None  # of its own worktree; None if the files were measured in place
    environment: Environment
    batch_size: int | None
    parameters: int
    data_sha256: str | None
    phases: tuple[str, ...]
    memory_kind: str
    laps_count: bool  # True if lapped blocks measure the step as well as others; not so for a CUDA graph


@dataclass(frozen=True)
class Pair:
    """A fresh process of each side."""

    index: int
    head_first: bool  # True if the head's process was started first, chosen at random
    start_seconds: float  # to start and warm up both
    ended_seconds: float  # its end, since the comparison began
    base_peak_memory_bytes: int | None
    head_peak_memory_bytes: int | None
    compiled: bool = False  # True if it compiled with an empty cache, unlike later launches
    head_lost_at_step: int | None = None  # the first step whose loss was not finite on the head
    in_turns: bool = True  # False if one ran after the other; the rows' ``quad`` is then the number of the turn


@dataclass(frozen=True)
class Comparison:
    """One comparison, without its samples."""

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
    shared_server: bool  # True if one server forked both sides; else each side had its own, or none in older versions
    pairs: tuple[Pair, ...]
    warnings: tuple[str, ...] = ()
    comparison_version: int = 1


# The samples: two tidy tables. All times are seconds; a device column is NaN on the host's clock. ``pair`` is an index
# into ``Comparison.pairs``. A quad is four turns: base, head, head, base, or the reverse.
_PLACE = {"pair": "int32", "quad": "int32", "turn": "int32", "head": "bool"}
# One row per block: consecutive steps, `lapped` phase by phase or timed as a whole.
BLOCKS = {**_PLACE, "lapped": "bool", "steps": "int64", **TIMES, **ON_CORES, **ON_GPU}
# One row per phase of a lapped block: the mean over its steps.
PHASES = {**_PLACE, "phase": "str", **TIMES}


CALIBRATION_VERSION = 2
REMOVE_IT = "remove it"


@dataclass(frozen=True)
class CalibrationTrial:
    """One comparison of a loop with itself, or with itself slowed down on purpose."""

    effect: float  # the share by which the head was slowed down: 0 for A/A, 0.01 for 1 %
    verdict: Literal["slower", "faster", "same", "inconclusive"]  # on the step
    regression: bool  # True if the whole comparison was one, by its step or its memory
    seconds: float  # to the verdict, or to the end of the last launch pair
    step_seconds: float  # a typical step of the base
    logs: tuple[float, ...]  # the log of head over base of each launch pair, in order
    uncertainties: tuple[float, ...]  # the standard error of each log within its launch pair
    ended_seconds: tuple[float, ...]
    """Each pair's end since the comparison began. Unchanged code runs past an early verdict, as long as both means."""
    stored_mean_seconds: float | None  # of the base, measured alone before, as pytest-benchmark stores it
    later_mean_seconds: float | None  # of the head, measured alone after the comparison


@dataclass(frozen=True)
class Calibration:
    started: str  # UTC, ISO 8601
    machine: Machine
    environment: Environment
    device: str
    workload: str
    loop: str
    size: str
    false_alarms: float  # the given rate
    margin: float
    method: int  # version of judging; trials of another method do not count for it
    budget_seconds: float
    solo_seconds: float  # the time of each of the two solo means
    trials: tuple[CalibrationTrial, ...]
    calibration_version: int = CALIBRATION_VERSION


def calibration_path(folder: Path, workload: str, loop: str) -> Path:
    """The path in a machine's folder of the calibration with this workload and loop."""
    name = "".join(c if c.isalnum() or c in "+_-" else "_" for c in f"{workload}-{loop}")[:120]
    return folder / f"calibration-{name}.json"


def read_calibration(path: Path) -> Calibration | None:
    """The calibration in ``path``; None if there is none. Raises BadInput if it is damaged or of an older format."""
    found = read_record(path, Calibration, again=REMOVE_IT)
    if found is not None and found.calibration_version != CALIBRATION_VERSION:
        version = found.calibration_version
        raise BadInput(f"{path} has format {version}; this Loopmark reads format {CALIBRATION_VERSION}: {REMOVE_IT}")
    return found


def calibrations_of(machine: str, *roots: Path) -> Iterator[Calibration]:
    """Every readable calibration of a machine under ``roots``; damaged ones are skipped."""
    for root in dict.fromkeys(root.resolve() for root in roots):
        for path in sorted((root / machine).glob("calibration-*.json")):
            with contextlib.suppress(BadInput):
                if (found := read_calibration(path)) is not None:
                    yield found
