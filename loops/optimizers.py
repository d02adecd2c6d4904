"""Other implementations of the optimizer's update: over lists of parameters, or in one kernel.

On CUDA, ``foreach=True`` is torch's default. On a CPU, the default is a Python loop over the parameters.
"""

from collections.abc import Callable

from loopmark.loops.task import Task
from loopmark.loops.technique import Skip, Technique


def _with_option(option: str) -> Callable[[Task], None]:
    def prepare(task: Task) -> None:
        if not task.optimizer_takes(option):
            raise Skip(f"{option}_optimizer needs an optimizer that accepts {option}=True; this task's does not")
        task.optimizer_options[option] = True

    return prepare


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
