"""A training, judged: for each case how like eager it trains, and what it learnt."""

from dataclasses import dataclass

from loopmark.bench.judge.comparison import BASELINE
from loopmark.bench.judge.learning import Learning, learning, lessons_of
from loopmark.bench.judge.likeness import Likeness, likeness
from loopmark.bench.records.training import Proof, Target, Training, TrainingSamples, Trial


@dataclass(frozen=True)
class TrainedRow:
    """One case."""

    workload: str
    loop: str
    repeat: bool
    likeness: Likeness
    learning: Learning | None
    """None where nothing was trained: for the baseline's repetition, or where no trial ended well."""
    ended: Trial | None = None
    """A trial that did not end well, or was interrupted."""

    @property
    def label(self) -> str:
        """The loop's name, marked where it is the baseline's repetition."""
        return f"{self.loop} (again)" if self.repeat else self.loop

    @property
    def departs(self) -> bool:
        """Whether it does not train the model that eager trains."""
        return self.likeness.verdict == "departs"


@dataclass(frozen=True)
class TrainedWorkload:
    """The cases of one workload."""

    workload: str
    target: Target | None
    rows: tuple[TrainedRow, ...]


@dataclass(frozen=True)
class TrainingSummary:
    """A whole training."""

    training: Training
    workloads: tuple[TrainedWorkload, ...]

    def row(self, workload: str, loop: str, repeat: bool) -> TrainedRow | None:
        """One case's; None where it was no part of the training."""
        rows = (row for one in self.workloads if one.workload == workload for row in one.rows)
        return next((row for row in rows if (row.loop, row.repeat) == (loop, repeat)), None)


def summarise_training(training: Training, samples: TrainingSamples) -> TrainingSummary:
    """Judge every case of ``training``."""
    deviations = dict(tuple(samples.deviations.groupby("proof")))
    none = samples.deviations.iloc[:0]
    lessons = lessons_of(training, samples.evaluations, samples.training_losses)
    workloads = []
    for workload in dict.fromkeys(proof.workload for proof in training.proofs):
        target = training.targets.get(workload)
        proofs = [(i, proof) for i, proof in enumerate(training.proofs) if proof.workload == workload]
        eager = next((proof for _, proof in proofs if proof.loop == BASELINE and not proof.repeat), None)
        base = lessons.get((workload, BASELINE))
        again = next((proof for _, proof in proofs if proof.repeat), None)
        count = len({proof.loop for _, proof in proofs}) - 1
        of_eager = (
            learning(target, base, None, eager, _seeds(training, eager), count) if target and base and eager else None
        )
        rows = []
        for index, proof in proofs:
            like = likeness(proof, deviations.get(index, none), None if proof is eager else eager, again)
            own = lessons.get(proof.key)
            learnt = None
            if target and own and not proof.repeat:
                learnt = (
                    of_eager
                    if proof is eager
                    else learning(target, own, of_eager, proof, _seeds(training, proof), count)
                )
            ended = next((t for t in training.trials if t.key == proof.key and not t.ended_well), None)
            rows.append(TrainedRow(workload, proof.loop, proof.repeat, like, learnt, None if proof.repeat else ended))
        workloads.append(TrainedWorkload(workload, target, tuple(rows)))
    return TrainingSummary(training, tuple(workloads))


def _seeds(training: Training, proof: Proof) -> int:
    """How many seeds the case was to be trained from."""
    return sum(trial.key == proof.key for trial in training.trials)
