"""The findings on a loop in a test: compared with another loop of the same run, or with a stored run.

A stored run is what ``extra_info`` of pytest-benchmark's files keeps of a measured loop.
"""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from loopmark.bench.judge.comparison import ratio_logs, step_logs
from loopmark.bench.judge.finding import Finding, Unit
from loopmark.bench.judge.gate import BASES_GAIN, hidden_by_noise, verdict
from loopmark.bench.judge.settings import RATIO_TO, STEP
from loopmark.bench.judge.statistics import Estimate, exp, student, welch
from loopmark.bench.plugin.measurement import Measurement
from loopmark.bench.records import PYTEST_BENCHMARK_KEY
from loopmark.bench.records.files import Mismatch, decode

FORMAT_VERSION = 1


@dataclass(frozen=True)
class ExtraInfo:
    """One loop, launch by launch. Claims are about launches, which the table's rounds do not distinguish."""

    workload: str
    loop: str
    device: str
    size: str
    batch_size: int | None
    parameters: int | None
    threads: int
    machine: str  # the machine's name; its fingerprint at the end decides if seconds can be compared
    torch: str | None
    step_logs: tuple[float, ...]  # ln(seconds per step), one per launch
    ratio_logs: tuple[float, ...]  # ln(step / the baseline's), paired by round, one per launch; none for the baseline
    noise_floor: float | None  # largest difference of the baseline and its repetition, as a share; None: not measured
    phases: dict[str, float]  # seconds of each phase of a typical step; their sum is the step
    lost_at_step: int | None = None  # first step whose loss was NaN or infinite; no speed is claimed for such a loop
    eager_lost_at_step: int | None = None  # the same for the baseline of its run, whichever loop that is
    data_sha256: str | None = None
    rounds_per_launch: tuple[int, ...] = ()  # of the row's rounds, in order; `import` separates launches by it
    format_version: int = FORMAT_VERSION
    baseline: str = "eager"  # the loop that the ratios are to

    @classmethod
    def of(cls, measured: Measurement, loop: str) -> "ExtraInfo":
        """The data to store for ``loop``."""
        row, run = measured.rows[loop], measured.run
        rounds, baseline = measured.cases[loop].rounds, run.plan.baseline
        ratios = () if loop == baseline else ratio_logs(rounds, measured.cases[baseline].rounds)
        return cls(
            workload=row.case.workload,
            loop=loop,
            device=run.plan.device.partition(":")[0],
            size=run.plan.size,
            batch_size=row.case.batch_size,
            parameters=row.case.parameters,
            threads=run.plan.threads,
            machine=run.machine.name,
            torch=run.environment.torch,
            step_logs=tuple(map(float, step_logs(rounds))),
            ratio_logs=tuple(map(float, ratios)),
            noise_floor=measured.noise_floor,
            phases=row.phases,
            lost_at_step=row.lost_at_step,
            eager_lost_at_step=measured.rows[baseline].lost_at_step,
            data_sha256=row.case.data_sha256,
            rounds_per_launch=measured.rounds_per_launch(loop, lapped=False),
            baseline=baseline,
        )


def read_extra_info(benchmark: dict[str, Any]) -> ExtraInfo | str | None:
    """The loop's data in a stored benchmark, or the reason if unreadable; None if Loopmark did not write it."""
    extra = benchmark.get("extra_info")
    if not isinstance(extra, dict) or PYTEST_BENCHMARK_KEY not in extra:
        return None
    try:
        kept = decode(ExtraInfo, extra[PYTEST_BENCHMARK_KEY], f"extra_info.{PYTEST_BENCHMARK_KEY}")
    except Mismatch as error:
        return str(error)
    if kept.format_version > FORMAT_VERSION:
        return f"it has format {kept.format_version}; this Loopmark reads formats up to {FORMAT_VERSION}"
    return kept


# For the baseline itself, which is compared by seconds alone: the speed of a shared machine changes from day to day.
LEAST_ABSOLUTE_THRESHOLD = 0.25


def confidence_of(false_alarms: float, claims: int) -> float:
    """The confidence of each of ``claims`` intervals at which all together give ``false_alarms`` false alarms."""
    return 1 - 2 * false_alarms / max(1, claims)


def against_loop(measured: Measurement, loop: str, other: str, threshold: float, confidence: float) -> Finding:
    """``loop`` compared with ``other``, measured in turns: Student's t over launches of the rounds' paired ratios."""
    logs = ratio_logs(measured.cases[loop].rounds, measured.cases[other].rounds)
    change = student(logs, confidence).exp() if len(logs) else None
    seconds = [measured.rows[name].step_seconds for name in (other, loop)]
    before, now = (None if one is None else one.value for one in seconds)
    lost, others_lost = _lost(measured, loop), _lost(measured, other)
    workload, floor = measured.rows[loop].case.workload, measured.noise_floor
    found = _finding(workload, loop, STEP, (before, now), change, threshold, floor, lost or others_lost)
    return _broken(found) if lost and not others_lost else found


def against_stored(head: ExtraInfo, base: ExtraInfo, threshold: float, confidence: float) -> Finding | str:
    """``head`` compared with a stored run of the same test, or the reason if that is impossible.

    A loop is compared by its ratio to the baseline of its own run: drift moves both alike, and the ratio also holds on
    another machine. The baseline is compared by seconds, on the same machine only. Welch's t over the launches of both.
    """
    base_name = head.baseline
    if reason := _unlike(head, base):
        return reason
    if head.loop == base_name:
        if head.machine != base.machine:
            here = f"it was {base.machine}, and is now {head.machine}"
            return f"{base_name}'s seconds compare on the same machine only; {here}"
        metric, logs, threshold = STEP, (base.step_logs, head.step_logs), max(threshold, LEAST_ABSOLUTE_THRESHOLD)
    else:
        metric, logs = RATIO_TO.format(base_name), (base.ratio_logs, head.ratio_logs)
    if head.lost_at_step is not None:
        sides = None if not logs[0] else exp(float(np.mean(logs[0]))), None
        lost = f"its loss was NaN or infinite at step {head.lost_at_step:,}, unlike then"
        return _broken(_finding(head.workload, head.loop, metric, sides, None, threshold, None, lost))
    for kept, when in ((base, "then"), (head, "now")) if head.loop != base_name else ():
        if kept.eager_lost_at_step is not None:
            step = kept.eager_lost_at_step
            return f"{base_name}'s loss was NaN or infinite at step {step:,} {when}: a ratio to its speed means nothing"
    if not (logs[0] and logs[1]):
        return "one of the two has no round in common with its baseline"
    known = [floor for floor in (base.noise_floor, head.noise_floor) if floor is not None]
    change = welch(logs[1], logs[0], confidence).exp()
    means = exp(float(np.mean(logs[0]))), exp(float(np.mean(logs[1])))
    found = _finding(head.workload, head.loop, metric, means, change, threshold, max(known, default=None))
    if found.unit == "ratio" and found.verdict == "slower" and _base_gained(head, base, threshold, confidence):
        found = replace(found, verdict="inconclusive", note=BASES_GAIN.format(base_name))
    # Other changes are the first suspects, and on other hardware a ratio may differ without any regression.
    pairs = {"machine": (base.machine, head.machine), "torch": (base.torch, head.torch)}
    moved = [f"{what} {then} → {now}" for what, (then, now) in pairs.items() if then != now]
    return replace(found, note="; ".join(filter(None, [found.note, *moved])) or None)


def _base_gained(head: ExtraInfo, base: ExtraInfo, threshold: float, confidence: float) -> bool:
    """True if the loop's ratio rose because the baseline became faster, while its own steps did not become slower."""
    if head.machine != base.machine or any(len(k.step_logs) != len(k.ratio_logs) for k in (head, base)):
        return False
    own = welch(head.step_logs, base.step_logs, confidence).exp()
    bases = [[step - ratio for step, ratio in zip(k.step_logs, k.ratio_logs, strict=True)] for k in (head, base)]
    return welch(bases[0], bases[1], confidence).high < 0 and own.high <= 1 + threshold


def _unlike(head: ExtraInfo, base: ExtraInfo) -> str | None:
    for what in ("workload", "loop", "baseline", "device", "size", "batch_size", "parameters"):
        then, now = getattr(base, what), getattr(head, what)
        if then != now:
            return f"another {what.replace('_', ' ')}: {then} then, {now} now"
    if base.data_sha256 and head.data_sha256 and base.data_sha256 != head.data_sha256:
        return f"other data: SHA-256 {base.data_sha256:.12} then, {head.data_sha256:.12} now"
    if head.machine == base.machine and head.threads != base.threads:
        return f"the threads differ: {base.threads} then, {head.threads} now"
    if base.lost_at_step is not None:
        return f"its loss was NaN or infinite at step {base.lost_at_step:,} then: its speed means nothing"
    return None


def _finding(
    workload: str,
    loop: str,
    metric: str,
    sides: tuple[float | None, float | None],
    change: Estimate | None,
    threshold: float,
    noise_floor: float | None,
    lost: str | None = None,
) -> Finding:
    change = None if lost else change
    note, judged = lost, verdict(change, threshold, noise_floor) if change else "inconclusive"
    if change is None:
        note = note or "the two have no round in common"
    elif math.isinf(change.high):
        note = "one launch alone gives no interval: give more launches"
    else:
        note = hidden_by_noise(change, judged, threshold, noise_floor)
    unit: Unit = "seconds" if metric == STEP else "ratio"
    return Finding(workload, loop, metric, unit, *sides, change, judged, threshold, decides=True, note=note)


def _broken(found: Finding) -> Finding:
    """``found`` as a regression, for a loop that does not train while the other does."""
    return replace(found, verdict="slower", head=None, change=None)


def _lost(measured: Measurement, loop: str) -> str | None:
    step = measured.rows[loop].lost_at_step
    return None if step is None else f"{loop}'s loss was NaN or infinite at step {step:,}: its speed means nothing"
