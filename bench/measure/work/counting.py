"""One step's work, phase by phase, counted as its operations are dispatched."""

from collections import Counter
from dataclasses import replace
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from loopmark.bench.measure.work.flops import attention_of, flops_of
from loopmark.bench.measure.work.traffic import Traffic
from loopmark.bench.records.work import PhaseWork
from loopmark.loops.loop import Loop
from loopmark.loops.task import Task
from loopmark.loops.technique import Driver
from loopmark.phases import DATA

SETTLING_STEPS = 1
"""Steps before the one that is counted: an optimizer makes what it keeps in its first."""


class Counting(TorchDispatchMode):
    """While it is on, every operation is counted; ``lap`` ends a phase."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._flops: Counter[str] = Counter()
        self._traffic = Traffic()
        self._attention: set[str] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run ``func`` as it is, and count it."""
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        kind, flops = flops_of(func, args, kwargs, out)
        if flops:
            self._flops[kind] += flops  # type: ignore[assignment]  # a count may be beyond what an int32 holds
        if kernel := attention_of(func):
            self._attention.add(kernel)
        self._traffic.note(func, args, kwargs, out)
        return out

    def lap(self, phase: str) -> PhaseWork:
        """What was done since the last lap."""
        flops, kernels = {kind: float(count) for kind, count in self._flops.items()}, tuple(sorted(self._attention))
        work = PhaseWork(phase, flops, self._traffic.end_phase(), kernels)
        self._flops.clear()
        self._attention.clear()
        return work


def count_work(task: Task, loop: Loop, seed: int) -> tuple[PhaseWork, ...]:
    """The work of one step of ``loop``, in the order of its phases, those that repeat summed.

    Compiled parts run as they were before they were compiled, and what would be captured and repeated as it is: a
    compiler's kernels, and a replay, say nothing of what they multiply.

    Raises:
        Exception: whatever the loop raises.
    """
    torch.manual_seed(seed)
    loop = replace(loop, techniques=tuple(t for t in loop.techniques if not t.captures))
    with torch.compiler.set_stance("force_eager"):
        step = loop.prepare(task)
        generator = step.step if isinstance(step, Driver) else step  # a person's own driver
        for _ in range(SETTLING_STEPS):
            for _ in generator(task, *task.next_batch()):
                pass
        laps: list[PhaseWork] = []
        with Counting() as counting:
            batch = task.next_batch()
            laps.append(counting.lap(DATA))
            laps += [counting.lap(phase) for phase in generator(task, *batch)]
            laps.append(counting.lap(laps[-1].phase))  # what comes after the last yield counts for the last phase
    return _summed(laps)


def _summed(laps: list[PhaseWork]) -> tuple[PhaseWork, ...]:
    work: dict[str, PhaseWork] = {}
    for lap in laps:
        before = work.get(lap.phase, PhaseWork(lap.phase, {}, 0.0))
        flops = Counter(before.flops)
        flops.update(lap.flops)
        kernels = tuple(sorted({*before.attention, *lap.attention}))
        work[lap.phase] = PhaseWork(lap.phase, dict(flops), before.least_bytes + lap.least_bytes, kernels)
    return tuple(work.values())
