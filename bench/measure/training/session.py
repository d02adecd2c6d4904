"""Training in a worker: segment by segment, with the quality measured after each."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from loopmark.bench.measure.clock import HostClock
from loopmark.bench.measure.compilation import CompilationLog
from loopmark.bench.measure.meters import energy_meter
from loopmark.bench.records.run import CacheState
from loopmark.bench.records.training import Target
from loopmark.loops.amp import CountingGradScaler
from loopmark.loops.task import Task
from loopmark.loops.technique import Skip


@dataclass(frozen=True)
class Begun:
    """A task about to be trained."""

    target: Target | None  # None for a task without a target
    steps_per_epoch: int | None  # None where it is unknown
    quality: float | None  # of the untrained model


@dataclass(frozen=True)
class Segment:
    seconds: float
    first_steps_seconds: tuple[float, ...]  # of the first steps, each timed to its end; part of ``seconds``
    losses: tuple[float, ...]
    quality: float
    joules: float  # NaN without an energy counter
    compile_seconds: float  # since the session began
    compile_cache: CacheState
    skipped_steps: int | None  # by a gradient scaler, since the session began
    final_scale: float | None


class TrainingSession:
    def __init__(self, task: Task, clock: HostClock) -> None:
        self._task, self._clock = task, clock
        self._energy = energy_meter(task.device)
        self._log = CompilationLog()

    def begin(self) -> Begun:
        """The target, the steps of an epoch, and the untrained model's quality."""
        goal, length = self._task.goal, self._task.epoch_length()
        if goal is None:
            return Begun(None, length, None)
        return Begun(Target(goal.metric, float(goal.target), goal.higher_is_better), length, self._quality())

    def segment(self, steps: int, one_by_one: int = 0) -> Segment:
        """Train for ``steps`` steps, or until the loss is NaN or infinite, and measure the quality.

        The first ``one_by_one`` steps are each timed to their end. Raises Skip where a step leaves no loss.
        """
        losses: list[torch.Tensor | None] = []
        ends: list[float] = []
        self._clock.synchronise()
        joules, start = self._energy.joules(), time.perf_counter()
        for step in range(steps):
            self._clock.take_step()
            losses.append(loss := self._clock.last_loss())
            if step < one_by_one:
                self._clock.synchronise()
                ends.append(time.perf_counter())
            if not self._clock.waits_to_read and loss is not None and not math.isfinite(loss):
                break  # where reading the loss waits for the device, it is checked at the end of the segment
        self._clock.synchronise()
        seconds, joules = time.perf_counter() - start, self._energy.joules() - joules
        return Segment(
            seconds=seconds,
            first_steps_seconds=tuple(end - begin for begin, end in zip([start, *ends], ends, strict=False)),
            losses=_read(losses),
            quality=self._quality(),
            joules=joules,
            compile_seconds=self._log.seconds(),
            compile_cache=self._log.cache_state(),
            **scaling_of(self._task),
        )

    def _quality(self) -> float:
        return float("nan") if self._task.goal is None else self._task.goal.quality(self._task.plain_model)


def scaling_of(task: Task) -> dict[str, Any]:
    """The steps that the gradient scaler has skipped, and its scale; None for a figure that it does not have."""
    scaler = task.scaler
    scale = float(scaler.get_scale()) if scaler.is_enabled() else math.nan
    skipped = round(float(scaler.skipped)) if isinstance(scaler, CountingGradScaler) else None
    return {"skipped_steps": skipped, "final_scale": scale if math.isfinite(scale) else None}


def _read(losses: Sequence[torch.Tensor | None]) -> tuple[float, ...]:
    if any(loss is None for loss in losses):
        raise Skip("the step leaves no loss in task.last_loss, which is needed to follow its training")
    return tuple(float(loss) for loss in losses if loss is not None)
