"""How loops trained: what was asked, what became of every case and seed, and what was compared with eager."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd

from loopmark.bench.records.files import damaged, read_record
from loopmark.bench.records.run import CacheState, CommandRecord, Status
from loopmark.bench.records.samples import Columns, read_columns, typed, write_with_tables

TRAINING_FILE = "training.json"

Until = Literal["target", "convergence"]  # to the target, or on until quality no longer rises
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
    first_steps_seconds: tuple[float, ...] = ()  # each timed to its end: they compile and capture
    compile_seconds: float | None = None
    compile_cache: CacheState | None = None
    steps: int = 0
    steps_per_epoch: int | None = None  # None where the batches do not say how many there are
    ending: Ending | None = None
    converged_at_step: int | None = None  # the step of the best quality
    diverged_at_step: int | None = None
    divergence: Divergence | None = None
    skipped_steps: int | None = None  # that a gradient scaler skipped; None where there is none
    final_scale: float | None = None

    @property
    def key(self) -> tuple[str, str]:
        return self.workload, self.loop

    @property
    def ended_well(self) -> bool:
        return self.status == "ok" and self.ending not in (None, "was interrupted")


@dataclass(frozen=True)
class Proof:
    """A case whose steps were each compared with the canonical step from the same state."""

    workload: str
    loop: str
    repeat: bool  # True for the baseline's second appearance, in another process
    status: Status
    reason: str | None
    steps: int = 0  # that were compared
    same_steps: int = 0  # of those, the first so many that gave eager's numbers to the last bit
    skipped_steps: int = 0  # that a gradient scaler skipped, and that were not compared
    bits: int | None = None  # significant bits of the loop's arithmetic: 24 in float32, 11 in float16, 8 in bfloat16
    draws_at_random: bool = False  # the model draws random numbers, of which a loop may draw others
    lost_at_step: int | None = None  # the first step whose loss was NaN or infinite
    sha256: str | None = None  # of parameters and buffers after the last step
    compile_seconds: float = 0.0
    compile_cache: CacheState | None = None

    @property
    def key(self) -> tuple[str, str]:
        return self.workload, self.loop


@dataclass(frozen=True)
class Training(CommandRecord):
    """How the loops of one invocation trained, whole but for its samples."""

    seeds: tuple[int, ...]
    until: Until
    budget_seconds: float  # of training a seed of a case; without set-up, the first steps and measuring quality
    targets: dict[str, Target]  # by workload, of those that state one
    proofs: tuple[Proof, ...]
    trials: tuple[Trial, ...]
    warnings: tuple[str, ...] = ()
    training_version: int = 1

    @property
    def statuses(self) -> set[Status]:
        """How the proofs and the trials ended."""
        return {one.status for several in (self.proofs, self.trials) for one in several}


@dataclass(frozen=True)
class Deviation:
    """How far one layer was from the exact result in one step; relative, by norms.

    A step's deviations come in this order: the loss, the gradients from the last layer to the first, buffers, updates.
    """

    step: int
    kind: str  # `loss`, `gradient`, `buffer`, or `update`: what the optimizer added to a parameter, or keeps for it
    layer: str  # the parameter's or buffer's name, `momentum_buffer of` it for what is kept; empty for the loss
    error: float  # the loop's
    eager_error: float  # eager's, from the same state
    rounding_error: float
    """The most of those whose every operation rounds at random to the loop's precision, and of an update's those whose
    settings are rounded; NaN where none was drawn at this step."""
    coarse_error: float  # the most of those whose every operation rounds at random more coarsely; NaN likewise


_ERRORS = ("error", "eager_error", "rounding_error", "coarse_error")
COLUMNS: dict[str, Columns] = {
    # One row each time that quality was measured; the first is of the untrained model.
    # Seconds are of training up to here, compilation included and measuring quality not. Joules are NaN where nothing
    # counts energy.
    "evaluations": {"trial": "int32", "step": "int64", **dict.fromkeys(("seconds", "joules", "quality"), "float64")},
    # One row a training step. A loss that is not finite is kept as it is.
    "training_losses": {"trial": "int32", "step": "int64", "loss": "float64"},
    # One row a layer of a step that was compared; see Deviation.
    "deviations": {
        "proof": "int32",
        "step": "int64",
        "kind": "str",
        "layer": "str",
        **dict.fromkeys(_ERRORS, "float64"),
    },
}


@dataclass(frozen=True)
class TrainingSamples:
    """The three tables; see ``COLUMNS`` for what each holds."""

    evaluations: pd.DataFrame
    training_losses: pd.DataFrame
    deviations: pd.DataFrame


def write_training(folder: Path, training: Training, samples: TrainingSamples) -> None:
    tables = {name: typed(columns, getattr(samples, name)) for name, columns in COLUMNS.items()}
    write_with_tables(folder / TRAINING_FILE, training, tables)


def read_training(folder: Path) -> tuple[Training, TrainingSamples] | None:
    """The training that ``folder`` holds; None where it holds none. Raises BadInput where it is no sound one."""
    path = folder / TRAINING_FILE
    training = read_record(path, Training)
    if training is None:
        return None
    samples = TrainingSamples(**{name: read_columns(folder, name, columns) for name, columns in COLUMNS.items()})
    if samples.evaluations["seconds"].isna().any():
        raise damaged(folder / "evaluations.parquet", "a measurement should have its seconds")
    trials = pd.concat([samples.evaluations["trial"], samples.training_losses["trial"]])
    for places, count in ((trials, len(training.trials)), (samples.deviations["proof"], len(training.proofs))):
        if not places.between(0, count - 1).all():
            raise damaged(path, f"a table names a {places.name} that there is none of")
    return training, samples
