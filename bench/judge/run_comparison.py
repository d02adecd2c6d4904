"""Two runs compared, metric by metric: the metrics that compare fairly, and the others with the reason."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import pandas as pd

from loopmark.bench.judge import comparison
from loopmark.bench.judge.comparison import LaunchLogs
from loopmark.bench.judge.finding import Unit
from loopmark.bench.judge.laps import counted_blocks, laps_by_case
from loopmark.bench.judge.settings import MEMORY, RATIO_TO, STEP
from loopmark.bench.judge.summary import Row, Summary, WorkloadSummary, summarise
from loopmark.bench.records.run import Case, Run
from loopmark.bench.records.samples import Samples

CaseKey = tuple[str, str]  # workload and loop
HASH_LENGTH = 12


@dataclass(frozen=True, kw_only=True)
class ComparisonKey:
    """The facts that two runs must share to be compared, including the processor's instructions."""

    instructions: str | None  # None if unknown, and for devices other than a CPU


T = TypeVar("T", bound=ComparisonKey)


def instructions_of(run: Run) -> str | None:
    """The instructions by torch's name, such as ``AVX2``; None for devices other than a CPU, or if unknown."""
    return run.environment.cpu_capability if run.plan.device == "cpu" else None


def fill_instructions(told: Iterable[T]) -> dict[T, T]:
    """Each key with its instructions. A key without them takes those of its otherwise equal keys, if these agree."""
    distinct = list(dict.fromkeys(told))
    known: dict[T, list[T]] = {}
    for one in (one for one in distinct if one.instructions is not None):
        known.setdefault(replace(one, instructions=None), []).append(one)
    return {one: known[one][0] if len(known.get(one, ())) == 1 else one for one in distinct}


@dataclass(frozen=True)
class JudgedCase:
    row: Row
    rounds: comparison.RoundLogs
    laps: pd.DataFrame

    @property
    def ailment(self) -> str | None:
        """The reason why its speed is meaningless, to follow "in this run it …"; None if it has a valid speed."""
        case = self.row.case
        if case.status != "ok":
            ending = {"skipped": "was skipped", "failed": "failed", "timed_out": "timed out"}[case.status]
            return f"{ending}: {case.reason}" if case.reason else ending
        if self.row.lost_at_step is not None:
            return f"had a loss that is not finite at step {self.row.lost_at_step:,}"
        return "has too few samples" if self.row.step_seconds is None else None

    @property
    def broken(self) -> bool:
        """True if it was tried and did not train: it failed, timed out, or its loss was not finite."""
        return self.row.case.status in ("failed", "timed_out") or self.row.lost_at_step is not None


@dataclass(frozen=True)
class JudgedRun:
    """A run, by workload and loop; the baseline's repetition only enters the noise floors."""

    run: Run
    members: Mapping[CaseKey, JudgedCase]
    workloads: Mapping[str, WorkloadSummary]

    @classmethod
    def of(cls, run: Run, samples: Samples, summary: Summary | None = None) -> "JudgedRun":
        """``run`` with the samples of each case; ``summary`` is its summary, if one was computed before."""
        summary = summary or summarise(run, samples)
        rows = {(row.case.workload, row.case.loop): row for row in summary.rows if not row.case.repeat}
        laps = laps_by_case(samples)
        rounds = comparison.round_logs(samples.blocks[counted_blocks(samples.blocks)])
        rounds = rounds.reindex(columns=range(len(run.cases)))
        keys = {(case.workload, case.loop): index for index, case in enumerate(run.cases) if not case.repeat}
        members = {key: JudgedCase(rows[key], rounds[index].dropna(), laps[index]) for key, index in keys.items()}
        return cls(run, members, {workload.workload: workload for workload in summary.workloads})

    def base(self, workload: str) -> JudgedCase | None:
        """The baseline's case of ``workload``; None if it has no valid speed."""
        member = self.members.get((workload, self.run.plan.baseline))
        return member if member and member.ailment is None else None

    def noise_floor(self, workload: str) -> float | None:
        """The possible difference of the baseline and its repetition in this run, as a share; None if not measured."""
        floor = self.workloads[workload].noise_floor
        return None if floor is None else math.expm1(floor)

    @property
    def kind(self) -> str:
        return self.run.plan.device.partition(":")[0]

    @property
    def label(self) -> str:
        return f"{self.run.name} on {self.run.machine.name} ({self.run.plan.device})"


def device_of(run: Run) -> str:  # `cpu`, or a CUDA device with its number
    return "cuda:0" if run.plan.device == "cuda" else run.plan.device


def same_machine(base: JudgedRun, head: JudgedRun) -> bool:
    """True if absolute seconds can be compared: the same hardware and the same device."""
    runs = base.run, head.run
    # A hypervisor may use one name for all processors of a maker: different instructions mean different processors.
    instructions = {instructions_of(run) for run in runs} - {None}
    return len({(run.machine.fingerprint, device_of(run)) for run in runs}) == 1 and len(instructions) <= 1


@dataclass(frozen=True)
class MetricComparison:
    """One metric of a loop in both runs, not yet judged."""

    key: CaseKey
    metric: str
    unit: Unit
    base: LaunchLogs
    head: LaunchLogs
    decides: bool
    noise_floor: float | None = 0.0  # the larger of both runs', as a share; None: not measured; 0: does not apply


class RunComparison:
    """The metrics of ``head`` that can be compared with ``base``, and those that cannot.

    A loop is compared if both runs measured it at the same work: batch size, data, size, parameters, and on the same
    machine the threads. A loop that trained in the baseline and now has a loss that is not finite is broken, on any
    machine. On the same machine, a loop that failed is broken too, and a skipped one is missing. Another machine may
    have less memory or lack something that a loop needs, so there both are only named.

    Args:
    asked: the phases with a threshold of their own, which affect the outcome.
    """

    def __init__(self, base: JudgedRun, head: JudgedRun, asked: Iterable[str] = ()) -> None:
        self._base, self._head, self._asked = base, head, frozenset(asked)
        self._same_machine, self.baseline = same_machine(base, head), head.run.plan.baseline
        others = base.run.plan.baseline
        told = f"the ratios are to {others} in the baseline and to {self.baseline} in the run, so none compare"
        self.no_ratios = told if others != self.baseline else None  # why no ratio compares, in one line
        self.metrics: list[MetricComparison] = []
        self.broken: list[tuple[CaseKey, JudgedCase, str]] = []  # a case that trained in the baseline only, and why
        self.missing: list[tuple[CaseKey, str, JudgedCase, str]] = []  # a deciding metric that the run lacks, and why
        self.refused: dict[str, list[str]] = {}  # each reason against a comparison, with the names of the loops
        for key in dict.fromkeys([*base.members, *head.members]):
            self._compare_loop(key, base.members.get(key), head.members.get(key))

    def _refuse(self, reason: str, key: CaseKey) -> None:
        self.refused.setdefault(reason, []).append(" ".join(key))

    def _compare_loop(self, key: CaseKey, before: JudgedCase | None, now: JudgedCase | None) -> None:
        if before is None or now is None:
            self._refuse(f"only the {'run' if before is None else 'baseline'} has it", key)
        elif before.ailment is not None:
            if not before.row.case.status == now.row.case.status == "skipped":
                self._refuse(f"in the baseline it {before.ailment}", key)
        elif reason := self._other_work(before, now):
            self._refuse(reason, key)
        elif now.broken and (self._same_machine or now.row.lost_at_step is not None):
            self.broken.append((key, before, now.ailment or ""))
        elif now.row.case.status == "skipped" and self._same_machine:
            self.missing.append((key, STEP, before, f"in the run it {now.ailment}"))
        elif now.ailment is not None:
            self._refuse(f"in the run it {now.ailment}", key)
        else:
            self._compare_metrics(key, before, now)

    def _other_work(self, before: JudgedCase, now: JudgedCase) -> str | None:
        """The difference in work between two cases of one name; None if there is none."""
        a, b = before.row.case, now.row.case
        base, head = self._base.run.plan, self._head.run.plan
        facts: dict[str, tuple[object, object]] = {
            "batch sizes": (a.batch_size, b.batch_size),
            "data": (a.data_sha256, b.data_sha256),
            "sizes": (base.size, head.size),
            "numbers of parameters": (a.parameters, b.parameters),
            "numbers of threads": (base.threads, head.threads) if self._same_machine else (None, None),
        }
        for what, sides in facts.items():
            # A case that ended early has few facts; missing ones are no difference in work.
            if sides[0] != sides[1] and (b.status == "ok" or None not in sides):
                length, kind = (HASH_LENGTH, "SHA-256 ") if what == "data" else (None, "")
                x, y = ("unknown" if side is None else str(side)[:length] for side in sides)
                return f"different {what}, {kind}{x} in the baseline and {y} in the run"
        return None

    def _compare_metrics(self, key: CaseKey, before: JudgedCase, now: JudgedCase) -> None:
        floors = [run.noise_floor(key[0]) for run in (self._base, self._head)]
        floor = max((floor for floor in floors if floor is not None), default=None)
        ratios = self._ratios(key)
        if ratios is not None:
            metric = RATIO_TO.format(self.baseline)
            self.metrics.append(MetricComparison(key, metric, "ratio", *ratios, decides=True, noise_floor=floor))
        if self._same_machine:
            steps = comparison.step_logs(before.rounds), comparison.step_logs(now.rounds)
            # Without the baseline on both sides, only the loop's seconds can decide.
            decides = ratios is None
            self.metrics.append(MetricComparison(key, STEP, "seconds", *steps, decides=decides, noise_floor=floor))
            self._compare_memory(key, before.row.case, now.row.case)
            self._compare_phases(key, before, now)
        elif self.no_ratios:
            self._refuse(f"on another machine only ratios compare, but {self.no_ratios}", key)
        elif ratios is None and key[1] != (name := self.baseline):
            self._refuse(f"on another machine only ratios to {name} compare, and one side has no {name}", key)

    def _ratios(self, key: CaseKey) -> tuple[LaunchLogs, LaunchLogs] | None:
        bases = [run.base(key[0]) for run in (self._base, self._head)]
        if self.no_ratios or key[1] == self.baseline or bases[0] is None or bases[1] is None:
            return None
        base = comparison.ratio_logs(self._base.members[key].rounds, bases[0].rounds)
        head = comparison.ratio_logs(self._head.members[key].rounds, bases[1].rounds)
        return (base, head) if len(base) and len(head) else None

    def _compare_memory(self, key: CaseKey, before: Case, now: Case) -> None:
        base, head = comparison.peaks_of_memory(before), comparison.peaks_of_memory(now)
        if not base or not head:
            return
        if before.memory_kind == now.memory_kind:
            self.metrics.append(MetricComparison(key, MEMORY, "bytes", np.log(base), np.log(head), decides=True))
        else:
            kinds = f"{before.memory_kind} and {now.memory_kind}"
            self._refuse(f"peak memory counts different things, {kinds}", key)

    def _compare_phases(self, key: CaseKey, before: JudgedCase, now: JudgedCase) -> None:
        base, head = comparison.phase_logs(before.laps), comparison.phase_logs(now.laps)
        for name in dict.fromkeys([*before.row.case.phases, *now.row.case.phases]):
            asked = name in self._asked
            if name in base and name in head:
                self.metrics.append(MetricComparison(key, name, "seconds", base[name], head[name], decides=asked))
            elif name in base or name in head:
                only = f"phase {name} is in the {'baseline' if name in base else 'run'} only"
                if asked and name in base:  # its threshold would never be applied again
                    self.missing.append((key, name, before, only))
                else:
                    self._refuse(only, key)
