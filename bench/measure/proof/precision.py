"""The precision of a loop's arithmetic: torch's switches, the bits that they keep, and random rounding.

Random rounding is Monte Carlo arithmetic (Parker, "Monte Carlo Arithmetic", 1997): every value that an operation reads
or writes is changed at random by up to the unit roundoff of the precision. Results of sums change more, since kernels
may sum in any order: sums of n terms in float32 have an error of about sqrt(n) units (Higham and Mary, "A New Approach
to Probabilistic Rounding Error Analysis", 2019), where n is the number of values read for each value written.
"""

import functools
import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from loopmark.loops.task import Task

FLOAT32_BITS = 24


class RandomRounding(TorchDispatchMode):
    """Makes every operation on ``device`` round at random while it is active, forward and backward.

    Args:
        bits: significant bits to keep: 24 in float32, 11 in float16 and TensorFloat-32, 8 in bfloat16.
        constants: tensors read without rounding, such as a model's buffers: an operation that gets
            them by position may write to them, which its schema does not show.
    """

    def __init__(self, bits: int, seed: int, device: torch.device, constants: Iterable[Tensor] = ()) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._unit = 2.0**-bits
        self._random = torch.Generator(device).manual_seed(seed)
        self._constants = {id(tensor) for tensor in constants}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        schema, kwargs = func._schema, kwargs or {}
        read = sum(leaf.numel() for leaf in tree_leaves(args) if isinstance(leaf, Tensor) and leaf.is_floating_point())
        if not read or any(r.alias_info and not r.alias_info.is_write for r in schema.returns):
            return func(*args, **kwargs)  # a constant, such as a range of positions, or a view
        read_once = functools.cache(self._read)  # `x != x` must stay false: torch tests for NaN so
        rounded = [
            value if place.alias_info else _mapped(value, read_once)
            for value, place in zip(args, schema.arguments, strict=False)
        ]
        written = func(*rounded, **kwargs)
        results = written if len(schema.returns) > 1 else (written,)
        for result in results:
            _mapped(result, lambda tensor: self._write(tensor, read))
        if "batch_norm" in schema.name:  # it writes its running statistics, which its schema does not show
            _mapped([value for value in args if id(value) in self._constants], lambda t: self._write(t, read))
        return written

    def _read(self, tensor: Tensor) -> Tensor:
        return tensor if id(tensor) in self._constants else tensor * (1 + self._noise(tensor, self._unit))

    def _write(self, tensor: Tensor, read: int) -> Tensor:
        unit = self._unit + 2.0**-FLOAT32_BITS * math.sqrt(max(1.0, read / tensor.numel()))
        return tensor.mul_(1 + self._noise(tensor, unit))

    def _noise(self, tensor: Tensor, unit: float) -> Tensor:
        return torch.empty_like(tensor).uniform_(-unit, unit, generator=self._random)


def _mapped(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """``value`` with ``change`` applied to each strided floating-point tensor in it."""

    def changed(leaf: Any) -> Any:
        numbers = isinstance(leaf, Tensor) and leaf.is_floating_point() and leaf.layout is torch.strided
        return change(leaf) if numbers and leaf.numel() else leaf

    return tree_map(changed, value)


T = TypeVar("T")


@dataclass(frozen=True)
class Switches:
    """Torch's switches for precision and determinism at one moment."""

    matmul_precision: str | None
    """None after use of torch's newer settings (2.9, ``fp32_precision``): the older ones then cannot be read."""
    cudnn_tf32: bool | None
    cudnn_benchmark: bool
    deterministic: bool
    warn_only: bool

    @classmethod
    def now(cls) -> "Switches":
        return cls(
            matmul_precision=_told(torch.get_float32_matmul_precision),
            cudnn_tf32=_told(lambda: torch.backends.cudnn.allow_tf32),
            cudnn_benchmark=torch.backends.cudnn.benchmark,
            deterministic=torch.are_deterministic_algorithms_enabled(),
            warn_only=torch.is_deterministic_algorithms_warn_only_enabled(),
        )

    @contextmanager
    def restored(self) -> Iterator[None]:
        """Set torch's switches to these within the context."""
        before = self.now()
        before._change_to(self)
        try:
            yield
        finally:
            self.now()._change_to(before)

    def _change_to(self, other: "Switches") -> None:
        # Only switches that differ are set: torch warns about some of them whenever they are set.
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


TF32_BITS, BFLOAT16_BITS = 11, 8  # significant bits; TensorFloat-32 has the same number as float16


def bits_of(kind: torch.dtype) -> int:
    """Significant bits of a floating-point type, with the hidden bit: 24 for float32."""
    return 1 - round(math.log2(torch.finfo(kind).eps))


def least_bits(task: Task, predictions: Tensor) -> int:
    """The fewest significant bits in ``task``'s settings and in the computation of ``predictions``.

    It covers the parameters' type, autocast, the user's own casts, and torch's use of TensorFloat-32 on a CUDA device,
    which is the default for convolutions.
    """
    # Predictions are often cast back to float32 after an autocast, so the types recorded by autograd count.
    kinds = {written.dtype for node in graph_behind(predictions) for written in node._input_metadata}
    kinds |= {predictions.dtype, *(parameter.dtype for parameter in task.plain_model.parameters())}
    if isinstance(task.autocast, torch.autocast):
        kinds.add(task.autocast.fast_dtype)
    return min(*(bits_of(kind) for kind in kinds if kind.is_floating_point), *_float32_bits(task))


def graph_behind(tensor: Tensor) -> Iterator[Any]:
    """Each autograd node that led to ``tensor``."""
    seen: set[Node] = set()
    ahead = [tensor.grad_fn]
    while ahead:
        node = ahead.pop()
        if node is not None and node not in seen:
            seen.add(node)
            yield node
            ahead += [before for before, _ in node.next_functions]


def _float32_bits(task: Task) -> list[int]:
    now = Switches.now()
    # An unreadable setting was made by torch's newer names, which mostly enable TensorFloat-32.
    bits = [{"highest": 24, "medium": BFLOAT16_BITS}.get(now.matmul_precision or "high", TF32_BITS), 24]
    convolves = any(isinstance(m, nn.Conv1d | nn.Conv2d | nn.Conv3d) for m in task.plain_model.modules())
    if task.device.type == "cuda" and convolves and now.cudnn_tf32 is not False:
        bits.append(TF32_BITS)
    return bits
