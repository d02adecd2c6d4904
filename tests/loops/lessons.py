"""What the canonical step teaches, as checks that a loop keeps or breaks. Each takes a task that has taken a step."""

from collections.abc import Callable, Sequence

import torch

from loops.loop import Loop
from loops.task import Task
from loops.technique import Driver, Step
from tests.loops.tiny import Snapshot, drive, losses_of, parameters_of, prepared, same

POISON = 1e4


def gradients_leak(task: Task, step: Step | Driver) -> bool:
    """Whether a gradient that is there before a step changes what the step does."""
    batch, before = task.next_batch(), Snapshot(task)
    for parameter in task.model.parameters():
        parameter.grad = None
    drive(task, step, batch)
    clean = parameters_of(task)
    before.restore()
    for parameter in task.model.parameters():
        parameter.grad = torch.full_like(parameter, POISON)
    drive(task, step, batch)
    return not same(parameters_of(task), clean)


def phases_that_move_parameters(task: Task, step: Step) -> list[str]:
    """The phases in which a parameter changed, in order; "" for what comes after the last yield."""
    moved = []
    before = parameters_of(task)
    for phase in step(task, *task.next_batch()):
        if not same(parameters_of(task), before):
            moved.append(phase)
        before = parameters_of(task)
    return moved if same(parameters_of(task), before) else [*moved, ""]


def updates_in_one_step(task: Task, step: Step | Driver) -> int:
    """How often one step moved the parameters, by the optimizer's own count."""

    def updates() -> int:
        return int(next(iter(task.optimizer.state.values()))["step"])

    before = updates()
    drive(task, step)
    return updates() - before


def losses_by_seed(
    make_task: Callable[[int], Task], loop: Loop, seeds: Sequence[int], steps: int = 4
) -> list[list[float]]:
    """The first losses of a fresh task for each seed."""
    return [losses_of(*prepared(loop, make_task(seed), seed), steps) for seed in seeds]


def autocast_is_on_in_the_driver(task: Task, step: Step) -> bool:
    """Whether autocast is still on at some yield, or at the end."""
    device = task.device.type
    seen = [torch.is_autocast_enabled(device) for _ in step(task, *task.next_batch())]
    return any(seen) or torch.is_autocast_enabled(device)
