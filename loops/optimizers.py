"""Other ways to carry out the optimizer's update: over lists of parameters, in one kernel, or compiled.

On CUDA ``foreach=True`` is torch's default; on a CPU the default is a Python loop over the parameters. See
https://docs.pytorch.org/tutorials/recipes/compiling_optimizer.html.
"""

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch.optim import Optimizer

from loopmark.loops.compiled import lacks_compiler
from loopmark.loops.task import Task
from loopmark.loops.technique import Skip, Technique


def _with_option(option: str) -> Callable[[Task], None]:
    def prepare(task: Task) -> None:
        if not task.optimizer_takes(option):
            raise Skip(f"{option}_optimizer needs an optimizer that takes {option}=True; this task's does not")
        task.optimizer_options[option] = True

    return prepare


def _compile_update(task: Task) -> None:
    make = task.make_optimizer

    @functools.wraps(make)  # so that it still shows which options it takes
    def make_compiled(parameters: Any, **options: Any) -> Optimizer:
        optimizer = make(parameters, **options)
        optimizer.step = torch.compile(optimizer.step)  # type: ignore[method-assign, assignment]
        return optimizer

    task.make_optimizer = make_compiled


fused_optimizer = Technique(
    "fused_optimizer",
    "optimizer update in one fused kernel",
    rank=50,
    prepare=_with_option("fused"),
    excludes=frozenset({"foreach_optimizer"}),
)
foreach_optimizer = Technique(
    "foreach_optimizer",
    "optimizer update by multi-tensor operations",
    rank=50,
    prepare=_with_option("foreach"),
    excludes=frozenset({"fused_optimizer"}),
)
compile_optimizer = Technique(
    "compile_optimizer",
    "optimizer update compiled by torch.compile",
    rank=65,
    prepare=_compile_update,
    compiles=True,
    lacks=lambda device: lacks_compiler("compile_optimizer", device),
)
