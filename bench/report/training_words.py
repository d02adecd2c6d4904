"""The training of a case in words, before layout."""

import math
from collections.abc import Callable

from loopmark.bench.judge.equivalence import Departure, Equivalence
from loopmark.bench.judge.statistics import Estimate
from loopmark.bench.judge.training import Learning, TrainedRow, TrainedWorkload
from loopmark.bench.records.training import Training
from loopmark.bench.report import show
from loopmark.bench.report.text import elide, plain, short

LAYER_LENGTH, VERDICT_LENGTH = 60, 40
NOT_COMPARED = "not compared"
# Names of formats, by the significant bits that they keep.
FORMATS = {24: "float32", 11: "11 bits, as of float16 and TensorFloat-32", 8: "bfloat16"}
WHAT = {
    "loss": "the loss",
    "gradient": "the gradient of",
    "update": "the update of",
    "buffer": "the buffer",
    "kept": "the step's own",
}


def verdict(row: TrainedRow | None) -> str:
    """``same``, ``within rounding``, ``departs``, or ``not compared`` with the reason, if known, in a few words."""
    if row is None:
        return NOT_COMPARED
    why = f"{NOT_COMPARED}: {plain(row.equivalence.why_not_briefly)}"
    return row.equivalence.verdict or elide(why, VERDICT_LENGTH)


def unlike(row: TrainedRow) -> str:
    """The evidence that a loop departs, or the reason why it was not compared; empty for the others."""
    if row.departs:
        return f"departs from {short(row.baseline)}: {evidence(row)}"
    return evidence(row) if row.equivalence.verdict is None else ""


def evidence(row: TrainedRow) -> str:
    """The evidence for the verdict, or the reason why there is none, as a clause."""
    equivalence, base = row.equivalence, short(row.baseline)
    proof = equivalence.proof
    if equivalence.verdict is None:
        return f"{NOT_COMPARED}: {plain(equivalence.why_not or '')}"
    if proof.lost_at_step is not None:
        return f"its loss was not finite at step {proof.lost_at_step:,}"
    steps = f"{proof.steps} steps"
    if equivalence.verdict == "same":
        return f"every bit of {steps} is {base}'s: loss, gradients, parameters, buffers"
    if equivalence.first is not None:
        because = f"; because {', and '.join(map(plain, proof.causes))}" if proof.causes else ""
        return f"{_departure(equivalence.first, rounding(equivalence), base)}{because}"
    if equivalence.furthest is None and equivalence.verdict == "departs":
        return f"each of {steps} is {base}'s, but the end differs: the loop had other data, or skipped some"
    if equivalence.furthest is None:
        return f"every bit of {steps} is {base}'s in one process, but not in another: {base} itself does not repeat"
    far, by = equivalence.furthest, rounding(equivalence)
    share = show.percent(far.share) if far.share >= 0.01 else "a hundredth"
    return f"in {steps} nothing was off by more than {share} of what is allowed for rounding to {by} ({_place(far)})"


def rounding(equivalence: Equivalence) -> str:
    """The format that the loop's arithmetic keeps, by name."""
    bits = equivalence.proof.bits
    return FORMATS.get(bits or 0, f"{bits} bits")


def doubt(row: TrainedRow | None, base: TrainedRow | None) -> str:
    """The reason why a loop cannot win at any speed; empty if it can, or if its training was not compared."""
    if row is None:
        return ""
    if row.departs:
        return "trains another model"
    if row.equivalence.verdict is None:
        return f"was not shown to train as {short(row.baseline)}"
    learnt, its = row.learning, base.learning if base else None
    if learnt is None or its is None:
        return ""
    if learnt.diverged and not its.diverged:
        return "diverges"
    return "does not learn" if not learnt.learns and its.learns else ""


def remarks(row: TrainedRow, *, equivalence: bool = True) -> list[str]:
    """Remarks on a case's training beyond its figures; empty for most.

    Args:
        equivalence: True to include how it departs from the baseline or why it was not compared, which another table
            may have.
    """
    said = []
    if equivalence and (row.departs or row.learning) and (text := unlike(row)):
        said.append(text)
    if row.learning:
        said += _of_learning(row.learning, short(row.baseline))
    if row.ended is not None and row.ended.ending == "was interrupted":
        said.append(f"interrupted at step {row.ended.steps:,}, seed {row.ended.seed}")
    elif row.ended is not None and (row.ended.status != "skipped" or row.equivalence.verdict is not None):
        if row.learning is None and row.ended.reason == row.equivalence.why_not:
            return said  # the row itself has the reason
        said.append(f"seed {row.ended.seed}: {row.ended.status.replace('_', ' ')}: {plain(row.ended.reason or '')}")
    return said


def reached(learning: Learning) -> str:
    """``3 of 3``: the number of seeds that reached the target."""
    return f"{learning.reached} of {learning.seeds}"


def learns(learning: Learning) -> str:
    """``yes``, ``no`` or ``2 of 3``: the seeds with which the loop learns."""
    count, of = learning.learns, learning.seeds
    return "yes" if count == of else "no" if not count else f"{count} of {of}"


def ending(learning: Learning) -> str:
    """The end of the trials: the step of convergence, or another ending."""
    if (step := converged_at_step(learning)) is not None:
        return f"at step {show.count(step)}"
    if learning.diverged:
        return "diverged"
    trials = [judged.trial for judged in learning.trials]
    if all(trial.ending == "reached the target" for trial in trials):
        return "ended at the target"
    converged = sum(trial.converged_at_step is not None for trial in trials)
    return f"{converged} of {len(trials)}" if converged else "not yet"


def converged_at_step(learning: Learning) -> float | None:
    """The mean over the seeds; None unless all of them converged."""
    steps = [judged.trial.converged_at_step for judged in learning.trials]
    known = [step for step in steps if step is not None]
    return sum(known) / len(known) if known and len(known) == len(steps) else None


def seconds(learning: Learning) -> str:
    """Seconds of training to the target, without start-up."""
    return in_range(learning.seconds, show.seconds, show.seconds_range)


def with_start(learning: Learning, start_seconds: float | None) -> str:
    """Seconds to the target with the set-up and the compilation of a first start."""
    start = learning.start_seconds if start_seconds is None else start_seconds
    if learning.seconds is None or start is None:
        return show.ABSENT
    return in_range(learning.seconds.map(lambda value: value + start), show.seconds, show.seconds_range)


def joules(learning: Learning) -> str:
    """Energy to the target; absent without a counter."""
    return f"{in_range(learning.joules, show.significant)} J" if learning.joules else show.ABSENT


def in_range(
    estimate: Estimate | None, text: Callable[[float], str], with_ends: Callable[[Estimate], str] | None = None
) -> str:
    """A figure with its interval, or alone if a single seed gives no interval."""
    if estimate is None:
        return show.ABSENT
    if not math.isfinite(estimate.high - estimate.low):
        return text(estimate.value)
    return with_ends(estimate) if with_ends else f"{text(estimate.value)} [{text(estimate.low)}, {text(estimate.high)}]"


def heading(workload: TrainedWorkload, training: Training) -> str:
    """The target of the training and the number of seeds."""
    count, base = len(training.seeds), short(workload.baseline)
    if not count:
        return f"compared with {base} step by step, and not trained; `loopmark train` does both"
    if workload.target is None:
        failed = any(row.ended is not None and row.ended.status in ("failed", "timed_out") for row in workload.rows)
        return (
            "not trained: see the reasons below" if failed else f"states no target: compared with {base}, not trained"
        )
    seeds = f"{count} seeds" if count != 1 else f"seed {training.seeds[0]} alone, hence no intervals"
    side = "at least" if workload.target.higher_is_better else "at most"
    figure = f"{elide(workload.target.metric, LAYER_LENGTH)} of {side} {workload.target.value:g} on held-out data"
    near = any(row.learning is not None and row.learning.first_steps_decide for row in workload.rows)
    decide = "; so few steps reach it that the first ones decide the time: no loop is called sooner" if near else ""
    return f"trained to {figure}, {seeds}{decide}"


def _of_learning(learning: Learning, base: str) -> list[str]:
    said = []
    if (astray := learning.diverged) is not None:
        how = {"not a number": "became NaN", "infinite": "became infinite", "exploded": "exploded"}
        what = how.get(astray.trial.divergence or "", "diverged")
        said.append(f"diverged: its loss {what} at step {astray.trial.diverged_at_step:,}, seed {astray.trial.seed}")
    elif learning.learns < len(learning.trials):
        said.append(f"does not learn with {len(learning.trials) - learning.learns} of {len(learning.trials)} seeds")
    else:
        said += _short_of_target(learning)
    if learning.skipped_steps is not None:
        said.append(_scaling(learning, base))
    return said


def _short_of_target(learning: Learning) -> list[str]:
    short, of = [one.trial for one in learning.trials if one.steps_to_target is None], len(learning.trials)
    late = [trial for trial in short if trial.ending == "spent its budget"]
    said = []
    if late:
        steps = show.count(max(trial.steps for trial in late))
        said.append(
            f"had no time left to reach its target with {len(late)} of {of} seeds, after {steps} steps; "
            "`loopmark train --budget` gives more"
        )
    if len(short) > len(late):
        said.append(f"missed its target with {len(short) - len(late)} of {of} seeds")
    return said


def _scaling(learning: Learning, base: str) -> str:
    taken = sum(judged.trial.steps for judged in learning.trials)
    text = f"in training the gradient scaler skipped {learning.skipped_steps or 0:,} of {taken:,} steps"
    scales = [judged.trial.final_scale for judged in learning.trials if judged.trial.final_scale is not None]
    if scales:
        ends = dict.fromkeys((min(scales), max(scales)))
        text += f"; its scale ended at {' to '.join(f'{scale:,.10g}' for scale in ends)}"
    if learning.steps_ratio is None:
        return text
    ratio = in_range(learning.steps_ratio, show.ratio, show.ratio_range)
    return f"{text}; to the target it took {ratio} {base}'s steps"


def _departure(departure: Departure, format_: str, base: str) -> str:
    if departure.kind == "kept":
        return f"{_place(departure)} never moves, as {base}'s does"
    off = f"is off by {_relative(departure.error)}"
    if math.isinf(departure.error):
        off = f"exists where {base} has none, or is missing"
    allowed = f"{_relative(departure.allowed)} is allowed for rounding to {format_}"
    return f"at step {departure.step:,} {_place(departure)} {off}, where {allowed}"


def _place(departure: Departure) -> str:
    layer = f" {elide(departure.layer, LAYER_LENGTH)}" if departure.layer else ""
    return f"{WHAT.get(departure.kind, plain(departure.kind))}{layer}"


def _relative(value: float) -> str:
    """A relative error: in per cent from 0.1 % on, else as a power of ten."""
    return show.percent(value) if value >= 0.001 else f"{value:.1g}"
