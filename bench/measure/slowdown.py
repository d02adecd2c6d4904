"""A slowdown of known size, planted in a step to test a comparison."""

import time
from collections.abc import Iterator
from functools import partial
from statistics import median

import torch
from torch import Tensor

from loopmark.bench.measure.ceilings.sampling import EventStopwatch
from loopmark.loops.task import Task
from loopmark.loops.technique import Driver, Step
from loopmark.loops.user_code import BadSpec

STEPS_TO_LEARN = 5
_PROBE_CYCLES = 20_000_000


def slowed(step: Step | Driver, share: float, device: torch.device) -> Step:
    """``step``, delayed so that each call takes ``1 + share`` times as long.

    A step runs from the start of its first phase to the end of its last; fetching the batch is not delayed.
    On a CPU the delay in the last phase is a share of this step's own time, so that it follows the machine's drift as a
    real slowdown would. On a CUDA device, a kernel waits for a share of the median of the first steps.
    Raises BadSpec where a driver runs the step.
    """
    if isinstance(step, Driver):
        raise BadSpec("a slowdown cannot be planted in a step that its own driver runs: choose another loop")
    if device.type == "cuda":
        return _slowed_on_cuda(step, share, device)

    def held_up(task: Task, inputs: Tensor, targets: Tensor) -> Iterator[str]:
        start = time.perf_counter()
        yield from step(task, inputs, targets)
        now = time.perf_counter()
        end = now + share * (now - start)
        while time.perf_counter() < end:
            pass

    return held_up


def _slowed_on_cuda(step: Step, share: float, device: torch.device) -> Step:
    probe, stopwatch = partial(torch.cuda._sleep, _PROBE_CYCLES), EventStopwatch(device)
    stopwatch.seconds(probe, 1)
    cycles_per_second = _PROBE_CYCLES / stopwatch.seconds(probe, 1)
    seconds: list[float] = []

    def held_up(task: Task, inputs: Tensor, targets: Tensor) -> Iterator[str]:
        if len(seconds) < STEPS_TO_LEARN:
            first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            torch.cuda.synchronize(device)
            first.record()
            yield from step(task, inputs, targets)
            last.record()
            torch.cuda.synchronize(device)
            seconds.append(first.elapsed_time(last) / 1e3)
        else:
            yield from step(task, inputs, targets)
            torch.cuda._sleep(int(share * median(seconds) * cycles_per_second))

    return held_up
