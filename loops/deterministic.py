"""Only kernels that give the same bits every time; an operation that has none of that kind fails, by name.

See https://docs.pytorch.org/docs/stable/generated/torch.use_deterministic_algorithms.html. It is a technique like any
other, so what it costs is its speedup, a ratio below one.
"""

import os

import torch

from loopmark.loops.task import Task
from loopmark.loops.technique import Technique


def _prepare(_: Task) -> None:
    # cuBLAS reads it when it is first used, which is after this; see torch's notes on reproducibility.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False  # which kernel is fastest may change from one launch to the next


deterministic = Technique("deterministic", "torch's deterministic algorithms only", rank=5, prepare=_prepare)
