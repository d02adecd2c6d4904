"""Workloads: named makers of tasks, with a size for CPUs and a size for GPUs."""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch

from loopmark.loops.task import Task
from loopmark.loops.user_code import BadSpec, defined_at

Size = Literal["small", "large"]
MakeTask = Callable[[torch.device, int, int], Task]  # a function of device, batch size and seed


@dataclass(frozen=True)
class Workload:
    """A model on real data. ``sizes`` maps each size to its task maker and its default batch size."""

    name: str
    summary: str
    sizes: dict[Size, tuple[MakeTask, int]]
    data: str | None = None  # the module of its data or model, imported where it is read: not every Python has it

    def lacks(self) -> str | None:
        """The requirement that this machine lacks, as a sentence; None if the workload can run."""
        try:
            found = self.data is None or importlib.util.find_spec(self.data) is not None
        except ModuleNotFoundError:
            found = False
        return None if found else f"{self.name} needs the module {self.data} for its data; this Python has none"

    def make(self, device: torch.device, size: Size, batch_size: int | None, seed: int) -> Task:
        """A new task. The same seed gives the same weights and the same batches on the same device.

        Raises BadSpec where the user's own function does not return a ``Task``.
        """
        make_task, default = self.sizes[size]
        torch.manual_seed(seed)
        task = make_task(device, default if batch_size is None else batch_size, seed)
        if not isinstance(task, Task):
            returned = f"{self.name} returned a {type(task).__name__}; return a loopmark.Task"
            raise BadSpec(f"{defined_at(make_task)}: {returned}")
        return task
