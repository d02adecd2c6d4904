"""One of two runs that are to be compared: its cases by name, judged, with the samples behind them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from loopmark.bench.judge.comparison import BASELINE, round_logs
from loopmark.bench.judge.instructions import instructions_of
from loopmark.bench.judge.launches import Rounds
from loopmark.bench.judge.summary import Row, Summary, WorkloadSummary, summarise
from loopmark.bench.judge.throttled import counted, laps_by_case
from loopmark.bench.records.run import Run
from loopmark.bench.records.samples import Samples

Key = tuple[str, str]
"""Workload and loop."""


@dataclass(frozen=True)
class Member:
    """One case of a side, with its own samples."""

    row: Row
    rounds: Rounds
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
class Side:
    """A run, by workload and loop; the baseline's repetition is part of its noise floors only."""

    run: Run
    members: Mapping[Key, Member]
    workloads: Mapping[str, WorkloadSummary]

    @classmethod
    def of(cls, run: Run, samples: Samples, summary: Summary | None = None) -> "Side":
        """The side that ``run`` is; ``summary`` is how it was judged, where it was."""
        summary = summary or summarise(run, samples)
        rows = {(row.case.workload, row.case.loop): row for row in summary.rows if not row.case.repeat}
        laps = laps_by_case(samples)
        rounds = round_logs(samples.blocks[counted(samples.blocks)]).reindex(columns=range(len(run.cases)))
        members = {
            (case.workload, case.loop): Member(
                rows[case.workload, case.loop],
                rounds[index].dropna(),
                laps[index],
            )
            for index, case in enumerate(run.cases)
            if not case.repeat
        }
        return cls(run, members, {workload.workload: workload for workload in summary.workloads})

    def eager(self, workload: str) -> Member | None:
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


def same_machine(base: Side, head: Side) -> bool:
    """Whether absolute seconds compare: the same hardware, and the same device of it.

    A hypervisor may call all processors of a maker by one name: those whose instructions differ are two.
    """
    sides = base, head
    instructions = {instructions_of(side.run) for side in sides} - {None}
    return len({(side.run.machine.fingerprint, side.device) for side in sides}) == 1 and len(instructions) <= 1
