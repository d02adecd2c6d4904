"""One composable change to a loop."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch

from loopmark.loops.task import Task

# A training step: a generator that names each phase just after finishing it.
Step: TypeAlias = Callable[[Task, Any, Any], Iterator[str]]


class Skip(Exception):  # noqa: N818 - a skip is no error
    """This loop cannot run with this task or on this machine. The text is the reason, shown in the report."""


class Driver:
    """Runs whole steps: it is called with each batch instead of the generator."""

    def __init__(self, step: Step) -> None:
        self.step = step

    def __call__(self, task: Task, inputs: Any, targets: Any) -> None:
        """Do one whole training step."""
        raise NotImplementedError


@dataclass(frozen=True)
class Technique:
    """A technique: its changes, its requirements, and its place in the order of techniques.

    ``prepare`` changes the task before its optimizer is created. ``step`` replaces the step; it must use the settings
    that lower ranks put on the task (``task.autocast``, ``task.scaler``), since only the highest rank's step runs.
    ``driver`` replaces the code that runs the step.
    """

    name: str
    summary: str
    rank: int  # techniques are applied from low rank to high, in any order of their names
    prepare: Callable[[Task], None] | None = None  # raises `Skip` for an unsuitable task
    step: Step | None = None
    used: Callable[[Task], str | None] | None = None
    """After a step of the user's own: the lines that it lacks to use what ``prepare`` put on the task; None if it uses
    it. Without this, a technique with a ``step`` cannot change the user's own."""
    driver: type[Driver] | None = None
    lacks: Callable[[torch.device], str | None] = lambda _: None  # the missing requirement, as a sentence, or None
    compiles: bool = False  # True if it uses torch.compile; it is shown as not compiled if nothing is
    captures: bool = False  # True if it captures the device's work and replays it, which torch's operators do not show
    code: str = ""  # its change in a training script; ``{optimizer}`` is the optimizer's class, ``{device}`` its device
    excludes: frozenset[str] = frozenset()  # techniques of the same effect or in conflict; accumulate_K means all K


def needs_cuda(name: str, device: torch.device) -> str | None:
    """The reason why ``name``, which needs a CUDA device, cannot run on ``device``; None if it can."""
    if device.type == "cuda":
        return None
    why = f"this run is on {device.type}" if torch.cuda.is_available() else "this machine has none"
    return f"{name} needs a CUDA device; {why}"
