"""Loopmark finds the fastest way to run a PyTorch training step on this machine.

The public names are defined here and imported on first use: ``from loopmark import load`` does not import torch.
The folders ``bench`` and ``loops`` lie beside this one in the repository and are linked into it, so that no package is
installed under a name that other repositories use.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from loopmark.bench.records import load
    from loopmark.loops.goal import Goal
    from loopmark.loops.task import Batches, Task
    from loopmark.phases import phase

__version__ = "0.1.0"
__all__ = ["Batches", "Goal", "Task", "__version__", "load", "phase"]

_HOMES = {
    "Batches": "loopmark.loops.task",
    "Goal": "loopmark.loops.goal",
    "Task": "loopmark.loops.task",
    "load": "loopmark.bench.records",
    "phase": "loopmark.phases",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
