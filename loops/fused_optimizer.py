"""The optimizer's update as one kernel over all parameters (``fused=True``)."""

from loopmark.loops.errors import Skip
from loopmark.loops.task import Task
from loopmark.loops.technique import Technique


def _prepare(task: Task) -> None:
    if not task.optimizer_takes("fused"):
        raise Skip("fused_optimizer needs an optimizer that takes fused=True; this task's does not")
    task.optimizer_options["fused"] = True


fused_optimizer = Technique(
    "fused_optimizer",
    "optimizer update in one fused kernel",
    rank=50,
    prepare=_prepare,
    excludes=frozenset({"foreach_optimizer"}),
)
