"""The paired measurement of two sides: pair after pair of fresh processes, in quads of random ABBA or BAAB order."""

import math
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd

from loopmark.bench.errors import BadInput, NotComparable
from loopmark.bench.measure.answers import Finished, Ready, Warm
from loopmark.bench.measure.assignment import Assignment
from loopmark.bench.measure.clock import LappedBlock
from loopmark.bench.measure.launcher import Launcher
from loopmark.bench.measure.launches import timed_row
from loopmark.bench.measure.pool import CaseEnded, Tick, WorkerProcess, kept
from loopmark.bench.measure.revisions import missing_here
from loopmark.bench.measure.schedule import LONG_SECONDS, steps_per_block
from loopmark.bench.measure.warmup import Cycle
from loopmark.bench.measure.watching.launched_script import Script
from loopmark.bench.measure.watching.scripts import ScriptEnded, ScriptProcess, make_rivals, shared_writing
from loopmark.bench.measure.watching.watched import SCRIPT
from loopmark.bench.records.comparison import BLOCKS, PHASES, Pair, Side
from loopmark.bench.records.run import Plan
from loopmark.bench.records.samples import table

PAIR_SECONDS = 1.75
"""Sampling time per launch pair. Nearly all noise was seen within a pair, so long pairs would spend less of the time
on starting processes. But no verdict is sure before the eighth pair, even for a large difference."""
SHARE_OF_START = 0.5  # least sampling time, as a share of the time to start the pair
LEAST_QUADS, LEAST_LONG_QUADS = 3, 2  # the latter where a block is an epoch that takes long


@dataclass(frozen=True)
class PreparedSide:
    """One side, ready to be launched."""

    name: str  # ``base`` or ``head``
    given: dict[str, str]
    commit: str | None
    assignment: Assignment
    launcher: Launcher | Script


@dataclass(frozen=True)
class Measured:
    """One launch pair and its samples; see ``loopmark.bench.records.comparison`` for the columns."""

    pair: Pair
    blocks: pd.DataFrame
    phases: pd.DataFrame
    once_seconds: float  # spent on compiling with an empty cache, which later pairs do not repeat


class _SideProcess(WorkerProcess):
    """A launch of one side. If it fails, the comparison ends."""

    def __init__(self, side: PreparedSide, launcher: Launcher, assignment: Assignment, tick: Tick) -> None:
        super().__init__(launcher, assignment, tick)
        self._name, self._side, self._log = side.name, side, assignment.log

    def ask(self, request: str, arguments: dict[str, Any], limit_seconds: float, ours: bool) -> Any:
        """Send a request. Raises BadInput where it fails, or NotComparable where the side was skipped."""
        try:
            return super().ask(request, arguments, limit_seconds, ours)
        except CaseEnded as end:
            if end.status == "skipped":
                raise NotComparable(f"{self._name}: {end.reason}") from None
            reason = end.reason
            if (tree := self._side.assignment.tree) and (revision := self._side.given.get("rev")):
                lost = missing_here(reason, tree)
                reason = reason.replace(str(tree.folder), f"revision {revision}") + lost  # its worktree is gone by then
            raise BadInput(f"{self._name}: {reason}{kept(self._log)}") from None


class PairedMeasurement:
    """Measures two sides against each other. Use it as a context manager: on exit, its processes and files are gone."""

    def __init__(self, base: PreparedSide, head: PreparedSide, plan: Plan, *, sequential: bool = False) -> None:
        """With ``sequential``, launches run one after the other, and each side is alone."""
        self._prepared, self._sequential = (base, head), sequential
        self.device = plan.device  # a script's own after the first pair
        # Not from the seed: in CI, every comparison would then give the same side the first turn.
        self._random = np.random.default_rng()
        self._block_seconds, self._limit_seconds = plan.block_seconds, plan.limit_seconds
        self._ceiling_seconds = plan.warmup_ceiling_seconds
        self._cycle: Cycle | None = None  # of both sides' data
        self._sides: dict[bool, Side] = {}
        self._compiled: set[bool] = set()
        self._lost: dict[bool, int | None] = {False: None, True: None}
        self._index = 0  # of the pair, with its rows and the seconds spent on compiling with an empty cache
        self._blocks: list[dict[str, object]] = []
        self._phases: list[dict[str, object]] = []
        self._cold: dict[bool, float] = {}
        self.warnings: list[str] = []
        self.tick: Tick = lambda: None  # see ``WorkerProcess``

    def __enter__(self) -> Self:
        self._folder = Path(tempfile.mkdtemp(prefix="loopmark-pairs-"))
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def sides(self) -> tuple[Side, Side]:
        """Facts of both sides, available after the first pair."""
        return self._sides[False], self._sides[True]

    def pairs(self, budget_seconds: float) -> Iterator[Measured]:
        """Measure launch pairs while another one fits in the budget; at least one.

        Raises BadInput where a side fails, dies or hangs, and NotComparable where a side cannot run on this machine, or
        the sides train on different data or batch sizes.
        """
        began, longest_rest = time.perf_counter(), 0.0
        index = 0
        while index == 0 or time.perf_counter() - began + longest_rest + PAIR_SECONDS < budget_seconds:
            start = time.perf_counter()
            measured = self._pair(index, began)
            yield measured
            rest = time.perf_counter() - start - measured.once_seconds - PAIR_SECONDS
            longest_rest = max(0.8 * longest_rest, rest)
            index += 1

    def solo(self, *, head: bool, seconds: float) -> float:
        """The mean step of one side that runs alone in a process, as a stored baseline is usually measured."""
        with closing(self._launch(self._prepared[head])) as process:
            assert isinstance(process, WorkerProcess)
            process.within(self._limit_seconds).set_up(with_hash=False)
            process.within(self._limit_seconds).warm(ceiling_seconds=self._ceiling_seconds)
            return process.within(self._limit_seconds + seconds).take_alone(seconds=seconds)

    def _pair(self, index: int, began: float) -> Measured:
        self._index, self._blocks, self._phases, self._cold = index, [], [], {}
        head_first, moment = bool(self._random.integers(2)), time.time()
        run = self._one_after_the_other if self._sequential else self._in_turns
        start_seconds, ends = run((head_first, not head_first))
        if self._lost[False] is not None:
            raise NotComparable(
                f"base: its loss was NaN or infinite at step {self._lost[False]:,}; fix its training, then compare"
            )
        if index == 0:
            self.warnings += shared_writing([side.launcher for side in self._prepared], moment)
        return Measured(
            Pair(
                index=index,
                head_first=head_first,
                start_seconds=start_seconds,
                ended_seconds=time.perf_counter() - began,
                base_peak_memory_bytes=ends[False].peak_memory_bytes,
                head_peak_memory_bytes=ends[True].peak_memory_bytes,
                compiled=bool(self._cold),
                head_lost_at_step=self._lost[True],
                in_turns=not self._sequential,
            ),
            table(BLOCKS, self._blocks),
            table(PHASES, self._phases),
            sum(self._cold.values()),
        )

    def _in_turns(self, order: Sequence[bool]) -> tuple[float, dict[bool, Finished]]:
        """Both sides' launches, resident together: the seconds to start them, and their final figures."""
        start = time.perf_counter()
        with ExitStack() as at_end:  # started in parallel: importing torch takes seconds, and nothing is timed yet
            processes = {head: at_end.enter_context(closing(self._launch(self._prepared[head]))) for head in order}
            make_rivals(processes[False], processes[True])
            warm = self._start(processes)
            start_seconds = time.perf_counter() - start
            self._quads(processes, warm, self._sampling_seconds(start_seconds))
            return start_seconds, {head: one.within(self._limit_seconds).finish() for head, one in processes.items()}

    def _one_after_the_other(self, order: Sequence[bool]) -> tuple[float, dict[bool, Finished]]:
        """The same of launches that are alone, each for half of the sampling time of a pair."""
        total, ends, steps = 0.0, {}, 0
        for head in order:
            start = time.perf_counter()
            with closing(self._launch(self._prepared[head])) as process:
                warm = self._start({head: process})[head]
                start_seconds = time.perf_counter() - start
                total += start_seconds
                step = warm.step_seconds
                steps = steps or steps_per_block(step, self._block_seconds, self._cycle)  # of both, as in turns
                sampled, turn, seconds = time.perf_counter(), 0, self._sampling_seconds(2 * start_seconds) / 2
                while turn < 2 * LEAST_QUADS or time.perf_counter() - sampled < seconds:
                    try:
                        self._take_turn(process, {"quad": turn, "turn": 0, "head": head}, steps, step, own_processes=1)
                    except ScriptEnded:
                        if turn < 2 * LEAST_QUADS:
                            raise
                        break
                    turn += 1
                ends[head] = process.within(self._limit_seconds).finish()
        return total, ends

    def _sampling_seconds(self, start_seconds: float) -> float:
        return max(PAIR_SECONDS, SHARE_OF_START * (start_seconds - sum(self._cold.values())))

    def _launch(self, side: PreparedSide) -> WorkerProcess | ScriptProcess:
        if isinstance(side.launcher, Script):
            return ScriptProcess(side.name, side.launcher, self._folder, self.tick)
        # Shared, so that equal code gives equal kernels: a tuner's noisy choice would favour one side in every pair.
        shared = self._prepared[0].launcher is self._prepared[1].launcher
        assignment = replace(
            side.assignment,
            log=self._folder / f"{side.name}.log",
            compile_cache=self._folder / ("compiled" if shared else f"compiled-{side.name}"),
        )
        return _SideProcess(side, side.launcher, assignment, self.tick)

    def _start(self, processes: Mapping[bool, WorkerProcess | ScriptProcess]) -> dict[bool, Warm]:
        """Set up the processes and warm them up. The first launch of a side also records its facts."""
        limit, found = self._limit_seconds, dict[bool, Warm]()
        ready = {h: one.within(limit).set_up(with_hash=h not in self._sides) for h, one in processes.items()}
        for head, process in processes.items():
            found[head] = warm = process.within(limit).warm(ceiling_seconds=self._ceiling_seconds)
            self._look_at_losses(head, 0, warm.losses)
            # Only a side's first compilation: a side whose cache is empty again will compile in every pair.
            if warm.compile_cache == "cold" and head not in self._compiled:
                self._cold[head] = warm.compile_seconds
                self._compiled.add(head)
            if head not in self._sides:
                self._sides[head] = self._facts(self._prepared[head], process, ready[head], warm)
                if len(self._sides) == len(self._prepared):
                    self._refuse_incomparable()
        return found

    def _facts(self, side: PreparedSide, process: WorkerProcess | ScriptProcess, ready: Ready, warm: Warm) -> Side:
        if ready.compiles and warm.compile_cache == "none":
            self.warnings.append(f"{side.name}: nothing of it was compiled; loopmark trace says why")
        if not warm.warm_up.steady:
            ceiling = f"{self._ceiling_seconds:g} s"
            self.warnings.append(
                f"{side.name} was still getting faster when its warm-up reached {ceiling}; measure on an idle machine"
            )
        workload, batch_size = side.assignment.workload, ready.batch_size
        if isinstance(process, ScriptProcess):
            self.device, workload, batch_size = process.device, process.workload, process.batch_size
        return Side(
            given=side.given,
            workload=workload,
            loop=side.assignment.loop,
            commit=side.commit,
            environment=process.within(self._limit_seconds).environment(),
            batch_size=batch_size,
            parameters=ready.parameters,
            data_sha256=ready.data_sha256,
            phases=warm.phases,
            memory_kind=warm.memory_kind,
            laps_count=warm.laps_count,
        )

    def _refuse_incomparable(self) -> None:
        base, head = self.sides
        if base.batch_size != head.batch_size:
            raise NotComparable(
                f"the sides train with different batch sizes, {base.batch_size} and {head.batch_size}; "
                "give both the same one"
            )
        if base.loop == SCRIPT:  # the data of a script has no hash
            pass
        elif None in (base.data_sha256, head.data_sha256):
            self.warnings.append(
                "the data has no data_sha256(), so it was not checked that both sides train on the same data; add one"
            )
        elif base.data_sha256 != head.data_sha256:
            raise NotComparable("the sides train on different data; give both a workload on the same data")
        if base.parameters != head.parameters:
            self.warnings.append(
                f"the sides train different models, of {base.parameters:,} and {head.parameters:,} parameters; "
                "give both sides the same workload, unless you mean to compare the models"
            )

    def _quads(
        self, processes: Mapping[bool, WorkerProcess | ScriptProcess], warm: dict[bool, Warm], seconds: float
    ) -> None:
        """Quads of turns (base, head, head, base or the reverse), each with one plain block and one with laps.

        A pair of scripts ends where one of them does.
        """
        # Both sides take the same number of steps; with more steps, a side would have warmer caches.
        step = max(one.step_seconds for one in warm.values())
        if self._index == 0:
            self._cycle = warm[False].cycle or warm[True].cycle
        steps = steps_per_block(step, self._block_seconds, self._cycle)
        least = LEAST_LONG_QUADS if self._cycle and self._cycle.seconds > LONG_SECONDS else LEAST_QUADS
        start, quad = time.perf_counter(), 0
        while quad < least or time.perf_counter() - start < seconds:
            first = bool(self._random.integers(2))
            try:
                for turn, head in enumerate((first, not first, not first, first)):
                    self._take_turn(processes[head], {"quad": quad, "turn": turn, "head": head}, steps, step)
            except ScriptEnded:
                if quad < least:
                    raise
                return
            quad += 1

    def _take_turn(
        self,
        process: WorkerProcess | ScriptProcess,
        place: dict[str, object],
        steps: int,
        step_seconds: float,
        own_processes: int = 2,
    ) -> None:
        """One plain block and one with laps, in random order, added to the pair's rows."""
        place, laps_first = {"pair": self._index, **place}, bool(self._random.integers(2))
        limit = min(self._limit_seconds, 30 + 50 * 3 * steps * step_seconds)
        worker = process.within(limit, ours=limit < self._limit_seconds)
        taken = worker.take_turn(order=(laps_first, not laps_first), steps=steps, own_processes=own_processes)
        for first_step, block, disturbance in taken.blocks:
            self._blocks.append({**place, **timed_row(block, disturbance)})
            if isinstance(block, LappedBlock):
                self._look_at_losses(bool(place["head"]), first_step - block.lead_in, block.losses)
                host, device = (laps[block.lead_in :].mean(axis=0) for laps in (block.host, block.device))
                self._phases += [
                    {**place, "phase": phase, "host_seconds": host[i], "device_seconds": device[i]}
                    for i, phase in enumerate(block.phases)
                ]

    def _look_at_losses(self, head: bool, first_step: int, losses: Iterable[float]) -> None:
        for step, loss in enumerate(losses, first_step):
            if self._lost[head] is None and not math.isfinite(loss):
                self._lost[head] = step
