"""The gate: a run against a stored baseline, launch by launch, at a false-alarm rate that all its looks share."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from loopmark.bench.judge.comparison import BASELINE, Verdict
from loopmark.bench.judge.differences import differences
from loopmark.bench.judge.finding import Finding, Judgement
from loopmark.bench.judge.run_comparison import (
    CaseKey,
    JudgedCase,
    JudgedRun,
    MetricComparison,
    RunComparison,
    compare_runs,
    same_machine,
)
from loopmark.bench.judge.settings import RATIO, STEP, Thresholds
from loopmark.bench.judge.statistics import Estimate, exp, welch
from loopmark.bench.records.run import Run
from loopmark.bench.records.samples import Samples

EAGERS_GAIN = "eager became faster, and this loop's own seconds did not become slower"
WRONG_PASS = 0.05
"""How often what is slower by more than its threshold may be passed as no regression."""


def check(
    run: Run,
    samples: Samples,
    baseline_run: Run,
    baseline_samples: Samples,
    thresholds: Thresholds,
    false_alarms: float,
) -> Judgement:
    """Whether ``run`` is slower than ``baseline_run``, in what and by how much; or why that cannot be said.

    A claim's unit is the launch: for each metric of a loop the logs of one run's launches are compared with those of
    the other's, by Welch's t, since each run has the spread of its own weather. An interval's two ends answer
    two questions. From its low end on, the head is certainly slower: any one alarm makes a regression, so the
    chance of a false one is shared out evenly among the findings that decide (Bonferroni), and a check of many loops
    cries wolf no more often than a check of few. Up to its high end, it may still be slower: that there is no
    regression is said only when every finding says so, which takes no correction (intersection-union, Berger 1982),
    so each high end is a plain one-sided 95 % bound.

    Runs made one after the other drift as the machine does. So on one machine a loop is judged by its ratio to the
    eager of its own run, eager by its seconds, and all by their peak memory; a phase has a say only where a
    threshold was given for it. On another machine only the ratios are compared.

    Raises:
        BadInput: for a threshold of a metric that neither run has.
    """
    thresholds.refuse_unknown(phase for r in (baseline_run, run) for case in r.cases for phase in case.phases)
    base, head = JudgedRun.of(baseline_run, baseline_samples), JudgedRun.of(run, samples)
    refusal = _refusal(base, head)
    looks = RunComparison() if refusal else compare_runs(base, head, thresholds.phases)
    findings = (
        *(_broken(key, member, ailment, thresholds) for key, member, ailment in looks.broken),
        *(_missing(*missing, thresholds) for missing in looks.missing),
        *_without_eagers_gain(judge_metrics(looks.fair, thresholds, false_alarms)),
    )
    order = list(base.members)
    findings = tuple(sorted(findings, key=lambda finding: order.index((finding.workload, finding.loop))))
    left_out = tuple(f"{reason} ({', '.join(names)})" for reason, names in looks.refused.items())
    if not refusal and not any(finding.decides for finding in findings):
        refusal = "; ".join(left_out) or _nothing_in_common(base, head)
    return Judgement(
        command="check",
        base=base.label,
        head=head.label,
        findings=() if refusal else findings,
        false_alarms=false_alarms,
        facts=() if refusal else tuple(_facts(same_machine(base, head), thresholds, findings, false_alarms)),
        differences=differences(baseline_run, run),
        warnings=(*_about_runs(base, head), *(() if refusal else (f"not compared: {text}" for text in left_out))),
        refusal=refusal,
    )


def judge_metrics(
    looks: Sequence[MetricComparison], thresholds: Thresholds, false_alarms: float
) -> tuple[Finding, ...]:
    """A finding for each of ``looks``; the false alarms are shared by those that decide."""
    wrong_alarm = false_alarms / max(1, sum(look.decides for look in looks))
    return tuple(_judge(look, thresholds.of(look.metric), wrong_alarm) for look in looks)


def verdict(change: Estimate, threshold: float, noise_floor: float | None) -> Verdict:
    """What may be said of head over base, whose interval is ``change``.

    ``slower`` when all of it lies beyond the threshold and beyond the noise floor (a share; None where it was not
    measured, and then no difference is claimed); ``faster`` likewise on the other side; ``same`` when all of it lies
    within the threshold on either side. A wide noise floor keeps a difference from being claimed and does not widen
    ``same``: a noisy run must not pass for a good one.
    """
    least = math.inf if noise_floor is None else max(threshold, noise_floor)
    if change.low > 1 + least:
        return "slower"
    if change.high < 1 / (1 + least):
        return "faster"
    return "same" if change.low >= 1 / (1 + threshold) and change.high <= 1 + threshold else "inconclusive"


def _refusal(base: JudgedRun, head: JudgedRun) -> str | None:
    """Why the runs as wholes cannot be compared; None where they can."""
    if base.kind == head.kind:
        return None
    return f"the baseline was measured on {base.kind} and the run on {head.kind}; measure both on one kind of device"


def _nothing_in_common(base: JudgedRun, head: JudgedRun) -> str:
    if same_machine(base, head):
        return "no loop was measured in both runs"
    return "on another machine only ratios to eager compare, and no other loop was measured in both runs"


def _broken(key: CaseKey, before: JudgedCase, ailment: str, thresholds: Thresholds) -> Finding:
    """A loop that trained in the baseline and does not now: the worst that can become of its speed."""
    workload, loop = key
    return Finding(
        workload=workload,
        loop=loop,
        metric=STEP,
        unit="seconds",
        base=before.row.step_seconds.value if before.row.step_seconds else None,
        head=None,
        change=None,
        verdict="slower",
        threshold=thresholds.step,
        decides=True,
        note=f"it trained in the baseline; in the run it {ailment}",
    )


def _missing(key: CaseKey, metric: str, before: JudgedCase, reason: str, thresholds: Thresholds) -> Finding:
    """What the baseline has and the run, though asked for it, has not: nobody knows whether it became slower."""
    return replace(
        _broken(key, before, "", thresholds),
        metric=metric,
        base=before.row.step_seconds.value if before.row.step_seconds and metric == STEP else None,
        verdict="inconclusive",
        threshold=thresholds.of(metric),
        note=f"the baseline measured it; {reason}",
    )


def _without_eagers_gain(findings: Sequence[Finding]) -> Iterator[Finding]:
    """``findings``, none of which calls a loop slower for its ratio to an eager that became faster.

    Where the loop's own seconds are not slower either, nobody knows whether the machine became faster and the loop
    slower, or eager alone faster.
    """
    steps = {(finding.workload, finding.loop): finding.verdict for finding in findings if finding.metric == STEP}
    for finding in findings:
        eager, own = (steps.get((finding.workload, loop)) for loop in (BASELINE, finding.loop))
        if finding.metric == RATIO and finding.verdict == "slower" and eager == "faster" and own in ("same", "faster"):
            yield replace(finding, verdict="inconclusive", note=EAGERS_GAIN)
        else:
            yield finding


def _judge(look: MetricComparison, threshold: float, wrong_alarm: float) -> Finding:
    workload, loop = look.key
    alarm = welch(look.head, look.base, 1 - 2 * wrong_alarm)
    missed = welch(look.head, look.base, 1 - 2 * WRONG_PASS)
    change = Estimate(alarm.value, alarm.low, missed.high).exp()
    judged = verdict(change, threshold, look.noise_floor)
    return Finding(
        workload=workload,
        loop=loop,
        metric=look.metric,
        unit=look.unit,
        base=exp(float(np.mean(look.base))),
        head=exp(float(np.mean(look.head))),
        change=change,
        verdict=judged,
        threshold=threshold,
        decides=look.decides,
        note=_note(look, change, judged, threshold),
    )


def _note(look: MetricComparison, change: Estimate, judged: Verdict, threshold: float) -> str | None:
    """Why a figure that looks like a claim is none."""
    if min(len(look.base), len(look.head)) < 2:
        return "one launch says nothing of the next; give both runs more --launches" if look.decides else None
    if judged == "inconclusive" and change.low > 1 + threshold:
        if look.noise_floor is None:
            return "beyond its threshold, but neither run measured its noise floor"
        return f"beyond its threshold, but not beyond the runs' noise floor of {look.noise_floor:.1%}"
    return None


def _facts(here: bool, thresholds: Thresholds, findings: Iterable[Finding], false_alarms: float) -> Iterator[str]:
    if here:
        yield "same machine: seconds and bytes are compared, and each loop's ratio to the eager of its own run"
    else:
        yield "another machine, or other processor instructions: each loop's ratio to its run's eager is compared"
        if thresholds.phases:
            yield f"thresholds of phases ({', '.join(thresholds.phases)}) have no say here: seconds do not compare"
    deciding = sum(finding.decides for finding in findings)
    counted = "1 finding decides" if deciding == 1 else f"{deciding} findings decide"
    yield (
        f"{counted}: as far as one launch differs from the next, at most {false_alarms:.2g} false alarms where nothing "
        f"changed, all together, and at most {WRONG_PASS:.2g} misses of what is slower than allowed; by how much the "
        "machine differs from one run to the next, the thresholds allow for"
    )


def _about_runs(base: JudgedRun, head: JudgedRun) -> Iterator[str]:
    for what, side in (("baseline", base), ("run", head)):
        if side.run.interrupted:
            yield f"the {what} was interrupted, and holds only what had been measured by then; measure it again"
    if base.run == head.run:
        yield "the run and its baseline are one and the same; give another run"
