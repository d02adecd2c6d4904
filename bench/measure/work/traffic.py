"""The least bytes that have to move: each tensor once, however often the operations of one phase touch it.

What a phase reads of tensors that were there before it, and what it writes and leaves behind, has to move between the
processor and its memory; whatever is made and dropped within it might never leave the processor, if all were fused.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef

aten = torch.ops.aten
GATHERS = {aten.index, aten.index_select, aten.gather, aten.embedding, aten.take}
"""Read only as much of their first tensor as they write."""
OVERWRITES = {aten.copy_, aten.zero_, aten.fill_}
"""Write to their first tensor without reading it."""
MAKES_NOTHING = {aten.empty, aten.empty_like, aten.empty_strided, aten.new_empty, aten.new_empty_strided}
"""Set memory aside and write nothing there."""


class Traffic:
    """Follows the operations of one phase after the other."""

    def __init__(self) -> None:
        self._read: dict[int, int] = {}
        self._written: dict[int, tuple[StorageWeakRef, int]] = {}

    def note(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
        """One operation, done."""
        packet = func._overloadpacket
        if _is_view(func) or packet in MAKES_NOTHING:
            return
        changed = {_key(tensor) for tensor in _mutated(func, args, kwargs)}
        results = list(_tensors(out))
        most = sum(map(_bytes, results)) if packet in GATHERS else None
        overwritten = {_key(tensor) for tensor in _tensors(kwargs.get("out"))}
        if packet in OVERWRITES:
            overwritten.add(_key(args[0]))
        for tensor in _tensors((*args, *kwargs.values())):
            key = _key(tensor)
            if key not in self._written and key not in overwritten:
                touched = _bytes(tensor) if most is None else min(most, _bytes(tensor))
                self._read[key] = max(self._read.get(key, 0), touched)
            if key in changed:
                self._write(tensor)
        for tensor in results:
            self._write(tensor)

    def end_phase(self) -> int:
        """The least bytes since the phase before ended."""
        left = [count for reference, count in self._written.values() if not reference.expired()]
        total = sum(self._read.values()) + sum(left)
        self._read, self._written = {}, {}
        return total

    def _write(self, tensor: Tensor) -> None:
        key = _key(tensor)
        before = self._written.get(key, (None, 0))[1]
        self._written[key] = StorageWeakRef(tensor.untyped_storage()), max(before, _bytes(tensor))


def _is_view(func: Any) -> bool:
    views = any(r.alias_info and not r.alias_info.is_write for r in func._schema.returns)
    return views or func._overloadpacket is aten._unsafe_view


def _mutated(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[Tensor]:
    """The tensors that ``func`` says it writes to."""
    for number, place in enumerate(func._schema.arguments):
        # A fused optimizer says that it writes to the gradients, which it does only where it unscales them.
        if place.alias_info and place.alias_info.is_write and place.name != "grads":
            given = args[number] if number < len(args) else kwargs.get(place.name)
            yield from _tensors((given,))


def _tensors(values: Any) -> Iterator[Tensor]:
    if isinstance(values, Tensor):
        if values.layout is torch.strided:
            yield values
    elif isinstance(values, Iterable) and not isinstance(values, str):
        for value in values:
            yield from _tensors(value)


def _key(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


def _bytes(tensor: Tensor) -> int:
    """What of its storage it covers; one value that is spread over many counts once."""
    return min(tensor.numel() * tensor.element_size(), tensor.untyped_storage().nbytes())
