"""What a case learnt, over its seeds: whether at all, how well, and how soon."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from loopmark.bench.judge.statistics import CONFIDENCE, Estimate, falls, student
from loopmark.bench.records.training import Proof, Target, Training, Trial

LEAST = 1e-9
"""What a logarithm is taken of where a training took no time that the clock could see."""
SAME = 1.01
"""Up to so much sooner is the same, however sure: no eager was trained twice to tell how far apart two may be."""
SURE = 0.01
"""How often a loss that only wanders may be said to fall."""


@dataclass(frozen=True)
class Look:
    """One moment of a trial at which its quality was measured: after each epoch, and in long ones more often."""

    step: int
    epochs: float | None
    """So far; None where nobody knows how long one is."""
    seconds: float
    """Of training so far, with whatever the first steps took."""
    loss: float | None
    """The mean over the steps since the look before; None before the first step, or where a loss was not finite."""
    quality: float | None
    """None where it was not finite."""


@dataclass(frozen=True)
class Lesson:
    """One trial, judged."""

    trial: Trial
    learns: bool
    """It reached its target; or its loss falls, and it ended better than it began."""
    quality: float
    """In the end; NaN where it could not be measured."""
    best_quality: float
    steps_to_target: int | None = None
    """None where the target was not reached."""
    seconds_to_target: float | None = None
    """Of training, without what came before the first step and what the first steps took beyond later ones."""
    joules_to_target: float | None = None
    looks: tuple[Look, ...] = ()
    start_seconds: float = 0.0
    """To get going: the set-up, and what the first steps took beyond as many later ones, such as compilation."""


@dataclass(frozen=True)
class Learning:
    """One case over all its seeds, with Student's t intervals: of the mean, and for what cannot be below zero (steps,
    seconds, joules and ratios) of the geometric mean."""

    target: Target
    lessons: tuple[Lesson, ...]
    """Of the trials that ended well, in the order of their seeds."""
    seeds: int = 0
    """How many there were to be: one whose trial failed has not reached anything."""
    quality: Estimate | None = None
    """In the end; of those that have one."""
    steps: Estimate | None = None
    """To the target; None unless every seed reached it, as the mean of the quick ones would flatter."""
    seconds: Estimate | None = None
    """To the target, getting going left aside."""
    joules: Estimate | None = None
    start_seconds: float | None = None
    """With an empty cache, where the case compiles."""
    steps_ratio: Estimate | None = None
    """Steps to the target over eager's from the same seeds: 1.1 needs a tenth more."""
    seconds_ratio: Estimate | None = None
    """Eager's seconds to the target over this loop's from the same seeds: 2 is there in half the time."""
    surely_sooner: bool = False
    """Whether that ratio is above ``SAME`` with an interval that all loops of the workload share (Bonferroni)."""

    @property
    def reached(self) -> int:
        """How many seeds reached the target."""
        return sum(lesson.steps_to_target is not None for lesson in self.lessons)

    @property
    def learns(self) -> int:
        """How many seeds learnt anything."""
        return sum(lesson.learns for lesson in self.lessons)

    @property
    def diverged(self) -> Lesson | None:
        """The first seed that went astray."""
        return next((lesson for lesson in self.lessons if lesson.trial.diverged_at_step is not None), None)

    @property
    def loss(self) -> float | None:
        """The mean training loss of the last epoch, or of the last part of a long one, over the seeds."""
        last = [lesson.looks[-1].loss for lesson in self.lessons if lesson.looks]
        known = [value for value in last if value is not None]
        return sum(known) / len(known) if known and len(known) == len(last) else None

    @property
    def skipped_steps(self) -> int | None:
        """That the gradient scaler skipped, over all seeds; None where there is none."""
        skipped = [lesson.trial.skipped_steps for lesson in self.lessons if lesson.trial.skipped_steps is not None]
        return sum(skipped) if skipped else None


def lesson(trial: Trial, target: Target, evaluations: pd.DataFrame, losses: pd.DataFrame) -> Lesson:
    """One trial, judged.

    Args:
        evaluations: the trial's rows, in order; the first is of the untrained model.
        losses: the trial's rows, in order.
    """
    quality = evaluations["quality"].to_numpy()
    met = [i for i, value in enumerate(quality) if i and target.is_met(value)]
    known = quality[np.isfinite(quality)]
    best = (known.max() if target.higher_is_better else known.min()) if known.size else math.nan
    excess = _excess(trial, evaluations)
    made = Lesson(
        trial=trial,
        learns=bool(met) or _learns(trial, target, quality, losses["loss"].to_numpy()),
        quality=float(quality[-1]) if len(quality) else math.nan,
        best_quality=float(best),
        looks=tuple(_looks(trial, evaluations, losses)),
        start_seconds=(trial.setup_seconds or 0.0) + excess,
    )
    if not met:
        return made
    row = evaluations.iloc[met[0]]
    joules = float(row["joules"])
    return replace(
        made,
        steps_to_target=int(row["step"]),
        seconds_to_target=max(0.0, float(row["seconds"]) - excess),
        joules_to_target=joules if math.isfinite(joules) else None,
    )


def learning(
    target: Target, lessons: Sequence[Lesson], eager: "Learning | None", proof: Proof, seeds: int, loops: int
) -> Learning:
    """A case over its seeds.

    Args:
        eager: what eager learnt; None for eager itself, or where eager was not trained.
        proof: the comparison that came before, in which a case that compiles did so with an empty cache.
        seeds: how many there were to be.
        loops: how many are compared with eager, and share the chance of a wrong claim.
    """
    everywhere = len(lessons) == seeds > 0 and all(one.steps_to_target is not None for one in lessons)
    sooner = _logs(eager.lessons, lessons, "seconds_to_target") if eager else None
    longer = _logs(lessons, eager.lessons, "steps_to_target") if eager else None
    shared = student(sooner, 1 - (1 - CONFIDENCE) / max(1, loops)) if sooner else None
    ends = [one.quality for one in lessons if math.isfinite(one.quality)]
    return Learning(
        target=target,
        lessons=tuple(lessons),
        seeds=seeds,
        quality=student(ends) if ends else None,
        steps=_typical([one.steps_to_target for one in lessons]) if everywhere else None,
        seconds=_typical([one.seconds_to_target for one in lessons]) if everywhere else None,
        joules=_typical([one.joules_to_target for one in lessons]) if everywhere else None,
        start_seconds=_cold_start(lessons[0], proof) if lessons else None,
        steps_ratio=student(longer).exp() if longer else None,
        seconds_ratio=student(sooner).exp() if sooner else None,
        surely_sooner=shared is not None and shared.low > math.log(SAME),
    )


def lessons_of(
    training: Training, evaluations: pd.DataFrame, losses: pd.DataFrame
) -> dict[tuple[str, str], list[Lesson]]:
    """Every trial that ended well, by workload and loop."""
    by_trial = {name: dict(tuple(frame.groupby("trial"))) for name, frame in (("e", evaluations), ("l", losses))}
    found: dict[tuple[str, str], list[Lesson]] = {}
    for index, trial in enumerate(training.trials):
        target = training.targets.get(trial.workload)
        rows = by_trial["e"].get(index)
        if trial.ended_well and target is not None and rows is not None:
            made = lesson(trial, target, rows, by_trial["l"].get(index, losses.iloc[:0]))
            found.setdefault(trial.key, []).append(made)
    return found


def _looks(trial: Trial, evaluations: pd.DataFrame, losses: pd.DataFrame) -> Iterator[Look]:
    steps = evaluations["step"].to_numpy()
    since = pd.Series(np.searchsorted(steps, losses["step"].to_numpy(), side="right"), losses.index)
    means = losses["loss"].groupby(since).agg(lambda leg: leg.mean(skipna=False))
    for number, row in enumerate(evaluations.itertuples()):
        step = int(str(row.step))
        yield Look(
            step=step,
            epochs=step / trial.steps_per_epoch if trial.steps_per_epoch else None,
            seconds=float(str(row.seconds)),
            loss=_finite(float(means[number])) if number in means.index else None,
            quality=_finite(float(str(row.quality))),
        )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _cold_start(first: Lesson, proof: Proof) -> float:
    """What the first seed took to get going, and what compiling had taken longer in the process before it."""
    if proof.compile_cache != "cold":
        return first.start_seconds
    return first.start_seconds + max(0.0, proof.compile_seconds - (first.trial.compile_seconds or 0.0))


def _excess(trial: Trial, evaluations: pd.DataFrame) -> float:
    """What the first steps took beyond as many later ones."""
    ends, seconds = evaluations["step"].to_numpy(), evaluations["seconds"].to_numpy()
    first = trial.first_steps_seconds
    if len(ends) < 2 or not first:
        return 0.0
    later = ends[:-1] >= len(first)  # legs that begin after them: an epoch may be shorter than they are
    rest = int(ends[-1]) - len(first)
    if later.any():
        typical = float(np.median((np.diff(seconds) / np.diff(ends))[later]))
    elif rest:
        typical = max(0.0, float(seconds[-1]) - sum(first)) / rest
    else:
        typical = min(first)
    return max(0.0, sum(first) - len(first) * typical)


def _learns(trial: Trial, target: Target, quality: NDArray[Any], losses: NDArray[Any]) -> bool:
    if trial.diverged_at_step is not None or len(quality) < 2:
        return False
    better = target.gain(float(quality[0]), float(quality[-1])) > 0
    return better and falls(losses) < SURE


def _typical(values: Sequence[float | int | None]) -> Estimate | None:
    """The geometric mean, since none of them can be below zero; None unless every seed has a value."""
    known = [math.log(max(float(value), LEAST)) for value in values if value is not None]
    if not known or len(known) < len(values):
        return None
    return student(known).exp().map(lambda value: float(f"{value:.12g}"))  # the logarithm of 66 is not exact


def _logs(above: Sequence[Lesson], below: Sequence[Lesson], figure: str) -> list[float] | None:
    """The logarithms of a figure's ratio, seed by seed; None where a seed has not got both."""
    sides = [{one.trial.seed: getattr(one, figure) for one in lessons} for lessons in (above, below)]
    if not sides[0] or sides[0].keys() != sides[1].keys() or any(None in side.values() for side in sides):
        return None
    return [math.log(max(sides[0][seed], LEAST) / max(sides[1][seed], LEAST)) for seed in sides[0]]
