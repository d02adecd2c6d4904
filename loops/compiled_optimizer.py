"""The optimizer's update compiled by ``torch.compile``.

See https://docs.pytorch.org/tutorials/recipes/compiling_optimizer.html.
"""

import functools
from typing import Any

import torch
from torch.optim import Optimizer

from loopmark.loops.compiled import lacks_compiler
from loopmark.loops.task import Task
from loopmark.loops.technique import Technique

NAME = "compile_optimizer"


def _prepare(task: Task) -> None:
    make = task.make_optimizer

    @functools.wraps(make)  # so that it still shows which options it takes
    def make_compiled(parameters: Any, **options: Any) -> Optimizer:
        optimizer = make(parameters, **options)
        optimizer.step = torch.compile(optimizer.step)  # type: ignore[method-assign, assignment]
        return optimizer

    task.make_optimizer = make_compiled


compile_optimizer = Technique(
    NAME,
    "optimizer update compiled by torch.compile",
    rank=65,
    prepare=_prepare,
    compiles=True,
    lacks=lambda device: lacks_compiler(NAME, device),
)
