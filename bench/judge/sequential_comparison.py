"""Two sides that take turns, compared launch pair by launch pair until the verdict is certain."""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from loopmark.bench.judge.comparison import Verdict, block_seconds
from loopmark.bench.judge.confidence_sequence import TO_DEVIATIONS, ConfidenceSequence
from loopmark.bench.judge.differences import environment_differences
from loopmark.bench.judge.finding import Finding, Judgement, Unit
from loopmark.bench.judge.settings import MEMORY, STEP
from loopmark.bench.judge.statistics import MEDIAN_ERROR, Estimate
from loopmark.bench.records.comparison import Comparison, Pair, Side
from loopmark.bench.records.samples import seconds_of

METHOD = 2  # version of reducing and judging launch pairs; raise it with every change that could change a verdict
TORN = "the difference changed while it was measured, so that no value fits all launch pairs"
MEMORY_SHARE = 0.1  # of the false alarms; memory hardly varies, so that few launches suffice. The step has the rest


@dataclass(frozen=True)
class DecisionRules:
    false_alarms: float = 0.01  # share of comparisons of unchanged code that may end in a regression, by either metric
    margin: float = 0.01  # sides that certainly differ by less are the same, unless called slower or faster first
    step_threshold: float = 0.0  # the share by which the head's step may exceed the base's
    memory_threshold: float = 0.05


@dataclass(frozen=True)
class PairValues:
    """The values of a launch pair: each metric's log of head over base, and both sides' typical values."""

    logs: dict[str, float]
    uncertainties: dict[str, float]  # each log's standard error within this launch pair; absent if read only once
    base: dict[str, float]
    head: dict[str, float]


class SequentialComparison:
    """A comparison that receives each launch pair as it ends, and shows when its verdict is certain."""

    def __init__(self, rules: DecisionRules, base: Side, head: Side) -> None:
        self._rules, self._workload, self._loop = rules, head.workload, head.loop
        self._laps_count = base.laps_count and head.laps_count
        phases = [phase for phase in base.phases if phase in head.phases]
        self._values: list[PairValues] = []
        self._lost_at_step: int | None = None
        errors = {
            STEP: rules.false_alarms * (1 - MEMORY_SHARE),
            MEMORY: rules.false_alarms * MEMORY_SHARE,
            # The phases share the rate, since each of them is one more chance of a false alarm.
            **{phase: rules.false_alarms / max(1, len(phases)) for phase in phases},
        }
        self._sequences = {metric: ConfidenceSequence(error) for metric, error in errors.items()}

    def add(self, pair: Pair, blocks: pd.DataFrame, phases: pd.DataFrame) -> None:
        """Add a launch pair that has ended; see ``loopmark.bench.records.comparison`` for the tables."""
        if self._lost_at_step is None:
            self._lost_at_step = pair.head_lost_at_step
        values = pair_values(pair, blocks, phases, laps_count=self._laps_count)
        self._values.append(values)
        for metric, log in values.logs.items():
            if metric in self._sequences and math.isfinite(log):
                self._sequences[metric].add(log, values.uncertainties.get(metric))

    @property
    def decided(self) -> bool:
        """True if no further launch can change the outcome: a regression, or a verdict on both step and memory."""
        verdicts = {metric: self._verdict(metric) for metric in (STEP, MEMORY) if len(self._sequences[metric])}
        still_open = any(verdict == "inconclusive" and not self.torn(metric) for metric, verdict in verdicts.items())
        sure = "slower" in verdicts.values() or (STEP in verdicts and not still_open)
        return sure or self._lost_at_step is not None

    def torn(self, metric: str) -> bool:
        """True if the metric's difference changed during the measurement, so that no value fits all its launches."""
        return self._sequences[metric].torn

    @property
    def step(self) -> Estimate:
        return self._sequences[STEP].estimate

    @property
    def step_logs(self) -> tuple[float, ...]:  # of head over base, one per launch pair
        return tuple(values.logs[STEP] for values in self._values)

    @property
    def step_uncertainties(self) -> tuple[float, ...]:
        return tuple(values.uncertainties[STEP] for values in self._values)

    def findings(self) -> tuple[Finding, ...]:
        """The findings so far, the step first."""
        return tuple(self._finding(metric) for metric, sequence in self._sequences.items() if len(sequence))

    def seconds_needed(self, spent: float) -> float:
        """The least time to a verdict, at the pace of the launch pairs so far, which took ``spent`` seconds."""
        return least_pairs(self._rules.false_alarms) * spent / len(self._values)

    def smallest_effect(self) -> float:
        """Half the width of the step's interval: the smallest detectable share; infinite without an interval."""
        return math.expm1((self.step.high - self.step.low) / 2)

    def _finding(self, metric: str) -> Finding:
        known = [(values.base[metric], values.head[metric]) for values in self._values if metric in values.base]
        base, head = (float(np.median(side)) for side in zip(*known, strict=True))
        unit: Unit = "bytes" if metric == MEMORY else "seconds"
        change, threshold = self._sequences[metric].estimate.exp(), self._threshold(metric)
        if metric != MEMORY and 0 < change.value < math.inf:  # shown around their middle, apart by the change
            base, head = (math.sqrt(base * head * change.value**sign) for sign in (-1, 1))
        judged, decides, note = self._verdict(metric), metric in (STEP, MEMORY), TORN if self.torn(metric) else None
        found = Finding(self._workload, self._loop, metric, unit, base, head, change, judged, threshold, decides, note)
        if metric == STEP and self._lost_at_step is not None:
            note = f"its loss was NaN or infinite at step {self._lost_at_step:,}, unlike the base's"
            return replace(found, head=None, change=None, verdict="slower", note=note)
        return found

    def _threshold(self, metric: str) -> float:
        return self._rules.memory_threshold if metric == MEMORY else self._rules.step_threshold

    def _verdict(self, metric: str) -> Verdict:
        estimate, tolerated = self._sequences[metric].estimate, math.log1p(self._threshold(metric))
        margin = max(tolerated, math.log1p(self._rules.margin))
        if -margin < estimate.low and estimate.high < margin:
            return "same"
        if estimate.low > tolerated:
            return "slower"
        return "faster" if estimate.high < -tolerated else "inconclusive"


@functools.cache
def least_pairs(false_alarms: float) -> int:
    """The launch pairs that a verdict on the step takes even without any noise."""
    sequence = ConfidenceSequence(false_alarms * (1 - MEMORY_SHARE))
    while not math.isfinite(sequence.estimate.high):
        sequence.add(0.0, 1e-6)
    return len(sequence)


def judge_comparison(
    comparison: Comparison, sequential: SequentialComparison, rules: DecisionRules, facts: Sequence[str] = ()
) -> Judgement:
    """The judgement of the comparison; ``facts`` are more sentences from the caller."""
    base, head = comparison.base, comparison.head
    how = "forked from one server" if comparison.shared_server else "each side forked from a server of its own"
    if "cmd" in base.given:
        how = "every command started afresh"
    pairs = f"{len(comparison.pairs)} launch pair{'s' if len(comparison.pairs) > 1 else ''}"
    ended = f"{comparison.pairs[-1].ended_seconds:.0f} s{', interrupted' if comparison.interrupted else ''}"
    effect = sequential.smallest_effect()
    needed = sequential.seconds_needed(comparison.pairs[-1].ended_seconds)
    least = f"{least_pairs(rules.false_alarms)} launch pairs, about {needed:.0f} s here"
    seen = f"a verdict at so low a rate of false alarms as {rules.false_alarms:g} needs at least {least}"
    if math.isfinite(effect):
        digits = f"{100 * effect:.0f}" if effect >= 1 else f"{100 * effect:.2g}"
        seen = f"a difference of {digits} % of the step would have shown"
    elif sequential.torn(STEP):
        seen = "no difference of the step fits all launch pairs"
    asked = f"at most {100 * rules.false_alarms:g} % of comparisons of unchanged code are called a regression"
    ran = [{"loop": side.loop, "workload": side.workload, **side.given} for side in (base, head)]
    given = {key: [side.get(key, "as it is") for side in ran] for key in [*base.given, *head.given]}
    differing = [f"{key} {before} → {now}" for key, (before, now) in given.items() if before != now]
    warnings = list(comparison.warnings)
    if not all(pair.in_turns for pair in comparison.pairs):
        how += ", one after the other: they do not share the moment, so this sees less than turns"
    if base.phases != head.phases:
        warnings.append("the sides have different phases; only those that both have are compared")
    if "compile" in f"{base.loop} {head.loop}":
        warnings.append("torch.compile moves work between forward and backward: whole steps compare, phases hardly")
    if not any(finding.metric == MEMORY for finding in sequential.findings()):
        warnings.append("peak memory was not compared: no launch pair gave both sides'; give a larger --budget")
    if not differing and base.commit == head.commit:
        warnings.append("both sides are the same: any difference is this machine's noise")
    facts = f"{pairs} in {ended}, {how}", seen, asked, *facts
    differences = (*differing, *environment_differences(base.environment, head.environment))
    sides, findings = (_described(base), _described(head)), sequential.findings()
    return Judgement("ab", *sides, findings, rules.false_alarms, facts, differences, tuple(warnings))


def _described(side: Side) -> str:
    given = " ".join(f"{key}={value}" for key, value in side.given.items() if key != "rev")
    revision = f"{side.given['rev']} ({side.commit})" if "rev" in side.given else ""
    return " ".join(part for part in (revision, given) if part) or f"{side.workload} {side.loop}, as it is"


def pair_values(pair: Pair, blocks: pd.DataFrame, phases: pd.DataFrame, *, laps_count: bool) -> PairValues:
    """The values of one launch pair.

    A turn gives the log of its faster block, since disturbances only lengthen a block. Two consecutive turns of
    different sides give a difference. The pair's value is the mean of two medians, of the differences from base to head
    and of those from head to base, so neither a steady drift nor a burst of noise moves it. On a shared machine the
    time of a step changes like a random walk, so only neighbours compare: on two shared cores the value varied by a
    third to a half less than with the means of quads. A slowdown of only some steps shows less in it than in a mean.

    Launches that ran one after the other have no neighbours: the medians of their turns compare, and nothing within the
    pair tells how certain that is.
    """
    counted = blocks if laps_count else blocks[~blocks["lapped"]]
    seconds = pd.Series(np.log(block_seconds(counted)), counted.index)
    logs, uncertainties, base, head = {}, {}, {}, {}
    for metric, values, table in ((STEP, seconds, counted), *_phase_values(phases)):
        base[metric], head[metric] = (math.exp(float(values[table["head"] == side].median())) for side in (False, True))
        if pair.in_turns:
            logs[metric], uncertainties[metric] = _neighbours(values, table)
        else:
            logs[metric] = math.log(head[metric] / base[metric])
    if pair.base_peak_memory_bytes and pair.head_peak_memory_bytes and not pair.compiled:
        base[MEMORY], head[MEMORY] = float(pair.base_peak_memory_bytes), float(pair.head_peak_memory_bytes)
        logs[MEMORY] = math.log(head[MEMORY] / base[MEMORY])
    return PairValues(logs, uncertainties, base, head)


def _phase_values(phases: pd.DataFrame) -> list[tuple[str, pd.Series, pd.DataFrame]]:
    """The log seconds of each phase that both sides have, on the device's clock if a device was timed."""
    seconds = seconds_of(phases)
    shown = phases[seconds > 0].assign(log=np.log(seconds[seconds > 0]))
    both = shown.groupby("phase", sort=False)["head"].nunique()
    tables = [(str(phase), shown[shown["phase"] == phase]) for phase in both.index[both == 2]]
    return [(phase, table["log"], table) for phase, table in tables]


def _neighbours(logs: pd.Series, table: pd.DataFrame) -> tuple[float, float]:
    """The log of head over base from consecutive turns of different sides, and its standard error."""
    fastest = logs.groupby([table["quad"], table["turn"], table["head"]]).min().reset_index(name="log")
    later, sooner = fastest[1:].reset_index(drop=True), fastest[:-1].reset_index(drop=True)
    rises = later["log"] - sooner["log"]
    base_to_head = rises[later["head"] & ~sooner["head"]].to_numpy()
    head_to_base = -rises[~later["head"] & sooner["head"]].to_numpy()
    kinds = [kind for kind in (base_to_head, head_to_base) if len(kind)]
    if not kinds:
        return math.nan, math.nan
    deviations = np.concatenate([kind - np.median(kind) for kind in kinds])
    deviation = TO_DEVIATIONS * float(np.median(np.abs(deviations)))
    middle = float(np.mean([np.median(kind) for kind in kinds]))  # a steady drift moves one up and one down
    return middle, MEDIAN_ERROR * deviation / math.sqrt(len(deviations))
