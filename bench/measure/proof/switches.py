"""torch's switches that hold for a whole process, and that a technique may turn."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch

T = TypeVar("T")


@dataclass(frozen=True)
class Switches:
    """How they stood at one moment."""

    matmul_precision: str | None
    """None where torch's newer settings (2.9, ``fp32_precision``) have been used, which the older ones cannot tell."""
    cudnn_tf32: bool | None
    cudnn_benchmark: bool
    deterministic: bool
    warn_only: bool

    @classmethod
    def now(cls) -> "Switches":
        """As they stand."""
        return cls(
            matmul_precision=_told(torch.get_float32_matmul_precision),
            cudnn_tf32=_told(lambda: torch.backends.cudnn.allow_tf32),
            cudnn_benchmark=torch.backends.cudnn.benchmark,
            deterministic=torch.are_deterministic_algorithms_enabled(),
            warn_only=torch.is_deterministic_algorithms_warn_only_enabled(),
        )

    @contextmanager
    def restored(self) -> Iterator[None]:
        """These, for as long as the context lasts."""
        before = self.now()
        before._change_to(self)
        try:
            yield
        finally:
            self._change_to(before)

    def _change_to(self, other: "Switches") -> None:
        # Only what differs is touched: torch warns of some of these when they are set, whatever to.
        if other.matmul_precision not in (None, self.matmul_precision):
            torch.set_float32_matmul_precision(other.matmul_precision)
        if other.cudnn_tf32 not in (None, self.cudnn_tf32):
            torch.backends.cudnn.allow_tf32 = other.cudnn_tf32
        if other.cudnn_benchmark != self.cudnn_benchmark:
            torch.backends.cudnn.benchmark = other.cudnn_benchmark
        if (other.deterministic, other.warn_only) != (self.deterministic, self.warn_only):
            torch.use_deterministic_algorithms(other.deterministic, warn_only=other.warn_only)


def _told(ask: Callable[[], T]) -> T | None:
    try:
        return ask()
    except RuntimeError:
        return None
