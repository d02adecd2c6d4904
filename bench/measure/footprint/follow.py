"""One step of a loop, followed through its phases."""

from collections import deque
from contextlib import nullcontext

import torch

from loopmark.bench.measure.clock import refuse_unknown_phases
from loopmark.bench.measure.footprint.watch import watch_of
from loopmark.bench.records.footprint import Footprint
from loopmark.loops.errors import Skip
from loopmark.loops.loop import Loop
from loopmark.loops.task import Task
from loopmark.loops.technique import Driver, Step
from loopmark.phases import DATA

STEPS_BEFORE = 3
"""By then the optimizer has its state, and there are gradients to set to zero."""


def follow(task: Task, loop: Loop) -> Footprint:
    """The memory of one step of ``loop`` on ``task``, which it prepares first.

    Raises:
        Skip: a part of the step is captured, and its memory set aside once.
        BadStep: it names phases that do not exist, or none.
    """
    captures = [technique.name for technique in loop.techniques if technique.captures]
    step = loop.prepare(task)
    if captures or isinstance(step, Driver):
        raise Skip(
            f"{' and '.join(captures) or type(step).__name__} repeats what was captured: that allocates nothing, and "
            "what it needs is set aside once; `loopmark run` tells how much"
        )
    eagerly = task.device.type == "cpu" and any(technique.compiles for technique in loop.techniques)
    # Whatever is wrapped by torch.compile then runs as it is written.
    with torch.compiler.set_stance("force_eager") if eagerly else nullcontext():
        for _ in range(STEPS_BEFORE):
            deque(step(task, *task.next_batch()), maxlen=0)
        return _followed(task, step, eagerly)


def _followed(task: Task, step: Step, eagerly: bool) -> Footprint:
    watch, phase, names = watch_of(task), DATA, []
    with watch:
        inputs, targets = task.next_batch()
        stretches = [watch.lap(DATA)]
        for phase in step(task, inputs, targets):
            stretches.append(watch.lap(phase))
            names.append(phase)
        stretches.append(watch.lap(phase))  # what comes after the last yield counts for the last phase
    refuse_unknown_phases(names)
    return Footprint(
        kind=watch.kind,
        batch_size=len(targets),
        before_bytes=watch.before_bytes,
        stretches=tuple(stretches),
        peak_operator=watch.peak_operator(),
        ran_eagerly=eagerly,
    )
