"""A judged training: for each case, its equivalence to the baseline, and its learning over its seeds."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from loopmark.bench.judge.equivalence import Equivalence, equivalence
from loopmark.bench.judge.statistics import CONFIDENCE, Estimate, falls, finite, student
from loopmark.bench.records.run import Compilation, labelled
from loopmark.bench.records.training import Proof, Target, Training, TrainingSamples, Trial

LEAST = 1e-9  # the least value before a logarithm, for a training too short for the clock
SAME = 1.01  # a smaller gain counts as the same: the baseline is trained once, so its own variation is unknown
NEAR = 4  # a target within this many times the steps that are timed one by one is reached by unusual steps
SURE = 0.01  # the allowed chance that a loss without a trend counts as falling


@dataclass(frozen=True)
class Evaluation:
    """One measurement of a trial's quality: after each epoch, and in long epochs more often."""

    step: int
    epochs: float | None  # so far; None if the length of an epoch is unknown
    seconds: float  # of training so far, including the first steps
    loss: float | None  # mean since the last evaluation; None before the first step, or if a loss was not finite
    quality: float | None  # None if it was not finite


@dataclass(frozen=True)
class JudgedTrial:
    trial: Trial
    learns: bool  # it reached its target; or its loss falls, and it ended better than it began
    quality: float  # at the end; NaN if it could not be measured
    best_quality: float
    steps_to_target: int | None  # None if the target was not reached, like the next two
    seconds_to_target: float | None  # of training, without `start_seconds`
    joules_to_target: float | None
    evaluations: tuple[Evaluation, ...]
    start_seconds: float  # set-up, and the extra time of the first steps over as many later ones, such as compilation


@dataclass(frozen=True)
class Learning:
    """A case over its seeds, with Student's t intervals; figures that cannot be negative have a geometric mean."""

    target: Target
    trials: tuple[JudgedTrial, ...]  # those that ended well, in the order of their seeds
    seeds: int  # the planned number, including failed trials
    quality: Estimate | None  # at the end, over the trials that have one
    steps: Estimate | None  # to the target; None unless every seed reached it, since a mean of the fast ones is biased
    seconds: Estimate | None  # to the target, without `start_seconds`
    joules: Estimate | None
    start_seconds: float  # with an empty cache if the case compiles
    steps_ratio: Estimate | None  # steps to the target over the baseline's from the same seeds: 1.1 is a tenth more
    seconds_ratio: Estimate | None
    """The baseline's seconds to the target over this loop's from the same seeds: 2 takes half the time."""
    surely_sooner: bool  # that ratio exceeds `SAME`, by an interval corrected for all loops of a workload (Bonferroni)

    @property
    def reached(self) -> int:
        return sum(one.steps_to_target is not None for one in self.trials)

    @property
    def first_steps_decide(self) -> bool:
        """True if the target is so near that the first steps, which compile and allocate, make up its time."""
        met = [(one.steps_to_target, len(one.trial.first_steps_seconds)) for one in self.trials]
        return any(steps is not None and steps <= NEAR * first for steps, first in met)

    @property
    def learns(self) -> int:
        return sum(one.learns for one in self.trials)

    @property
    def diverged(self) -> JudgedTrial | None:
        return next((one for one in self.trials if one.trial.diverged_at_step is not None), None)

    @property
    def loss(self) -> float | None:
        """The mean training loss of the last epoch, or of the last part of a long one, over the seeds."""
        last = [one.evaluations[-1].loss for one in self.trials if one.evaluations]
        known = [value for value in last if value is not None]
        return sum(known) / len(known) if known and len(known) == len(last) else None

    @property
    def skipped_steps(self) -> int | None:
        """Steps that the gradient scaler skipped, over all seeds; None without a scaler."""
        skipped = [one.trial.skipped_steps for one in self.trials if one.trial.skipped_steps is not None]
        return sum(skipped) if skipped else None


def judge_trial(trial: Trial, target: Target, evaluations: pd.DataFrame, losses: pd.DataFrame) -> JudgedTrial:
    """Judge one trial from its own rows, in order; the first evaluation is of the untrained model."""
    quality = evaluations["quality"].to_numpy()
    met = next((i for i, value in enumerate(quality) if i and target.is_met(value)), None)
    known = quality[np.isfinite(quality)]
    best = (known.max() if target.higher_is_better else known.min()) if known.size else math.nan
    excess = _excess(trial, evaluations)
    steps, seconds, joules = None, None, None
    if met is not None:
        reached = evaluations.iloc[met]
        steps, joules = int(reached["step"]), finite(float(reached["joules"]))
        seconds = max(0.0, float(reached["seconds"]) - excess)
    better = len(quality) > 1 and target.gain(float(quality[0]), float(quality[-1])) > 0
    falling = trial.diverged_at_step is None and better and falls(losses["loss"].to_numpy()) < SURE
    last, start = float(quality[-1]) if len(quality) else math.nan, (trial.setup_seconds or 0.0) + excess
    looks = tuple(_evaluations(trial, evaluations, losses))
    return JudgedTrial(trial, met is not None or falling, last, float(best), steps, seconds, joules, looks, start)


def learning(
    training: Training, proof: Proof, trials: Sequence[JudgedTrial], baseline: Learning | None, loops: int
) -> Learning | None:
    """The learning of the case of ``proof`` over its seeds; None if no trial ended well.

    If it compiles, the process of ``proof`` did so before, with an empty cache. ``baseline`` is None for the baseline
    itself, and if it was not trained. ``loops`` is the number of loops that share the chance of a wrong claim.
    """
    target, seeds = training.targets.get(proof.workload), sum(trial.key == proof.key for trial in training.trials)
    if target is None or not trials:
        return None
    sooner = _logs(baseline.trials, trials, "seconds_to_target") if baseline else None
    longer = _logs(trials, baseline.trials, "steps_to_target") if baseline else None
    shared = student(sooner, 1 - (1 - CONFIDENCE) / max(1, loops)) if sooner else None
    surely_sooner = shared is not None and shared.low > math.log(SAME)
    ends = [one.quality for one in trials if math.isfinite(one.quality)]
    quality = student(ends) if ends else None
    spent = ([getattr(one, f"{unit}_to_target") for one in trials] for unit in ("steps", "seconds", "joules"))
    steps, seconds, joules = (_typical(values, seeds) for values in spent)
    ratios = [student(logs).exp() if logs else None for logs in (longer, sooner)]
    start = trials[0].start_seconds
    if proof.compile_cache == "cold":  # compiling took longer in the process of the proof
        start += max(0.0, proof.compile_seconds - (trials[0].trial.compile_seconds or 0.0))
    found = Learning(
        target, tuple(trials), seeds, quality, steps, seconds, joules, start, ratios[0], ratios[1], surely_sooner
    )
    return replace(found, seconds_ratio=None, surely_sooner=False) if found.first_steps_decide else found


def judged_trials(training: Training, samples: TrainingSamples) -> dict[tuple[str, str], list[JudgedTrial]]:
    """Every trial that ended well, by workload and loop."""
    evaluations = dict(tuple(samples.evaluations.groupby("trial")))
    losses = dict(tuple(samples.training_losses.groupby("trial")))
    none = samples.training_losses.iloc[:0]
    found: dict[tuple[str, str], list[JudgedTrial]] = {}
    for index, trial in enumerate(training.trials):
        target, rows = training.targets.get(trial.workload), evaluations.get(index)
        if trial.ended_well and target is not None and rows is not None:
            judged = judge_trial(trial, target, rows, losses.get(index, none))
            found.setdefault(trial.key, []).append(judged)
    return found


def _evaluations(trial: Trial, evaluations: pd.DataFrame, losses: pd.DataFrame) -> Iterator[Evaluation]:
    steps = evaluations["step"].to_numpy()
    since = pd.Series(np.searchsorted(steps, losses["step"].to_numpy(), side="right"), losses.index)
    means = losses["loss"].groupby(since).agg(lambda leg: leg.mean(skipna=False))
    for number, row in enumerate(evaluations.itertuples()):
        step = int(str(row.step))
        epochs = step / trial.steps_per_epoch if trial.steps_per_epoch else None
        loss = finite(float(means[number])) if number in means.index else None
        yield Evaluation(step, epochs, float(str(row.seconds)), loss, finite(float(str(row.quality))))


def _excess(trial: Trial, evaluations: pd.DataFrame) -> float:
    ends, seconds = evaluations["step"].to_numpy(), evaluations["seconds"].to_numpy()
    first = trial.first_steps_seconds
    if len(ends) < 2 or not first:
        return 0.0
    later = ends[:-1] >= len(first)  # intervals after these steps: an epoch may be shorter than they are
    rest = int(ends[-1]) - len(first)
    if later.any():
        typical = float(np.median((np.diff(seconds) / np.diff(ends))[later]))
    elif rest:
        typical = max(0.0, float(seconds[-1]) - sum(first)) / rest
    else:
        typical = min(first)
    return max(0.0, sum(first) - len(first) * typical)


def _typical(values: Sequence[float | int | None], seeds: int) -> Estimate | None:
    """The geometric mean, since no value can be negative; None unless every seed has a value."""
    known = [math.log(max(float(value), LEAST)) for value in values if value is not None]
    if len(known) < seeds:
        return None
    return student(known).exp().map(lambda value: float(f"{value:.12g}"))  # the logarithm of 66 is not exact


def _logs(above: Sequence[JudgedTrial], below: Sequence[JudgedTrial], figure: str) -> list[float] | None:
    """The logarithms of a figure's ratio, seed by seed; None if a seed lacks one of both."""
    sides = [{one.trial.seed: getattr(one, figure) for one in trials} for trials in (above, below)]
    if not sides[0] or sides[0].keys() != sides[1].keys() or any(None in side.values() for side in sides):
        return None
    return [math.log(max(sides[0][seed], LEAST) / max(sides[1][seed], LEAST)) for seed in sides[0]]


@dataclass(frozen=True)
class TrainedRow:
    workload: str
    loop: str
    repeat: bool
    baseline: str  # the name of the loop that it is compared with
    equivalence: Equivalence
    learning: Learning | None  # None for the baseline's repetition, and if no trial ended well
    ended: Trial | None = None  # a trial that did not end well, or was interrupted
    compilation: Compilation | None = None  # of the same case when it was timed; None if it was not

    @property
    def label(self) -> str:
        return labelled(self.loop, self.compilation, repeat=self.repeat)

    @property
    def is_baseline(self) -> bool:
        return self.loop == self.baseline and not self.repeat

    @property
    def departs(self) -> bool:
        """True if it trains another model than the baseline."""
        return self.equivalence.verdict == "departs"


@dataclass(frozen=True)
class TrainedWorkload:
    workload: str
    baseline: str
    target: Target | None
    rows: tuple[TrainedRow, ...]


@dataclass(frozen=True)
class TrainingSummary:
    training: Training
    workloads: tuple[TrainedWorkload, ...]

    def row(self, workload: str, loop: str, repeat: bool) -> TrainedRow | None:
        """The row of one case; None if it is not part of the training."""
        rows = (row for one in self.workloads if one.workload == workload for row in one.rows)
        return next((row for row in rows if (row.loop, row.repeat) == (loop, repeat)), None)


def summarise_training(training: Training, samples: TrainingSamples) -> TrainingSummary:
    deviations, none = dict(tuple(samples.deviations.groupby("proof"))), samples.deviations.iloc[:0]
    judged, workloads = judged_trials(training, samples), []
    for workload in dict.fromkeys(proof.workload for proof in training.proofs):
        proofs = {i: proof for i, proof in enumerate(training.proofs) if proof.workload == workload}
        loops = len({proof.loop for proof in proofs.values()}) - 1
        name = training.plan.baseline
        base = next((one for one in proofs.values() if one.loop == name and not one.repeat), None)
        again = next((one for one in proofs.values() if one.repeat), None)
        its = learning(training, base, judged.get(base.key, ()), None, loops) if base else None
        rows = []
        for i, proof in proofs.items():
            like = equivalence(proof, deviations.get(i, none), None if proof is base else base, again)
            ended = own = None
            if not proof.repeat:
                ended = next((one for one in training.trials if one.key == proof.key and not one.ended_well), None)
                own = its if proof is base else learning(training, proof, judged.get(proof.key, ()), its, loops)
            rows.append(TrainedRow(workload, proof.loop, proof.repeat, name, like, own, ended))
        workloads.append(TrainedWorkload(workload, name, training.targets.get(workload), tuple(rows)))
    return TrainingSummary(training, tuple(workloads))
