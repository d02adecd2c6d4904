"""The gate: compare a run with a stored baseline by launches, at a false-alarm rate shared by all findings."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from loopmark.bench.judge.comparison import Verdict
from loopmark.bench.judge.differences import differences
from loopmark.bench.judge.finding import Finding, Judgement
from loopmark.bench.judge.run_comparison import JudgedCase, JudgedRun, MetricComparison, RunComparison, same_machine
from loopmark.bench.judge.settings import STEP, Thresholds
from loopmark.bench.judge.statistics import Estimate, exp, welch
from loopmark.bench.records.run import Run
from loopmark.bench.records.samples import Samples

NOTHING_SHARED = "no loop was measured in both runs"
NO_RATIO_SHARED = "on another machine only ratios to {} compare, and no other loop was measured in both runs"
BASES_GAIN = "{} became faster, and this loop's own seconds did not become slower"
WRONG_PASS = 0.05  # the allowed chance that a slowdown beyond the threshold passes as no regression


def check(
    run: tuple[Run, Samples], baseline: tuple[Run, Samples], thresholds: Thresholds, false_alarms: float
) -> Judgement:
    """The judgement on whether ``run`` is slower than ``baseline``, with each finding or the reason for a refusal.

    The unit is the launch: for each metric of a loop, the logs of both runs' launches are compared by Welch's t, since
    each run has its own spread. The two ends of an interval answer two questions. The low end shows if the head is
    certainly slower: a single alarm makes a regression, so the deciding findings share the chance of a false alarm
    evenly (Bonferroni). The high end shows if the head may still be slower: the outcome is no regression only if every
    finding agrees, which needs no correction (intersection-union, Berger 1982), so each high end is a plain one-sided
    95 % bound.

    The machine drifts between two runs. So on the same machine a loop is judged by its ratio to the baseline of its own
    run, that one by its seconds, and all by their peak memory; a phase counts only if it has a threshold of its own. On
    another machine only the ratios are compared. Ratios to different loops are never compared.

    Raises BadInput for a threshold of a metric that neither run has.
    """
    thresholds.refuse_unknown(phase for r in (baseline[0], run[0]) for case in r.cases for phase in case.phases)
    base, head = JudgedRun.of(*baseline), JudgedRun.of(*run)
    differing, warnings = differences(base.run, head.run), tuple(_about_runs(base, head))
    judged = Judgement("check", base.label, head.label, (), false_alarms, differences=differing, warnings=warnings)
    if base.kind != head.kind:
        where = f"the baseline was measured on {base.kind} and the run on {head.kind}"
        return replace(judged, refusal=f"{where}; measure both on one kind of device")
    here, compared = same_machine(base, head), RunComparison(base, head, thresholds.phases)
    findings = [*_unmeasured(compared, thresholds)]
    findings += _without_bases_gain(judge_metrics(compared.metrics, thresholds, false_alarms), compared.baseline)
    left_out = [f"{reason} ({', '.join(names)})" for reason, names in compared.refused.items()]
    if not any(finding.decides for finding in findings):
        nothing = NOTHING_SHARED if here else NO_RATIO_SHARED.format(compared.baseline)
        return replace(judged, refusal="; ".join(left_out) or nothing)
    order = list(base.members)
    findings.sort(key=lambda finding: order.index((finding.workload, finding.loop)))
    facts = tuple(_facts(here, compared, thresholds, findings, false_alarms))
    warnings += tuple(f"not compared: {text}" for text in left_out)
    return replace(judged, findings=tuple(findings), facts=facts, warnings=warnings)


def judge_metrics(
    metrics: Sequence[MetricComparison], thresholds: Thresholds, false_alarms: float
) -> tuple[Finding, ...]:
    """A finding for each of ``metrics``; the deciding ones share the false alarms."""
    wrong_alarm = false_alarms / max(1, sum(one.decides for one in metrics))
    return tuple(_judge(one, thresholds.of(one.metric), wrong_alarm) for one in metrics)


def verdict(change: Estimate, threshold: float, noise_floor: float | None) -> Verdict:
    """The verdict on head over base, with the interval ``change``.

    ``slower`` if the whole interval lies beyond the threshold and the noise floor (a share; if None, not measured, no
    difference is claimed); ``faster`` likewise on the other side; ``same`` if it lies within the threshold on both
    sides. A wide noise floor does not widen ``same``: a noisy run must not pass as a good one.
    """
    least = math.inf if noise_floor is None else max(threshold, noise_floor)
    if change.low > 1 + least:
        return "slower"
    if change.high < 1 / (1 + least):
        return "faster"
    return "same" if change.low >= 1 / (1 + threshold) and change.high <= 1 + threshold else "inconclusive"


def _unmeasured(compared: RunComparison, thresholds: Thresholds) -> Iterator[Finding]:
    """A finding for each metric that the run lacks: slower for a broken loop, inconclusive for others."""

    def finding(key: tuple[str, str], metric: str, before: JudgedCase, verdict: Verdict, note: str) -> Finding:
        step = before.row.step_seconds if metric == STEP else None
        base, threshold = step.value if step else None, thresholds.of(metric)
        return Finding(*key, metric, "seconds", base, None, None, verdict, threshold, decides=True, note=note)

    for key, before, ailment in compared.broken:
        yield finding(key, STEP, before, "slower", f"it trained in the baseline; in the run it {ailment}")
    for key, metric, before, reason in compared.missing:
        yield finding(key, metric, before, "inconclusive", f"the baseline measured it; {reason}")


def _without_bases_gain(findings: Sequence[Finding], baseline: str) -> Iterator[Finding]:
    """``findings``, where a ratio that rose only because ``baseline`` became faster is inconclusive, not slower."""
    steps = {(finding.workload, finding.loop): finding.verdict for finding in findings if finding.metric == STEP}
    for finding in findings:
        base, own = (steps.get((finding.workload, loop)) for loop in (baseline, finding.loop))
        if finding.unit == "ratio" and finding.verdict == "slower" and base == "faster" and own in ("same", "faster"):
            yield replace(finding, verdict="inconclusive", note=BASES_GAIN.format(baseline))
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
        return "one launch alone gives no interval; give both runs more --launches" if compared.decides else None
    return hidden_by_noise(change, judged, threshold, compared.noise_floor)


def hidden_by_noise(change: Estimate, judged: Verdict, threshold: float, noise_floor: float | None) -> str | None:
    """A sentence on a slowdown beyond its threshold that the noise floor hides; None for any other verdict."""
    if judged != "inconclusive" or change.low <= 1 + threshold:
        return None
    if noise_floor is None:
        return "beyond its threshold, but no noise floor was measured"
    return f"beyond its threshold, but not beyond the noise floor of {noise_floor:.1%}"


def _facts(
    here: bool, compared: RunComparison, thresholds: Thresholds, findings: Sequence[Finding], false_alarms: float
) -> Iterator[str]:
    ratio = f"each loop's ratio to the {compared.baseline} of its own run"
    if here:
        also = f"; {compared.no_ratios}" if compared.no_ratios else f", and {ratio}"
        yield f"same machine: seconds and bytes are compared{also}"
    else:
        yield f"another machine, or other processor instructions: {ratio} is compared"
        if thresholds.phases:
            yield f"thresholds of phases ({', '.join(thresholds.phases)}) are ignored: seconds do not compare here"
    deciding = sum(finding.decides for finding in findings)
    counted = "1 finding decides" if deciding == 1 else f"{deciding} findings decide"
    yield (
        f"{counted}: together at most {false_alarms:.2g} false alarms if nothing changed, and at most {WRONG_PASS:.2g} "
        "misses of a slowdown beyond its threshold; these rates cover launch-to-launch noise, and the thresholds must "
        "absorb drift between runs"
    )


def _about_runs(base: JudgedRun, head: JudgedRun) -> Iterator[str]:
    for what, side in (("baseline", base), ("run", head)):
        if side.run.interrupted:
            yield f"the {what} was interrupted, and holds only the samples measured by then; measure it again"
    if base.run == head.run:
        yield "the run and its baseline are the same run; give another one"
