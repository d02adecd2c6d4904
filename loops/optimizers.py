"""Other implementations of the optimizer's update: over lists of parameters, or in one kernel.

On CUDA, ``foreach=True`` is torch's default. On a CPU, the default is a Python loop over the parameters.
"""

from loopmark.loops.task import Task
from loopmark.loops.technique import Skip, Technique


def _with_option(option: str, summary: str, *, excludes: str) -> Technique:
    def prepare(task: Task) -> None:
        if not task.optimizer_takes(option):
            raise Skip(f"{option}_optimizer needs an optimizer that accepts {option}=True; {task.why_not(option)}")
        if option == "fused" and any(parameter.is_complex() for parameter in task.model.parameters()):
            raise Skip("fused_optimizer needs parameters that are real numbers; this model has complex ones")
        task.optimizer_options[option] = True

    return Technique(
        f"{option}_optimizer",
        summary,
        rank=50,
        prepare=prepare,
        code=f"{{optimizer}}(…, {option}=True)",
        excludes=frozenset({excludes}),
    )


fused_optimizer = _with_option("fused", "optimizer update in one fused kernel", excludes="foreach_optimizer")
foreach_optimizer = _with_option("foreach", "optimizer update by multi-tensor operations", excludes="fused_optimizer")
