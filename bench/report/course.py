"""The course of a watched script in sentences: what stands out, and what to try next."""

import math
from collections.abc import Iterator, Sequence

import pandas as pd

from loopmark.bench.judge.course import NO_PATTERN, Course
from loopmark.bench.records.run import Run
from loopmark.bench.report import show
from loopmark.bench.report.text import plain

COUNTS_FROM = 0.1  # the share of the time from which a phase is worth a sentence
MOST_SLOW = 4
LIVE_FROM = 0.05  # the share from which a phase is on the line of a running script
FUSED = ("SGD", "Adam", "AdamW", "Adagrad")  # optimizers of torch with fused=True
TELLING = 0.005  # the share of the time from which slow steps are worth a sentence
REMEDIES = {
    "data": "give the DataLoader more num_workers, or do less for each sample",
    "other before forward": "the batch is moved or changed there: pin_memory=True with non_blocking=True, "
    "or do it in the loader's workers",
    "zero_grad": "optimizer.zero_grad(set_to_none=True)",
    "loss": "the time from the forward to the backward pass: loss functions, and each .item() or print",
    "other before optimizer": "clipping and unscaling stand there: clip_grad_norm_(…, foreach=True), "
    "and no .item() of the norm",
    "other after optimizer": "schedules, logging, .item() and checkpoints stand there: do them every n-th step",
    "validation": "validate less often, or on fewer batches",
}


def live(rows: pd.DataFrame, phases: Sequence[str]) -> str:
    """The latest steps of a running script on one line; ``rows`` as in ``WatchedProcess``."""
    step, seconds = int(rows["step"].iloc[-1]) + 1, float(rows["seconds"].median())
    rate, memory = rows["samples"].median() / seconds if seconds else math.nan, rows["memory"].max()
    sums = rows.loc[rows["lapped"] == 1, list(phases)].sum()
    shares = (sums / sums.sum())[lambda share: share >= LIVE_FROM].sort_values(ascending=False)
    wait = f"input wait {show.percent(float(sums['data'] / sums.sum()))}" if sums.sum() else ""
    parts = [
        f"step {step:,}", f"{show.seconds(seconds)} a step", show.known(rate) and f"{show.rate(rate)} samples/s",
        ", ".join(f"{phase} {show.percent(float(share))}" for phase, share in shares.items() if phase != "data"),
        wait, show.known(memory) and show.data(memory),
    ]  # fmt: skip
    return " · ".join(part for part in parts if part)


def stands_out(course: Course) -> Iterator[str]:
    """The drifts and the slow steps; sentences without an end."""
    if course.drift is not None:
        word = "slower" if course.drift.value > 0 else "faster"
        drift = show.overhead_range(course.drift.map(lambda share: 1 + share))
        yield f"steps get {word}, by the script or by the machine: {drift} from start to end"
    if course.grown_bytes is not None:
        yield f"memory creeps: {show.data(course.grown_bytes)} more at the end than at half of the run"
    for slow in course.slow[:MOST_SLOW]:
        if slow.share < TELLING:
            continue
        many = f"{show.count(slow.count)} slow step{'s' if slow.count > 1 else ''}"
        where = f", most of it in `{slow.phase}`" if slow.phase else ""
        what = many if slow.kind == NO_PATTERN else f"{slow.kind}: {many}"
        pattern = f"; {NO_PATTERN}" if slow.kind == NO_PATTERN else ""
        yield (
            f"{what} {'take' if slow.count > 1 else 'takes'} {show.percent(slow.share)} of the time beyond a typical "
            f"step, the longest {show.seconds(slow.longest_seconds)}{where}{pattern}"
        )


def to_try(course: Course, run: Run) -> Iterator[str]:
    """The changes to try next, by measured shares, the largest first; sentences without an end."""
    script = plain(run.plan.workloads[0])
    known = sorted(course.shares.items(), key=lambda item: -item[1])
    for phase, share in known:
        if share < COUNTS_FROM:
            continue
        if phase == "data":
            yield f"the step waits for data {show.percent(share)} of its time: {REMEDIES[phase]}"
        elif phase == "optimizer":
            named = [name for name in run.watched.optimizers if name in FUSED] if run.watched else []
            remedy = f"try {named[0]}(…, fused=True)" if named else "see whether it has a fused or foreach version"
            yield f"the optimizer is {show.percent(share)} of the step: {remedy}"
        elif phase in REMEDIES:
            yield f"`{phase}` is {show.percent(share)} of the step: {REMEDIES[phase]}"
    passes = sum(course.shares.get(phase, 0.0) for phase in ("forward", "backward"))
    if passes >= 0.5:
        yield (
            f"forward and backward are {show.percent(passes)} of the step: `loopmark init {script}`, then "
            "`loopmark run`, tries compile, mixed precision and channels-last on it"
        )
