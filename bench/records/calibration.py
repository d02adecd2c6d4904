"""What `loopmark calibrate` has seen so far: comparisons whose truth is known, one machine and one loop a file."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from loopmark.bench.errors import BadInput
from loopmark.bench.records.codec import Mismatch, decode, encode
from loopmark.bench.records.files import replace_file
from loopmark.bench.records.machine import Environment, Machine

CALIBRATION_VERSION = 2


@dataclass(frozen=True)
class Trial:
    """One comparison of a loop with itself, or with itself slowed down on purpose."""

    effect: float
    """The share by which the head was held up: 0 for A/A, 0.01 for 1 %."""
    verdict: Literal["slower", "faster", "same", "inconclusive"]
    """On the step."""
    regression: bool
    """Whether the comparison as a whole was one: its step or its memory."""
    seconds: float
    """To the verdict, or to the last launch pair's end."""
    step_seconds: float
    """A typical step of the base."""
    logs: tuple[float, ...]
    """The log of head over base of each launch pair, in order."""
    uncertainties: tuple[float, ...]
    """The standard error of each log within its launch pair."""
    ended_seconds: tuple[float, ...]
    """When each pair ended, since the comparison began. With unchanged code they go on after an early verdict, for as
    long as both means together are measured."""
    stored_mean_seconds: float | None
    """The mean step of the base, measured by itself before the comparison, as pytest-benchmark stores it."""
    later_mean_seconds: float | None
    """The mean step of the same loop, measured by itself after the comparison."""


@dataclass(frozen=True)
class Calibration:
    """Trials of one loop on one machine."""

    started: str
    """UTC, ISO 8601."""
    machine: Machine
    environment: Environment
    device: str
    workload: str
    loop: str
    size: str
    false_alarms: float
    """The rate asked for."""
    margin: float
    method: int
    """Of judging; trials of another say nothing of this one."""
    budget_seconds: float
    solo_seconds: float
    """How long each of the two solitary means was measured."""
    trials: tuple[Trial, ...]
    calibration_version: int = CALIBRATION_VERSION

    def with_trial(self, trial: Trial) -> "Calibration":
        """This calibration and one trial more."""
        return replace(self, trials=(*self.trials, trial))


def calibration_path(folder: Path, workload: str, loop: str) -> Path:
    """Where a machine's folder keeps the calibration with that workload and loop."""
    name = "".join(c if c.isalnum() or c in "+_-" else "_" for c in f"{workload}-{loop}")[:120]
    return folder / f"calibration-{name}.json"


def write_calibration(path: Path, calibration: Calibration) -> None:
    """Keep it, in one move."""
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, (json.dumps(encode(calibration), indent=1, allow_nan=False) + "\n").encode())


def read_calibration(path: Path) -> Calibration | None:
    """The calibration in ``path``; None where there is none. Raises BadInput for one that is damaged or too new."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise BadInput(f"cannot read {path}: {' '.join(str(error).split())[:160]}; remove it") from None
    version = content.get("calibration_version") if isinstance(content, dict) else None
    if version != CALIBRATION_VERSION:
        raise BadInput(f"{path} is of format {version}; this Loopmark reads {CALIBRATION_VERSION}: remove it")
    try:
        return decode(Calibration, content, "calibration")
    except Mismatch as error:
        raise BadInput(f"{path} is damaged: {' '.join(str(error).split())[:160]}; remove it") from None


def calibrations_of(machine: str, *roots: Path) -> Iterator[Calibration]:
    """Every readable calibration of a machine under ``roots``; a damaged one is passed over."""
    for root in dict.fromkeys(root.resolve() for root in roots):
        for path in sorted((root / machine).glob("calibration-*.json")):
            try:
                found = read_calibration(path)
            except BadInput:
                continue
            if found is not None:
                yield found
