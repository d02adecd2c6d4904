"""Every ``yield`` inside a ``with``, from the syntax tree: the context would stay on in whoever drives the step."""

import ast
import inspect
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from types import CodeType

import torch


def yields_inside_with(source: str) -> list[int]:
    """The lines of every ``yield`` that stands inside a ``with`` of its own function."""
    return sorted(_held_yields(ast.parse(source), held=False))


@cache
def held_yields_of(code: CodeType) -> list[int]:
    """The lines, in its file, of every such ``yield`` of a function; none where its source cannot be had."""
    try:
        lines, first = inspect.getsourcelines(code)
        found = yields_inside_with(textwrap.dedent("".join(lines)))
    except (OSError, TypeError, SyntaxError, ValueError):
        return []
    return [line + max(first, 1) - 1 for line in found]


def _held_yields(node: ast.AST, held: bool) -> Iterator[int]:
    for child in ast.iter_child_nodes(node):
        if held and isinstance(child, ast.Yield | ast.YieldFrom):
            yield child.lineno
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from _held_yields(child, held=False)
        else:
            yield from _held_yields(child, held or isinstance(child, ast.With | ast.AsyncWith))


@dataclass(frozen=True)
class Modes:
    """How they stand."""

    gradients: bool
    inference: bool
    autocast: bool
    anomaly: bool
    default_dtype: torch.dtype
    device_type: str

    @classmethod
    def now(cls, device_type: str) -> "Modes":
        """As they stand now."""
        return cls(
            gradients=torch.is_grad_enabled(),
            inference=torch.is_inference_mode_enabled(),
            autocast=torch.is_autocast_enabled(device_type),
            anomaly=torch.is_anomaly_enabled(),
            default_dtype=torch.get_default_dtype(),
            device_type=device_type,
        )

    def left_on(self, before: "Modes") -> tuple[str, ...]:
        """What is on now and was not ``before``, in torch's own words."""
        changed = {
            "autocast": self.autocast and not before.autocast,
            "inference_mode": self.inference and not before.inference,
            "no_grad": not self.gradients and before.gradients and not self.inference,
            "detect_anomaly": self.anomaly and not before.anomaly,
            f"a default dtype of {self.default_dtype}": self.default_dtype != before.default_dtype,
        }
        return tuple(name for name, is_on in changed.items() if is_on)

    def put_back(self) -> None:
        """Turn what a step has left on off again, so that it does not reach the next one."""
        torch.set_grad_enabled(self.gradients)
        torch.set_autocast_enabled(self.device_type, self.autocast)
        torch.set_default_dtype(self.default_dtype)
        torch.autograd.set_detect_anomaly(self.anomaly)
