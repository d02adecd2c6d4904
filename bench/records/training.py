"""A training of loops: its plan, the result of every case and seed, and the comparisons with the baseline."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd

from loopmark.bench.records.files import damaged, read_record
from loopmark.bench.records.run import CacheState, CommandRecord, Status
from loopmark.bench.records.samples import Columns, read_columns, typed, write_with_tables

TRAINING_FILE = "training.json"

Until = Literal["target", "convergence"]  # to the target, or until quality no longer rises
Ending = Literal["reached the target", "converged", "diverged", "spent its budget", "was interrupted"]
Divergence = Literal["not a number", "infinite", "exploded"]


@dataclass(frozen=True)
class Target:
    metric: str
    value: float
    higher_is_better: bool

    def is_met(self, quality: float) -> bool:
        """True if ``quality`` is good enough; a value that is not finite never is."""
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
    first_steps_seconds: tuple[float, ...] = ()  # each timed to its end, since these steps compile and capture
    compile_seconds: float | None = None
    compile_cache: CacheState | None = None
    steps: int = 0
    steps_per_epoch: int | None = None  # None if the number of batches is unknown
    ending: Ending | None = None
    converged_at_step: int | None = None  # the step of the best quality
    diverged_at_step: int | None = None
    divergence: Divergence | None = None
    skipped_steps: int | None = None  # skipped by a gradient scaler; None without a scaler
    final_scale: float | None = None

    @property
    def key(self) -> tuple[str, str]:
        return self.workload, self.loop

    @property
    def ended_well(self) -> bool:
        return self.status == "ok" and self.ending not in (None, "was interrupted")


@dataclass(frozen=True)
class Proof:
    """A case, each of whose steps was compared with the canonical step from the same state."""

    workload: str
    loop: str
    repeat: bool  # True for the baseline's repetition, in another process
    status: Status
    reason: str | None
    steps: int = 0  # the number of compared steps
    same_steps: int = 0  # the number of first steps among them that equal the baseline's to the last bit
    skipped_steps: int = 0  # skipped by a gradient scaler, and not compared
    bits: int | None = None  # significant bits of the loop's arithmetic: 24 in float32, 11 in float16, 8 in bfloat16
    draws_at_random: bool = False  # True if the model draws random numbers, which may differ in a loop
    lost_at_step: int | None = None  # the first step whose loss was NaN or infinite
    sha256: str | None = None  # of parameters and buffers after the last step
    compile_seconds: float = 0.0
    compile_cache: CacheState | None = None
    causes: tuple[str, ...] = ()  # for which it departs, as clauses, such as a line of the user's; empty if unknown

    @property
    def key(self) -> tuple[str, str]:
        return self.workload, self.loop


@dataclass(frozen=True)
class Training(CommandRecord):
    """The training of one invocation's loops, without its samples."""

    seeds: tuple[int, ...]
    until: Until
    budget_seconds: float  # of training, per seed of a case; without set-up, the first steps and measuring quality
    targets: dict[str, Target]  # by workload, for those with a target
    proofs: tuple[Proof, ...]
    trials: tuple[Trial, ...]
    warnings: tuple[str, ...] = ()
    training_version: int = 1

    @property
    def statuses(self) -> set[Status]:
        return {one.status for several in (self.proofs, self.trials) for one in several}


@dataclass(frozen=True)
class Deviation:
    """The distance of one layer from the exact result in one step; relative, by norms.

    A step's deviations have this order: the loss, the gradients from the last layer to the first, buffers, updates.
    """

    step: int
    kind: str
    """`loss`, `gradient`, `buffer`; `update`: the change of a parameter, or the optimizer's state for it; or `kept`: a
    tensor that the step keeps, such as an average, which the loop never moves."""
    layer: str  # the parameter's or buffer's name, after `momentum_buffer of` for such state; empty for the loss
    error: float  # the loop's
    eager_error: float  # the baseline's, from the same state
    rounding_error: float
    """The largest error of the references whose operations round at random to the loop's precision; for an update, also
    of those with rounded settings. NaN if there was none at this step."""
    coarse_error: float  # the largest error of the references that round at random more coarsely; NaN likewise


_PLACE = {"proof": "int32", "step": "int64", "kind": "str", "layer": "str"}
COLUMNS: dict[str, Columns] = {
    # One row per measurement of quality; the first is of the untrained model.
    # Seconds are those of training so far, with compilation but without measuring quality. Joules are NaN if no counter
    # measures energy.
    "evaluations": {"trial": "int32", "step": "int64", **dict.fromkeys(("seconds", "joules", "quality"), "float64")},
    # One row per training step. A loss that is not finite is stored as it is.
    "training_losses": {"trial": "int32", "step": "int64", "loss": "float64"},
    # One row per layer of a compared step; see Deviation.
    "deviations": _PLACE | dict.fromkeys(("error", "eager_error", "rounding_error", "coarse_error"), "float64"),
}


@dataclass(frozen=True)
class TrainingSamples:
    """The three tables; see ``COLUMNS`` for their content."""

    evaluations: pd.DataFrame
    training_losses: pd.DataFrame
    deviations: pd.DataFrame


def write_training(folder: Path, training: Training, samples: TrainingSamples) -> None:
    tables = {name: typed(columns, getattr(samples, name)) for name, columns in COLUMNS.items()}
    write_with_tables(folder / TRAINING_FILE, training, tables)


def read_training(folder: Path) -> tuple[Training, TrainingSamples] | None:
    """The training in ``folder``; None if there is none. Raises BadInput if it is invalid."""
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
            raise damaged(path, f"a table names a {places.name} that does not exist")
    return training, samples
