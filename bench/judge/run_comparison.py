"""What of two runs can be compared fairly, metric by metric; and what cannot, with the reason."""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

import pandas as pd

from loopmark.bench.judge.comparison import (
    BASELINE,
    LaunchLogs,
    RoundLogs,
    memory_logs,
    phase_logs,
    ratio_logs,
    round_logs,
    step_logs,
)
from loopmark.bench.judge.finding import Unit
from loopmark.bench.judge.laps import counted_blocks, laps_by_case
from loopmark.bench.judge.settings import MEMORY, RATIO, STEP
from loopmark.bench.judge.summary import Row, Summary, WorkloadSummary, summarise
from loopmark.bench.records.run import Run
from loopmark.bench.records.samples import Samples


@dataclass(frozen=True, kw_only=True)
class ComparisonKey:
    """What has to be one and the same for two runs to compare, the instructions among it."""

    instructions: str | None
    """Of a CPU; None where they are not known."""


T = TypeVar("T", bound=ComparisonKey)


def instructions_of(run: Run) -> str | None:
    """``AVX2`` or ``AVX512``, say, as torch calls them; None of another device than a CPU, or where not known."""
    return run.environment.cpu_capability if run.plan.device == "cpu" else None


def fill_instructions(told: Iterable[T]) -> dict[T, T]:
    """Each with its instructions; what does not know its own takes those of the only ones that are otherwise alike."""
    distinct = list(dict.fromkeys(told))
    known: dict[T, set[T]] = {}
    for one in (one for one in distinct if one.instructions is not None):
        known.setdefault(replace(one, instructions=None), set()).add(one)
    like = {one: known.get(one, set()) for one in distinct}  # of what knows its own, nothing
    return {one: next(iter(others)) if len(others) == 1 else one for one, others in like.items()}


CaseKey = tuple[str, str]
"""Workload and loop."""


@dataclass(frozen=True)
class JudgedCase:
    """One case of a side, with its own samples."""

    row: Row
    rounds: RoundLogs
    laps: pd.DataFrame

    @property
    def ailment(self) -> str | None:
        """Why its speed says nothing, to follow "in this run it …"; None where it does."""
        case = self.row.case
        if case.status != "ok":
            ending = {"skipped": "was skipped", "failed": "failed", "timed_out": "timed out"}[case.status]
            return f"{ending}: {case.reason}" if case.reason else ending
        if self.row.lost_at_step is not None:
            return f"had a loss that is not finite at step {self.row.lost_at_step:,}"
        return "has too few samples" if self.row.step_seconds is None else None

    @property
    def broken(self) -> bool:
        """Whether it was tried and did not train: it failed, timed out, or lost its loss."""
        return self.row.case.status in ("failed", "timed_out") or self.row.lost_at_step is not None


@dataclass(frozen=True)
class JudgedRun:
    """A run, by workload and loop; the baseline's repetition is part of its noise floors only."""

    run: Run
    members: Mapping[CaseKey, JudgedCase]
    workloads: Mapping[str, WorkloadSummary]

    @classmethod
    def of(cls, run: Run, samples: Samples, summary: Summary | None = None) -> "JudgedRun":
        """The side that ``run`` is; ``summary`` is how it was judged, where it was."""
        summary = summary or summarise(run, samples)
        rows = {(row.case.workload, row.case.loop): row for row in summary.rows if not row.case.repeat}
        laps = laps_by_case(samples)
        rounds = round_logs(samples.blocks[counted_blocks(samples.blocks)]).reindex(columns=range(len(run.cases)))
        members = {
            (case.workload, case.loop): JudgedCase(
                rows[case.workload, case.loop],
                rounds[index].dropna(),
                laps[index],
            )
            for index, case in enumerate(run.cases)
            if not case.repeat
        }
        return cls(run, members, {workload.workload: workload for workload in summary.workloads})

    def eager(self, workload: str) -> JudgedCase | None:
        """The canonical loop of ``workload``, where its speed says something."""
        member = self.members.get((workload, BASELINE))
        return member if member and member.ailment is None else None

    def noise_floor(self, workload: str) -> float | None:
        """How far apart eager and its repetition may be in this run, as a share; None where that was not measured."""
        floor = self.workloads[workload].noise_floor
        return None if floor is None else math.expm1(floor)

    @property
    def device(self) -> str:
        """``cpu``, or a CUDA device with its number."""
        return device_of(self.run)

    @property
    def kind(self) -> str:
        """``cpu`` or ``cuda``."""
        return self.device.partition(":")[0]

    @property
    def label(self) -> str:
        """Which run this is, in a few words."""
        return f"{self.run.name} on {self.run.machine.name} ({self.run.plan.device})"


def device_of(run: Run) -> str:
    """``cpu``, or a CUDA device with its number."""
    return "cuda:0" if run.plan.device == "cuda" else run.plan.device


def same_machine(base: JudgedRun, head: JudgedRun) -> bool:
    """Whether absolute seconds compare: the same hardware, and the same device of it.

    A hypervisor may call all processors of a maker by one name: those whose instructions differ are two.
    """
    sides = base, head
    instructions = {instructions_of(side.run) for side in sides} - {None}
    return len({(side.run.machine.fingerprint, side.device) for side in sides}) == 1 and len(instructions) <= 1


HASH_LENGTH = 12


@dataclass(frozen=True)
class MetricComparison:
    """One metric of one loop that both sides have, not yet judged."""

    key: CaseKey
    metric: str
    unit: Unit
    base: LaunchLogs
    head: LaunchLogs
    decides: bool
    noise_floor: float | None = 0.0
    """The larger of both runs', as a share; None where neither measured one. 0 for metrics that it is not about."""


@dataclass
class RunComparison:
    """What going over two runs, loop by loop, comes upon."""

    fair: list[MetricComparison] = field(default_factory=list)
    broken: list[tuple[CaseKey, JudgedCase, str]] = field(default_factory=list)
    """Loops that trained in the baseline and do not now: the baseline's case, and what became of it."""
    missing: list[tuple[CaseKey, str, JudgedCase, str]] = field(default_factory=list)
    """Metrics that decide, that the baseline has and the run was asked for in vain: the baseline's case, and why."""
    refused: dict[str, list[str]] = field(default_factory=dict)
    """Why something cannot be compared, and the names of the loops of which that holds."""

    def refuse(self, reason: str, key: CaseKey) -> None:
        """Leave something of the loop ``key`` out, and say why."""
        self.refused.setdefault(reason, []).append(" ".join(key))


def compare_runs(base: JudgedRun, head: JudgedRun, asked: Mapping[str, float]) -> RunComparison:
    """Everything of ``head`` that can be compared with ``base``.

    A loop is compared where both sides measured it at the same work: batch size, data, size, parameters, and on one
    machine the threads. A loop that trained in the baseline and lost its loss now is broken, wherever it ran. So is one
    that failed on the same machine, and one that was skipped there is missing; another machine may well have less
    memory, or lack what a loop needs, and there both are named and no more.

    Args:
        asked: the phases that have a threshold of their own, and with it a say in the outcome.
    """
    looks = RunComparison()
    for key in dict.fromkeys([*base.members, *head.members]):
        before, now = base.members.get(key), head.members.get(key)
        if before is None or now is None:
            looks.refuse(f"only the {'run' if before is None else 'baseline'} has it", key)
        elif before.ailment is not None:
            if not before.row.case.status == now.row.case.status == "skipped":
                looks.refuse(f"in the baseline it {before.ailment}", key)
        elif reason := _other_work(base, head, before, now):
            looks.refuse(reason, key)
        elif now.broken and (same_machine(base, head) or now.row.lost_at_step is not None):
            looks.broken.append((key, before, now.ailment or ""))
        elif now.row.case.status == "skipped" and same_machine(base, head):
            looks.missing.append((key, STEP, before, f"in the run it {now.ailment}"))
        elif now.ailment is not None:
            looks.refuse(f"in the run it {now.ailment}", key)
        else:
            _look_at(looks, key, base, head, asked)
    return looks


def _other_work(base: JudgedRun, head: JudgedRun, before: JudgedCase, now: JudgedCase) -> str | None:
    """In what two cases of one name are different work; None where they are the same."""
    a, b = before.row.case, now.row.case
    plans = base.run.plan, head.run.plan
    facts: dict[str, tuple[object, object]] = {
        "batch sizes": (a.batch_size, b.batch_size),
        "data": (a.data_sha256, b.data_sha256),
        "sizes": (plans[0].size, plans[1].size),
        "numbers of parameters": (a.parameters, b.parameters),
        "numbers of threads": (plans[0].threads, plans[1].threads) if same_machine(base, head) else (None, None),
    }
    for what, sides in facts.items():
        # Of a case that ended early little is known, which is not to say that it is other work.
        if sides[0] != sides[1] and (b.status == "ok" or None not in sides):
            x, y = ("unknown" if side is None else str(side) for side in sides)
            if what == "data":
                x, y = f"SHA-256 {x[:HASH_LENGTH]}", y[:HASH_LENGTH]
            return f"different {what}, {x} in the baseline and {y} in the run"
    return None


def _look_at(looks: RunComparison, key: CaseKey, base: JudgedRun, head: JudgedRun, asked: Mapping[str, float]) -> None:
    """Add what can be compared of a loop that both sides measured at the same work."""
    before, now, floor = base.members[key], head.members[key], _noise_floor(base, head, key[0])
    ratios = _ratios(key, base, head)
    if ratios is not None:
        looks.fair.append(MetricComparison(key, RATIO, "ratio", *ratios, decides=True, noise_floor=floor))
    if same_machine(base, head):
        steps = step_logs(before.rounds), step_logs(now.rounds)
        # Without eager on both sides a loop's seconds are all there is to decide by.
        looks.fair.append(MetricComparison(key, STEP, "seconds", *steps, decides=ratios is None, noise_floor=floor))
        looks.fair += [*_memory(looks, key, before, now), *_phases(looks, key, before, now, asked)]
    elif ratios is None and key[1] != BASELINE:
        looks.refuse("on another machine only ratios to eager compare, and eager is not there on both sides", key)


def _noise_floor(base: JudgedRun, head: JudgedRun, workload: str) -> float | None:
    floors = [side.noise_floor(workload) for side in (base, head)]
    return max((floor for floor in floors if floor is not None), default=None)


def _ratios(key: CaseKey, base: JudgedRun, head: JudgedRun) -> tuple[LaunchLogs, LaunchLogs] | None:
    logs = []
    for side in (base, head):
        eager = side.eager(key[0])
        if key[1] == BASELINE or eager is None:
            return None
        logs.append(ratio_logs(side.members[key].rounds, eager.rounds))
    return (logs[0], logs[1]) if all(map(len, logs)) else None


def _memory(looks: RunComparison, key: CaseKey, before: JudgedCase, now: JudgedCase) -> Iterator[MetricComparison]:
    cases = before.row.case, now.row.case
    base, head = map(memory_logs, cases)
    if not len(base) or not len(head):
        return
    if cases[0].memory_kind == cases[1].memory_kind:
        yield MetricComparison(key, MEMORY, "bytes", base, head, decides=True)
    else:
        kinds = " and ".join(str(case.memory_kind) for case in cases)
        looks.refuse(f"peak memory counts different things, {kinds}", key)


def _phases(
    looks: RunComparison, key: CaseKey, before: JudgedCase, now: JudgedCase, asked: Mapping[str, float]
) -> Iterator[MetricComparison]:
    base, head = phase_logs(before.laps), phase_logs(now.laps)
    for name in dict.fromkeys([*before.row.case.phases, *now.row.case.phases]):
        if name in base and name in head:
            yield MetricComparison(key, name, "seconds", base[name], head[name], decides=name in asked)
        elif name in base or name in head:
            only = f"phase {name} is in the {'baseline' if name in base else 'run'} only"
            if name in asked and name in base:  # a threshold that would never again be applied
                looks.missing.append((key, name, before, only))
            else:
                looks.refuse(only, key)
