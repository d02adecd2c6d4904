"""The model (forward and backward) or the optimizer's update, compiled by ``torch.compile``; the step is unchanged.

The partitioner moves work between forward and backward, so compare a compiled model's whole steps with other loops'
rather than its phases. See https://docs.pytorch.org/docs/stable/generated/torch.compile.html and
https://docs.pytorch.org/tutorials/recipes/compiling_optimizer.html.
"""

import functools
import os
import shutil
import sys
import sysconfig
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn
from torch.optim import Optimizer

from loopmark.loops.task import Task
from loopmark.loops.technique import Technique, needs_cuda

MODES = {
    "compile": ("default", "model compiled by torch.compile"),
    "compile_reduce_overhead": ("reduce-overhead", "compiled, and replayed as CUDA graphs"),
    "compile_max_autotune": ("max-autotune", "compiled, with the fastest of several kernels"),
}


def lacks_compiler(name: str, device: torch.device) -> str | None:
    """The requirement of torch.compile's default backend that this machine lacks, as a sentence; None if it has all."""
    try:
        torch._dynamo.eval_frame.check_if_dynamo_supported()
    except RuntimeError as error:
        return f"{name} needs torch.compile: {error}"
    # Both Inductor's C code and triton's C code include them.
    has_headers = (Path(sysconfig.get_path("include")) / "Python.h").is_file()
    install = "install python3-dev or its equivalent"
    if device.type == "cpu":
        compiler = os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")  # as torch chooses
        if not has_headers:
            return f"{name} on a CPU needs Python's headers; {install}"
        if shutil.which(compiler) is None:
            return f"{name} on a CPU needs a C++ compiler; {compiler} is not on the PATH: install g++ or set CXX"
    elif device.type == "cuda":
        if torch.cuda.get_device_capability(device) < (7, 0):
            return f"{name} needs compute capability 7.0; this device has less"
        try:
            import triton  # type: ignore[import-not-found,import-untyped,unused-ignore]  # noqa: F401
        except ImportError:
            return f"{name} on a GPU needs triton; install the triton version that matches this torch"
        if not any(shutil.which(name) for name in (os.environ.get("CC", "gcc"), "clang")):
            return f"{name} on a GPU needs a C compiler for triton; install gcc or set CC"
        if not has_headers:
            return f"{name} on a GPU needs Python's headers, which triton includes; {install}"
    return None


def _compiled(name: str) -> Technique:
    mode, summary = MODES[name]
    graphs = name != "compile"

    def prepare(task: Task) -> None:
        # Not task.model.compile(): for one of torch's own modules, such as a Sequential, it silently compiles nothing,
        # since the compiler treats the module's forward as a part of torch (2.13 and before).
        task.model = cast(nn.Module, torch.compile(task.model, mode=mode))

    def lacks(device: torch.device) -> str | None:
        if name == "compile_reduce_overhead" and (reason := needs_cuda(name, device)):
            return f"{reason}, and without CUDA graphs this mode equals compile"
        return lacks_compiler(name, device)

    others = {*MODES} - {name}
    return Technique(
        name,
        summary,
        rank=60,
        prepare=prepare,
        lacks=lacks,
        compiles=True,
        captures=graphs,
        code="model = torch.compile(model" + (f', mode="{mode}")' if graphs else ")"),
        excludes=frozenset(others | {"cuda_graph", "graph_phases"} if graphs else others),
    )


def _compile_update(task: Task) -> None:
    make = task.make_optimizer

    @functools.wraps(make)  # keeps the signature, which shows its options
    def make_compiled(*given: Any, **options: Any) -> Any:
        made = make(*given, **options)
        for optimizer in made.values() if isinstance(made, Mapping) else [made]:
            _compile_step(optimizer)
        return made

    task.make_optimizer = make_compiled


def _compile_step(optimizer: Optimizer) -> None:
    """Compile the update, and leave it a method with its hooks, which a learning rate schedule wraps."""
    hooked = type(optimizer).step
    compiled = torch.compile(getattr(hooked, "__wrapped__", hooked) if hasattr(hooked, "hooked") else hooked)
    if type(optimizer).__module__.startswith("torch.optim."):
        compiled = _with_moving_rates(compiled)
    step = Optimizer.profile_hook_step(compiled) if hasattr(hooked, "hooked") else compiled
    optimizer.step = types.MethodType(step, optimizer)  # type: ignore[method-assign]


def _with_moving_rates(update: Callable[..., Any]) -> Callable[..., Any]:
    """``update`` with a tensor for a learning rate that a schedule moves, since each new number would compile it again.

    Schedules, checkpoints and hooks still see the number. A rate that never moves stays one in the update as well. See
    https://docs.pytorch.org/tutorials/recipes/compiling_optimizer_lr_scheduler.html
    """
    first: dict[int, float] = {}  # the rate of each group
    moving: dict[int, torch.Tensor] = {}

    def updated(optimizer: Optimizer, *given: Any, **options: Any) -> Any:
        rates = [group["lr"] for group in optimizer.param_groups]
        for i, (group, rate) in enumerate(zip(optimizer.param_groups, rates, strict=True)):
            refuses = group.get("fused") or (group.get("foreach") and group.get("capturable") is False)  # a tensor
            if isinstance(rate, float) and not refuses and (i in moving or rate != first.setdefault(i, rate)):
                group["lr"] = moving.setdefault(i, torch.zeros((), dtype=torch.float64)).fill_(rate)
        try:
            return update(optimizer, *given, **options)
        finally:
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate

    return updated


compile_default, compile_reduce_overhead, compile_max_autotune = map(_compiled, MODES)
compile_optimizer = Technique(
    "compile_optimizer",
    "optimizer update compiled by torch.compile",
    rank=65,
    prepare=_compile_update,
    compiles=True,
    code="torch.compile(optimizer.step)",
    lacks=lambda device: lacks_compiler("compile_optimizer", device),
)
