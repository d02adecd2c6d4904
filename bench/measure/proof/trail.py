"""The trail of one step: its backward passes, and the user's lines that change what it trains."""

import linecache
import sys
import time
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils.hooks import RemovableHandle

from loopmark.bench.measure.proof.steps import Layers, dense, gradients_of, parameters_of, settings_of
from loopmark.loops.task import Task
from loopmark.loops.user_code import is_users, place_among

MOST_SECONDS = 2.0  # for following lines, each of which is checked for changes


@dataclass(frozen=True)
class Change:
    """A line of the user's that changed the gradients, the parameters or the optimizers' settings."""

    what: str
    line: tuple[str, int]  # file and number
    gradients: Layers  # after it, if it changed them

    def __str__(self) -> str:
        return f"{place_among([self.line])} `{linecache.getline(*self.line).strip()}`"


class Trail(TorchFunctionMode):
    """Follows the step that is taken while it is active."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        self._task, self._model = task, task.plain_model
        self.backwards: list[Layers] = []  # the gradients after each backward pass
        self.targets = [0]  # those that the cross-entropy counted before each backward pass, and after the last
        self.changes: list[Change] = []
        self.scale = 1.0  # of the gradient scaler that called the optimizer
        self.updates = 0
        self.updated: Layers | None = None  # the parameters after the first update
        self._line: tuple[str, int] | None = None  # that ran last
        self._hooks: list[RemovableHandle] = []
        self._in_optimizer, self._end = False, time.perf_counter() + MOST_SECONDS

    def __enter__(self) -> "Trail":
        for one in self._task.optimizers.values():
            self._hooks += [one.register_step_pre_hook(self._before_update)]
            self._hooks += [one.register_step_post_hook(self._after_update)]
        self._marks, self._tracer = self._marked(), sys.gettrace()
        sys.settrace(self._trace)
        return super().__enter__()  # type: ignore[no-any-return, no-untyped-call]

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)  # type: ignore[no-untyped-call]
        sys.settrace(self._tracer)
        self._note()
        for hook in self._hooks:
            hook.remove()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func is F.cross_entropy:
            self.targets[-1] += _counted(*args, **(kwargs or {}))
        elif func is Tensor.backward:
            self.backwards.append(gradients_of(self._model))
            self.targets.append(0)
            self._marks = self._marked()  # no line after it made this change
        return result

    def _trace(self, frame: Any, *_: Any) -> Any:
        if self._in_optimizer or not is_users(frame.f_code.co_filename):
            return None
        self._note()
        self._line = (frame.f_code.co_filename, frame.f_lineno) if time.perf_counter() < self._end else None
        return self._trace if self._line else None

    def _marked(self) -> dict[str, Any]:
        return {
            "gradients": _norms([dense(p.grad) for p in self._model.parameters() if p.grad is not None]),
            "parameters": _norms([*self._model.parameters()]),
            "settings": [settings_of(one) for one in self._task.optimizers.values()],
        }

    def _note(self) -> None:
        """Note what the last line has changed."""
        before, self._marks = self._marks, self._marked()
        for what, mark in self._marks.items():
            zeroes = what == "gradients" and (self.updates > 0 or not self.backwards)
            if self._line is None or mark == before[what] or zeroes:
                continue
            if self.changes and (self.changes[-1].what, self.changes[-1].line) == (what, self._line):
                del self.changes[-1]  # a line in a loop
            gradients = gradients_of(self._model) if what == "gradients" else {}
            self.changes.append(Change(what, self._line, gradients))

    def _before_update(self, *_: Any) -> None:
        self._note()
        self._in_optimizer, frame = True, sys._getframe().f_back
        while frame is not None:
            if isinstance(scaler := frame.f_locals.get("self"), torch.amp.GradScaler):
                self.scale = float(scaler.get_scale())
            frame = frame.f_back

    def _after_update(self, *_: Any) -> None:
        self._marks, self._in_optimizer, self.updates = self._marked(), False, self.updates + 1
        self.updated = self.updated or parameters_of(self._model)


def _norms(tensors: list[Tensor]) -> list[float]:
    with torch.no_grad():
        return [float(norm) for norm in torch._foreach_norm(tensors)] if tensors else []


def _counted(_: Tensor, targets: Tensor, *__: Any, ignore_index: int = -100, **___: Any) -> int:
    return len(targets) if targets.is_floating_point() else int((targets != ignore_index).sum())
