"""One composable change to a loop."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor

from loopmark.loops.task import Task

# A training step: a generator that names each phase just after finishing it.
Step: TypeAlias = Callable[[Task, Any, Any], Iterator[str]]


class Skip(Exception):  # noqa: N818 - a skip is no error
    """This loop cannot run with this task or on this machine; the text is the reason that the report shows."""


class Driver:
    """Takes a step over whole: it is called with each batch in the generator's place."""

    def __init__(self, step: Step) -> None:
        self.step = step

    def __call__(self, task: Task, inputs: Tensor, targets: Tensor) -> None:
        """Do one whole training step."""
        raise NotImplementedError


@dataclass(frozen=True)
class Technique:
    """What a technique changes, what it needs, and where it stands among the others.

    A difference that lies before the loop is a ``prepare``: it changes the task before its optimizer is made. One that
    changes the step's text is a ``step``; it must honour what lower ranks put on the task (``task.autocast``,
    ``task.scaler``), since of several the highest rank's is the one that runs. One that changes who drives the step is
    a ``driver``.
    """

    name: str
    summary: str
    rank: int  # techniques are applied from low rank to high, whatever order their names were given in
    prepare: Callable[[Task], None] | None = None  # raises `Skip` for a task of the wrong kind
    step: Step | None = None
    driver: type[Driver] | None = None
    lacks: Callable[[torch.device], str | None] = lambda _: None  # what the machine lacks, as a sentence; None: nothing
    compiles: bool = False  # torch.compile has work to do in it; a loop that then compiles nothing is not what it says
    captures: bool = (
        False  # it records what the device is to do and has that repeated, out of sight of torch's operators
    )
    excludes: frozenset[str] = frozenset()  # techniques that do the same, undo it or break it; accumulate_K means all K


def needs_cuda(name: str, device: torch.device) -> str | None:
    """The reason why ``name``, which needs a CUDA device, cannot run on ``device``; None where it can."""
    if device.type == "cuda":
        return None
    why = f"this run is on {device.type}" if torch.cuda.is_available() else "this machine has none"
    return f"{name} needs a CUDA device; {why}"
