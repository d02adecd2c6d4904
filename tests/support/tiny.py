"""A task that compiles in a moment and that every technique can change, and functions to drive it."""

from collections import deque
from functools import cache, partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from loopmark.loops.loop import Loop
from loopmark.loops.task import Batch, Batches, Task
from loopmark.loops.technique import Driver, Step
from loopmark.loops.workloads.resnet import digits

CPU = torch.device("cpu")


class Tiny(nn.Module):
    """Two convolutions and a linear layer, without batch normalisation: (N, 3, 8, 8) to (N, 10)."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.Sequential(
            nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU()),
            nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.ReLU()),
        )
        self.classifier = nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = self.classifier(self.blocks(x).mean(dim=(2, 3)))
        return features


read_digits = cache(digits)  # reading the file takes longer than making the task; the shared data must not be changed


def make_tiny_task(device: torch.device = CPU, batch_size: int = 16, seed: int = 0) -> Task:
    torch.manual_seed(seed)
    data = read_digits()
    model = Tiny().to(device)
    return Task(
        model=model,
        loss_fn=F.cross_entropy,
        make_optimizer=partial(torch.optim.AdamW, lr=1e-2),
        batches=Batches(
            data.inputs.repeat(1, 3, 1, 1).to(device),
            data.targets.to(device, copy=True),
            batch_size=batch_size,
            seed=seed,
        ),
        blocks=tuple(model.blocks),
    )


def drive(task: Task, step: Step | Driver, batch: Batch | None = None) -> Tensor:
    """One whole step by any step or driver; returns its loss, ()."""
    turn = step(task, *(batch or task.next_batch()))
    if turn is not None:
        deque(turn, maxlen=0)
    assert task.last_loss is not None
    return task.last_loss.clone()  # a graph's next replay overwrites the original


def losses_of(task: Task, step: Step | Driver, steps: int) -> list[float]:
    return [float(loss) for loss in [drive(task, step) for _ in range(steps)]]


def prepared(loop: Loop, task: Task, seed: int = 0) -> tuple[Task, Step | Driver]:
    torch.manual_seed(seed)
    return task, loop.prepare(task)
