"""The optimizer's update as a few operations over lists of parameters (``foreach=True``).

On CUDA this is torch's default; on a CPU the default is a Python loop over the parameters.
"""

from loopmark.loops.errors import Skip
from loopmark.loops.task import Task
from loopmark.loops.technique import Technique


def _prepare(task: Task) -> None:
    if not task.optimizer_takes("foreach"):
        raise Skip("foreach_optimizer needs an optimizer that takes foreach=True; this task's does not")
    task.optimizer_options["foreach"] = True


foreach_optimizer = Technique(
    "foreach_optimizer",
    "optimizer update by multi-tensor operations",
    rank=50,
    prepare=_prepare,
    excludes=frozenset({"fused_optimizer"}),
)
