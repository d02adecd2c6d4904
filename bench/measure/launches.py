"""A launch: the cases that share the device, and the answers of their workers."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from loopmark.bench.measure.answers import Finished, Ready, Turn, Warm
from loopmark.bench.measure.clock import Block, LappedBlock
from loopmark.bench.measure.meters import DeviceMemoryUse, Disturbance
from loopmark.bench.measure.pool import WorkerProcess
from loopmark.bench.measure.warmup import Cycle
from loopmark.bench.records.run import Case, Launch
from loopmark.bench.records.samples import COLUMNS, Columns, Samples, table, typed

CONTEXT_BYTES = 768 * 2**20
"""A process's memory outside torch's allocator (CUDA context, kernels, libraries). An estimate."""
MARGIN = 1.25
"""The room that the next case needs, as a multiple of the largest case so far: loops differ. A chosen value."""


@dataclass(eq=False)
class RunningCase:
    """A case's process in the current launch."""

    index: int
    process: WorkerProcess
    ready: Ready
    warm: Warm
    steps: int = 1  # of a block
    cycle: Cycle | None = None  # of the workload's data, at this loop's speed
    joules_per_step: float | None = None
    turns_seconds: float = 0.0

    def launch(self, index: int, finished: Finished) -> Launch:
        warm_up = self.warm.warm_up
        compilation = finished.compilation
        own_seconds = self.ready.seconds + sum(warm_up.seconds) + self.turns_seconds
        return Launch(
            index=index,
            setup_seconds=self.ready.seconds,
            first_step_seconds=self.warm.first_step_seconds,
            warmup_steps=len(warm_up.seconds),
            warmup_seconds=sum(warm_up.seconds),
            steady=warm_up.steady,
            steady_step_seconds=warm_up.steady_step_seconds,
            excess_seconds=warm_up.excess_seconds,
            compile_seconds=self.warm.compile_seconds,
            compile_cache=self.warm.compile_cache,
            steps=finished.steps,
            peak_memory_bytes=finished.peak_memory_bytes,
            skipped_steps=finished.skipped_steps,
            final_scale=finished.final_scale,
            pid=self.process.pid,
            joules_per_step=self.joules_per_step,
            gpu=finished.gpu,
            seen_per_step=finished.seen_per_step,
            cycle_steps=self.cycle.steps if self.cycle else None,
            compilation=replace(compilation, launch_seconds=own_seconds) if compilation else None,
        )


@dataclass
class DeviceCapacity:
    """The device memory left for cases of one workload, as warm cases saw it; infinite where it is unknown."""

    _largest: int = 0
    _free: float = math.inf

    def note(self, held: DeviceMemoryUse | None) -> None:
        if held is not None:
            self._largest = max(self._largest, held.reserved + CONTEXT_BYTES)
            self._free = held.free

    def holds_one_more(self) -> bool:
        return self._free >= MARGIN * self._largest


@dataclass
class LaunchState:
    """One launch of a workload: the cases on the device, the cases that wait for room, and its progress."""

    workload: str
    launch: int
    baseline: int
    waiting: list[int]
    capacity: DeviceCapacity
    began: float  # on the runner's clock
    live: list[RunningCase] = field(default_factory=list)
    groups: int = 0
    rounds: int = 0
    sampled_seconds: float = 0.0
    starting_seconds: float = 0.0
    compile_seconds: float = 0.0
    part: float = 0.0  # the fraction of its cases that have started; it never decreases
    whole_batch: int | None = None  # samples a step before batches were halved; None if they were not
    _alone: set[int] = field(default_factory=set)
    """Cases that ran out of memory beside other cases; each starts again with only the baseline."""

    def __post_init__(self) -> None:
        self.cases = len(self.waiting)

    def others(self, than: int) -> int:
        """The number of cases on the device other than the baseline and the case ``than``."""
        return sum(one.index not in (self.baseline, than) for one in self.live)

    def next(self) -> int | None:
        """The case to start now; None when turns can begin. The first case beside the baseline is always tried."""
        if not self.waiting:
            return None
        first = self.waiting[0]
        alone = self._alone & {first, *(one.index for one in self.live)}
        if self.others(first) and (alone or not self.capacity.holds_one_more()):
            return None
        return self.waiting.pop(0)

    def put_off(self, index: int) -> bool:
        """Queue a case that ran out of memory beside other cases to start again, once; False if that cannot help."""
        if index in self._alone or not self.others(index):
            return False
        self._alone.add(index)
        self.waiting.insert(0, index)
        return True


LaunchKey = tuple[int, int]  # the case's index and the launch's
_BlockKey = tuple[int, int, int]  # round, number within it, first step


class Collector:
    """The warm-ups and turns of every launch of every case so far."""

    def __init__(self) -> None:
        self._warm: dict[LaunchKey, Warm] = {}
        self._blocks: dict[LaunchKey, list[tuple[_BlockKey, Block, Disturbance]]] = {}

    def add_warm_up(self, key: LaunchKey, warm: Warm) -> None:
        self._warm[key] = warm

    def add_turn(self, key: LaunchKey, round_: int, turn: Turn) -> None:
        rows = self._blocks.setdefault(key, [])
        before = sum(place[0] == round_ for place, _, _ in rows)  # blocks of an earlier turn in this round
        for number, (first_step, block, disturbance) in enumerate(turn.blocks, start=before):
            rows.append(((round_, number, first_step), block, disturbance))

    def turns(self, key: LaunchKey) -> int:
        return len({place[0] for place, _, _ in self._blocks.get(key, [])})

    def drop(self, key: LaunchKey) -> None:
        """Discard a launch that failed."""
        self._warm.pop(key, None)
        self._blocks.pop(key, None)

    def samples(self) -> Samples:
        warm_up: list[dict[str, object]] = [
            {"case": case, "launch": launch, "step": step, "seconds": seconds}
            for (case, launch), warm in self._warm.items()
            for step, seconds in enumerate(warm.warm_up.seconds)
        ]
        blocks = [
            {**place, "first_step": first_step, **timed_row(block, disturbance)}
            for place, first_step, block, disturbance in self._placed()
        ]
        return Samples(
            phases=_stacked(COLUMNS["phases"], self._phase_frames()),
            blocks=table(COLUMNS["blocks"], blocks),
            warmup=table(COLUMNS["warmup"], warm_up),
            losses=_stacked(COLUMNS["losses"], self._loss_frames()),
        )

    def _placed(self) -> Iterator[tuple[dict[str, int], int, Block, Disturbance]]:
        """Each block with its place in the tables and the number of its first step."""
        for (case, launch), rows in self._blocks.items():
            for (round_, number, first_step), block, disturbance in rows:
                place = {"case": case, "launch": launch, "round": round_, "block": number}
                yield place, first_step, block, disturbance

    def _loss_frames(self) -> Iterator[pd.DataFrame]:
        for (case, launch), warm in self._warm.items():
            yield _losses(case, launch, 0, warm.losses)
        for place, first_step, block, _ in self._placed():
            if isinstance(block, LappedBlock):
                yield _losses(place["case"], place["launch"], first_step - block.lead_in, block.losses)

    def _phase_frames(self) -> Iterator[pd.DataFrame]:
        for place, first_step, block, _ in self._placed():
            if isinstance(block, LappedBlock) and block.phases:
                steps = np.arange(first_step - block.lead_in, first_step + block.steps)
                yield pd.DataFrame(
                    {
                        **place,
                        "step": np.repeat(steps, len(block.phases)),
                        "phase": list(block.phases) * len(steps),
                        "host_seconds": block.host.ravel(),
                        "device_seconds": block.device.ravel(),
                    }
                )


def timed_row(block: Block, disturbance: Disturbance) -> dict[str, object]:
    """A block's row in a table of blocks, without its place columns."""
    times = {"host_seconds": block.host_seconds, "device_seconds": block.device_seconds}
    return {"lapped": isinstance(block, LappedBlock), "steps": block.steps, **times, **vars(disturbance)}


def _losses(case: int, launch: int, first_step: int, losses: Iterable[float]) -> pd.DataFrame:
    values = np.fromiter(losses, dtype=float)
    values[~np.isfinite(values)] = np.nan
    steps = np.arange(first_step, first_step + len(values))
    return pd.DataFrame({"case": case, "launch": launch, "step": steps, "loss": values})


def _stacked(columns: Columns, frames: Iterable[pd.DataFrame]) -> pd.DataFrame:
    return typed(columns, pd.concat(kept, ignore_index=True)) if (kept := list(frames)) else table(columns)


def memory_warnings(launch: LaunchState, baseline: Case) -> list[str]:
    """Warnings for a device with too little memory: smaller batches, and turns taken in groups."""
    workload, warnings = launch.workload, []
    if launch.whole_batch not in (None, baseline.batch_size):
        warnings.append(
            f"{workload}: with batches of {launch.whole_batch}, no second loop is expected to fit the device beside "
            f"{baseline.label}, so it is measured with batches of {baseline.batch_size}; choose another size with "
            "--batch-size"
        )
    if launch.groups > 1:
        together = f", each with {baseline.label}" if baseline.status == "ok" else ""
        warnings.append(
            f"{workload}: its {launch.cases} cases do not fit on the device together; they took turns in "
            f"{launch.groups} groups{together}"
        )
    return warnings
