"""The gate: a run against a stored baseline, launch by launch, at a false-alarm rate that all its findings share."""

import math
from collections.abc import Iterator, Sequence
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
    same_machine,
)
from loopmark.bench.judge.settings import RATIO, STEP, Thresholds
from loopmark.bench.judge.statistics import Estimate, exp, welch
from loopmark.bench.records.run import Run
from loopmark.bench.records.samples import Samples

NOTHING_SHARED = "no loop was measured in both runs"
NO_RATIO_SHARED = "on another machine only ratios to eager compare, and no other loop was measured in both runs"
EAGERS_GAIN = "eager became faster, and this loop's own seconds did not become slower"
WRONG_PASS = 0.05  # how often what is slower by more than its threshold may be passed as no regression


def check(
    run: Run,
    samples: Samples,
    baseline_run: Run,
    baseline_samples: Samples,
    thresholds: Thresholds,
    false_alarms: float,
) -> Judgement:
    """Whether ``run`` is slower than ``baseline_run``, in what and by how much; or why that cannot be said.

    A claim's unit is the launch: for each metric of a loop the logs of both runs' launches are compared by Welch's t,
    since each run has a spread of its own. An interval's two ends answer two questions. From its low end on, the head
    is certainly slower: any one alarm makes a regression, so the findings that decide share the chance of a false one
    evenly (Bonferroni), however many they are. Up to its high end, it may still be slower: that there is no regression
    is said only when every finding says so, which takes no correction (intersection-union, Berger 1982), so each high
    end is a plain one-sided 95 % bound.

    Runs made one after the other drift as the machine does. So on one machine a loop is judged by its ratio to the
    eager of its own run, eager by its seconds, and all by their peak memory; a phase has a say only where a threshold
    was given for it. On another machine only the ratios are compared.

    Raises BadInput for a threshold of a metric that neither run has.
    """
    thresholds.refuse_unknown(phase for r in (baseline_run, run) for case in r.cases for phase in case.phases)
    base, head = JudgedRun.of(baseline_run, baseline_samples), JudgedRun.of(run, samples)
    differing, warnings = differences(baseline_run, run), tuple(_about_runs(base, head))
    judged = Judgement("check", base.label, head.label, (), false_alarms, differences=differing, warnings=warnings)
    if base.kind != head.kind:
        where = f"the baseline was measured on {base.kind} and the run on {head.kind}"
        return replace(judged, refusal=f"{where}; measure both on one kind of device")
    here, compared = same_machine(base, head), RunComparison(base, head, thresholds.phases)
    findings = [*_unmeasured(compared, thresholds)]
    findings += _without_eagers_gain(judge_metrics(compared.metrics, thresholds, false_alarms))
    left_out = [f"{reason} ({', '.join(names)})" for reason, names in compared.refused.items()]
    if not any(finding.decides for finding in findings):
        return replace(judged, refusal="; ".join(left_out) or (NOTHING_SHARED if here else NO_RATIO_SHARED))
    order = list(base.members)
    findings.sort(key=lambda finding: order.index((finding.workload, finding.loop)))
    facts = tuple(_facts(here, thresholds, findings, false_alarms))
    warnings += tuple(f"not compared: {text}" for text in left_out)
    return replace(judged, findings=tuple(findings), facts=facts, warnings=warnings)


def judge_metrics(
    metrics: Sequence[MetricComparison], thresholds: Thresholds, false_alarms: float
) -> tuple[Finding, ...]:
    """A finding for each of ``metrics``; the false alarms are shared by those that decide."""
    wrong_alarm = false_alarms / max(1, sum(one.decides for one in metrics))
    return tuple(_judge(one, thresholds.of(one.metric), wrong_alarm) for one in metrics)


def verdict(change: Estimate, threshold: float, noise_floor: float | None) -> Verdict:
    """What may be said of head over base, whose interval is ``change``.

    ``slower`` when all of it lies beyond the threshold and the noise floor (a share; None, not measured, claims no
    difference); ``faster`` likewise on the other side; ``same`` when all of it lies within the threshold on either
    side, which a wide noise floor does not widen: a noisy run must not pass for a good one.
    """
    least = math.inf if noise_floor is None else max(threshold, noise_floor)
    if change.low > 1 + least:
        return "slower"
    if change.high < 1 / (1 + least):
        return "faster"
    return "same" if change.low >= 1 / (1 + threshold) and change.high <= 1 + threshold else "inconclusive"


def _unmeasured(compared: RunComparison, thresholds: Thresholds) -> Iterator[Finding]:
    """A finding for each metric that the run should have and has not: a broken loop's is slower, others may be."""

    def finding(key: CaseKey, metric: str, before: JudgedCase, verdict: Verdict, note: str) -> Finding:
        step = before.row.step_seconds if metric == STEP else None
        base, threshold = step.value if step else None, thresholds.of(metric)
        return Finding(*key, metric, "seconds", base, None, None, verdict, threshold, decides=True, note=note)

    for key, before, ailment in compared.broken:
        yield finding(key, STEP, before, "slower", f"it trained in the baseline; in the run it {ailment}")
    for key, metric, before, reason in compared.missing:
        yield finding(key, metric, before, "inconclusive", f"the baseline measured it; {reason}")


def _without_eagers_gain(findings: Sequence[Finding]) -> Iterator[Finding]:
    """``findings``, none of which calls a loop slower for its ratio alone to an eager that became faster."""
    steps = {(finding.workload, finding.loop): finding.verdict for finding in findings if finding.metric == STEP}
    for finding in findings:
        eager, own = (steps.get((finding.workload, loop)) for loop in (BASELINE, finding.loop))
        if finding.metric == RATIO and finding.verdict == "slower" and eager == "faster" and own in ("same", "faster"):
            yield replace(finding, verdict="inconclusive", note=EAGERS_GAIN)
        else:
            yield finding


def _judge(one: MetricComparison, threshold: float, wrong_alarm: float) -> Finding:
    alarm, missed = (welch(one.head, one.base, 1 - 2 * wrong) for wrong in (wrong_alarm, WRONG_PASS))
    change = Estimate(alarm.value, alarm.low, missed.high).exp()
    judged = verdict(change, threshold, one.noise_floor)
    base, head = (exp(float(np.mean(logs))) for logs in (one.base, one.head))
    note = _note(one, change, judged, threshold)
    return Finding(*one.key, one.metric, one.unit, base, head, change, judged, threshold, one.decides, note)


def _note(compared: MetricComparison, change: Estimate, judged: Verdict, threshold: float) -> str | None:
    if min(len(compared.base), len(compared.head)) < 2:
        return "one launch says nothing of the next; give both runs more --launches" if compared.decides else None
    if judged == "inconclusive" and change.low > 1 + threshold:
        if compared.noise_floor is None:
            return "beyond its threshold, but neither run measured its noise floor"
        return f"beyond its threshold, but not beyond the runs' noise floor of {compared.noise_floor:.1%}"
    return None


def _facts(here: bool, thresholds: Thresholds, findings: Sequence[Finding], false_alarms: float) -> Iterator[str]:
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
