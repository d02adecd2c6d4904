"""The loops of one test, measured: as ``loopmark run`` measures them, in processes that take turns."""

import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from rich.console import Console

from loopmark.bench.judge.comparison import block_seconds
from loopmark.bench.judge.laps import counted_blocks, phases_by_block
from loopmark.bench.judge.run_comparison import JudgedCase, JudgedRun
from loopmark.bench.judge.summary import Row
from loopmark.bench.progress import RunProgress
from loopmark.bench.records.run import Plan, Run
from loopmark.bench.records.samples import ByCase, Samples

if TYPE_CHECKING:
    from loopmark.bench.plugin import Session


class Stop(Exception):  # noqa: N818 - a skip is no error
    """A loop could not be measured; ``skipped`` if that is not its fault."""

    def __init__(self, reason: str, *, skipped: bool) -> None:
        super().__init__(reason)
        self.reason, self.skipped = reason, skipped


@dataclass(frozen=True)
class Measurement:
    """One run of one workload: the loop, the baseline, and the loop to compare with, if any."""

    run: Run
    counted: ByCase  # the blocks that count
    noise_floor: float | None  # largest difference of the baseline and its repetition, as a share; None: not measured
    cases: dict[str, JudgedCase]  # every requested loop and the baseline, by name; each was measured

    @classmethod
    def of(cls, run: Run, samples: Samples) -> "Measurement":
        """The judged run. Raises Stop if one of its loops could not be measured."""
        for case in (case for case in run.cases if case.status != "ok"):
            reason = case.reason or case.status
            if case.loop == run.plan.baseline:
                reason = f"{case.loop}, the baseline of every loop: {reason}; name another with baseline="
            raise Stop(reason, skipped=case.status == "skipped")
        judged, counted = JudgedRun.of(run, samples), ByCase(samples.blocks[counted_blocks(samples.blocks)])
        (workload,) = judged.workloads
        return cls(run, counted, judged.noise_floor(workload), {loop: one for (_, loop), one in judged.members.items()})

    @property
    def rows(self) -> dict[str, Row]:
        return {loop: case.row for loop, case in self.cases.items()}

    def blocks(self, loop: str) -> pd.DataFrame:
        """The blocks of ``loop`` that count."""
        return self.counted[self.run.cases.index(self.cases[loop].row.case)]

    def rounds(self, loop: str) -> list[float]:
        """Seconds per step in each block that was timed as a whole."""
        blocks = self.blocks(loop)
        return [float(seconds) for seconds in block_seconds(blocks[~blocks["lapped"]])]

    def phase_rounds(self, loop: str) -> dict[str, list[float]]:
        """Seconds per step of each phase in each block that was timed phase by phase; on a GPU, the device's."""
        found = phases_by_block(self.cases[loop].laps)
        return {phase: found[phase].dropna().tolist() for phase in self.rows[loop].case.phases if phase in found}

    def rounds_per_launch(self, loop: str, *, lapped: bool) -> tuple[int, ...]:
        """The number of rounds in each launch, of whole steps or of phases."""
        blocks = self.blocks(loop)
        launches = blocks.loc[blocks["lapped"] == lapped, "launch"]
        return tuple(int(count) for count in launches.value_counts(sort=False).sort_index())


def measure(plan: Plan, session: "Session") -> Measurement:
    """Carry out ``plan``. The run's files are temporary: pytest-benchmark stores the part that fits its files.

    Raises Stop if a loop could not be measured, and KeyboardInterrupt after every process has ended.
    """
    from loopmark.bench.measure.launcher import apart
    from loopmark.bench.measure.machine import CommandFacts, describe_machine
    from loopmark.bench.measure.pool import kept, worker_pool
    from loopmark.bench.measure.runner import Runner

    expect_possible(plan)
    if plan.device not in session.machines:  # describing it needs a process
        session.machines[plan.device] = apart(describe_machine, plan.device)
    machine = session.machines[plan.device]
    silent = RunProgress(Console(quiet=True))  # pytest uses the terminal
    with tempfile.TemporaryDirectory(prefix="loopmark-pytest-") as folder, worker_pool(plan, Path(folder)) as pool:
        run, samples = Runner(CommandFacts(plan, machine, datetime.now(UTC)), silent, looks_at_loaders=False).run(pool)
        if run.interrupted:
            raise KeyboardInterrupt
        try:
            return Measurement.of(run, samples)
        except Stop as stop:
            raise Stop(
                stop.reason + ("" if stop.skipped else kept(Path(folder) / "logs")), skipped=stop.skipped
            ) from None


def try_loops(plan: Plan) -> None:
    """Try a few steps of every loop of ``plan``, and of the baseline. Raises Stop if one fails, or cannot run here.

    Each runs in a process of its own: a loop may change process-wide switches, and the other tests share this one.
    """
    from loopmark.bench.measure.pool import CaseEnded, worker_pool
    from loopmark.loops.catalog import find_loop, find_workload

    expect_possible(plan)
    workload = find_workload(plan.workloads[0]).name
    with tempfile.TemporaryDirectory(prefix="loopmark-pytest-") as folder, worker_pool(plan, Path(folder)) as pool:
        pool.cores = ()  # not pinned, since other processes run at the same time, such as xdist's
        for loop in (find_loop(spec).name for spec in plan.loops):
            with pool.start(workload, loop, log="log", neighbours=0) as process:
                try:
                    process.within(plan.limit_seconds).set_up(with_hash=False)
                    # Without time to become steady, a warm-up has the fewest steps.
                    process.within(plan.limit_seconds).warm(ceiling_seconds=0.0)
                except CaseEnded as end:
                    raise Stop(end.reason, skipped=end.status == "skipped") from None


def expect_possible(plan: Plan) -> None:
    """Raise Stop if this machine lacks something for one of the loops, before any other is measured."""
    from loopmark.bench.measure.inventory import lacking
    from loopmark.bench.measure.launcher import apart

    workloads, loops = apart(lacking, plan)
    for reason in filter(None, (*workloads.values(), *loops.values())):
        raise Stop(reason, skipped=True)
