"""Rounding at random: what a step would give if every operation rounded otherwise.

The method is Monte Carlo arithmetic (Parker, "Monte Carlo Arithmetic", 1997): whatever an operation reads and whatever
it writes is moved at random by up to the unit roundoff of the precision in question. Results of sums get more, since a
kernel sums in any order it likes: sums of n terms in float32 are off by about sqrt(n) units (Higham and Mary, "A New
Approach to Probabilistic Rounding Error Analysis", 2019), where n is the number of values read for each one written.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

FLOAT32_BITS = 24


class RandomRounding(TorchDispatchMode):
    """While it is on, every operation rounds at random, forward and backward.

    Args:
        bits: significant bits that are kept: 24 in float32, 11 in float16 and TensorFloat-32, 8 in bfloat16.
        seed: of the rounding.
        device: that the operations run on.
        constants: tensors that are read as they are, such as a model's buffers: an operation that is handed
            them by position may write to them without saying so.
    """

    def __init__(self, bits: int, seed: int, device: torch.device, constants: Iterable[Tensor] = ()) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._unit = 2.0**-bits
        self._random = torch.Generator(device).manual_seed(seed)
        self._constants = {id(tensor) for tensor in constants}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run ``func`` on inputs rounded at random, and round what it writes."""
        schema, kwargs = func._schema, kwargs or {}
        read = sum(_numbers(args))
        if not read or any(r.alias_info and not r.alias_info.is_write for r in schema.returns):
            return func(*args, **kwargs)  # a constant, such as a range of positions, or a view
        rounded = [
            value if place.alias_info else _mapped(value, self._read)
            for value, place in zip(args, schema.arguments, strict=False)
        ]
        written = func(*rounded, **kwargs)
        results = written if len(schema.returns) > 1 else (written,)
        for result in results:
            _mapped(result, lambda tensor: self._write(tensor, read))
        if "batch_norm" in schema.name:  # its running statistics are written to, which its schema does not say
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
    """``value`` with ``change`` applied to each tensor of numbers in it."""
    if isinstance(value, Tensor):
        numbers = value.is_floating_point() and value.layout is torch.strided and value.numel()
        return change(value) if numbers else value
    if isinstance(value, list | tuple):
        return [_mapped(item, change) for item in value]
    return value


def _numbers(values: Iterable[Any]) -> Iterable[int]:
    for value in values:
        if isinstance(value, Tensor) and value.is_floating_point():
            yield value.numel()
        elif isinstance(value, list | tuple):
            yield from _numbers(value)
