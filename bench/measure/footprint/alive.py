"""Every tensor that is alive, followed from operator to operator. A CPU's allocator keeps no statistics; this does."""

import weakref
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter


class AliveBytes(TorchDispatchMode):
    """Counts the bytes of all storages that an operator has made, or that were handed over, until they are freed.

    Storages are followed, not tensors: a view takes nothing, and what only autograd still holds is alive. While the
    mode is on, each operator adds to ``moments``, its backward included. What an operator uses for itself while it
    runs is not seen, nor is anything inside compiled code.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes = 0
        self.moments: list[int] = []
        self.operators: list[str] = []
        self._sizes: dict[int, int] = {}
        self._references: dict[int, Any] = {}

    def hold(self, tensors: Iterable[Any]) -> None:
        """Follow ``tensors`` too, from now on; whatever is none is passed over."""
        for tensor in tensors:
            if isinstance(tensor, Tensor):
                self._follow(tensor)

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run one operator, and count what it made."""
        result = func(*args, **(kwargs or {}))
        self.hold(tree_iter(result))
        self.moments.append(self.bytes)
        self.operators.append(str(func))
        return result

    def _follow(self, tensor: Tensor) -> None:
        try:
            storage = tensor.untyped_storage()
        except NotImplementedError:  # a sparse tensor has none of its own; its parts are made by operators, too
            return
        if storage.device.type == "meta":
            return
        key, size = storage._cdata, storage.nbytes()
        # Seen before, it may have been resized in place.
        self.bytes += size - self._sizes.get(key, 0)
        self._sizes[key] = size
        if key not in self._references:
            self._references[key] = weakref.ref(storage, lambda _: self._forget(key))

    def _forget(self, key: int) -> None:
        self.bytes -= self._sizes.pop(key)
        del self._references[key]


def held_by(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> Iterable[Any]:
    """What a task holds between its steps: weights, buffers, gradients, optimizer state."""
    for parameter in model.parameters():
        yield parameter
        yield parameter.grad
    yield from model.buffers()
    yield from tree_iter(list(optimizer.state.values()))
