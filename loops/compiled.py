"""The model compiled by ``torch.compile``, forward and backward; the optimizer and the step's text stay as they are.

The partitioner moves work between forward and backward, so a compiled loop's total compares with another's, its
phases only with that in mind. See https://docs.pytorch.org/docs/stable/generated/torch.compile.html.
"""

import os
import shutil
import sys
import sysconfig
from pathlib import Path
from typing import cast

import torch
from torch import nn

from loopmark.loops.task import Task
from loopmark.loops.technique import Technique, needs_cuda

MODES = {
    "compile": ("default", "model compiled by torch.compile"),
    "compile_reduce_overhead": ("reduce-overhead", "compiled, and replayed as CUDA graphs"),
    "compile_max_autotune": ("max-autotune", "compiled, with the fastest of several kernels"),
}


def lacks_compiler(name: str, device: torch.device) -> str | None:
    """What this machine lacks for torch.compile's default backend, as a sentence; None if nothing."""
    try:
        torch._dynamo.eval_frame.check_if_dynamo_supported()
    except RuntimeError as error:
        return f"{name} needs torch.compile: {error}"
    if device.type == "cpu":
        compiler = os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")  # as torch chooses
        if not has_headers():
            return f"{name} on a CPU needs Python's headers; install python3-dev, or the like of it"
        if shutil.which(compiler) is None:
            return f"{name} on a CPU needs a C++ compiler; {compiler} is not on the PATH: install g++ or set CXX"
    elif device.type == "cuda":
        if torch.cuda.get_device_capability(device) < (7, 0):
            return f"{name} needs compute capability 7.0; this device has less"
        try:
            import triton  # type: ignore[import-not-found,import-untyped,unused-ignore]  # noqa: F401
        except ImportError:
            return f"{name} on a GPU needs triton; install the triton that belongs to this torch"
        if not any(shutil.which(name) for name in (os.environ.get("CC", "gcc"), "clang")):
            return f"{name} on a GPU needs a C compiler for triton; install gcc or set CC"
        if not has_headers():
            return (
                f"{name} on a GPU needs Python's headers, which triton includes; install python3-dev, or the like of it"
            )
    return None


def has_headers() -> bool:
    """Whether Python's headers are installed, which both inductor's and triton's C code includes."""
    return (Path(sysconfig.get_path("include")) / "Python.h").is_file()


def _compiled(name: str) -> Technique:
    mode, summary = MODES[name]
    graphs = name != "compile"

    def prepare(task: Task) -> None:
        # Not task.model.compile(): that compiles nothing, silently, when the model is one of torch's own modules, such
        # as a Sequential, whose forward the compiler takes for a part of torch (2.13 and before).
        task.model = cast(nn.Module, torch.compile(task.model, mode=mode))

    def lacks(device: torch.device) -> str | None:
        if name == "compile_reduce_overhead" and (reason := needs_cuda(name, device)):
            return f"{reason}, and without CUDA graphs this mode is compile"
        return lacks_compiler(name, device)

    others = {other for other in MODES if other != name}
    return Technique(
        name,
        summary,
        rank=60,
        prepare=prepare,
        lacks=lacks,
        compiles=True,
        captures=graphs,
        excludes=frozenset(others | ({"cuda_graph", "graph_phases"} if graphs else set())),
    )


compile_default = _compiled("compile")
compile_reduce_overhead = _compiled("compile_reduce_overhead")
compile_max_autotune = _compiled("compile_max_autotune")
