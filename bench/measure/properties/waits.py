"""What makes the host wait for the device: said outright, or hidden in an operation that needs a number from it.

Where there is a device, torch itself tells (``torch.cuda.set_sync_debug_mode``). On a CPU nothing waits, so what would
wait on a GPU is known by name.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from types import CodeType
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from loopmark.bench.measure.properties.places import frames_within, torchs_own_doing


@contextmanager
def replaced(owner: Any, name: str, stand_in: Any) -> Iterator[None]:
    """``owner.name`` is ``stand_in``; what ``owner`` inherits rather than has, it inherits again afterwards."""
    own, before = name in vars(owner), getattr(owner, name)
    setattr(owner, name, stand_in)
    try:
        yield
    finally:
        if own:
            setattr(owner, name, before)
        else:
            delattr(owner, name)


Note = Callable[[str], None]

READS = "reads a number from the device, as .item(), float(), bool() and print do"
SHAPES = "makes a tensor whose size only the device knows"
OPERATIONS = {
    "_local_scalar_dense": READS,
    "equal": "compares whole tensors",
    "allclose": "compares whole tensors",
    "nonzero": SHAPES,
    "masked_select": SHAPES,
    "_unique2": SHAPES,
    "unique_dim": SHAPES,
    "unique_consecutive": SHAPES,
    "bincount": SHAPES,
}
"""Of aten, those that wait on a GPU whatever they are given."""
COPYING = {
    "cpu": ".cpu()", "to": '.to("cpu")', "numpy": ".numpy()", "__array__": "numpy", "tolist": ".tolist()",
    "__repr__": "print",
}  # fmt: skip
"""Methods of a tensor that copy it to the CPU, and how a person writes them."""


def explicit_waits() -> Iterator[tuple[Any, str, str]]:
    """The functions whose only purpose is to wait: owner, attribute, and how a person writes it."""
    yield torch.cuda, "synchronize", "calls torch.cuda.synchronize()"
    yield torch.cuda.Event, "synchronize", "waits for an event"
    yield torch.cuda.Stream, "synchronize", "waits for a stream"
    if hasattr(torch, "accelerator"):
        yield torch.accelerator, "synchronize", "calls torch.accelerator.synchronize()"


@contextmanager
def hidden_waits(device: torch.device, note: Note, outermost: CodeType, batch: tuple[Any, ...]) -> Iterator[None]:
    """Call ``note`` for whatever makes the host wait; ``batch`` is data, which may come from anywhere."""

    def unless_torchs_own(what: str) -> None:
        if not torchs_own_doing(frames_within(outermost)):
            note(what)

    watched = _told_by_torch if device.type == "cuda" else _known_by_name
    with watched(unless_torchs_own, batch):
        yield


@contextmanager
def _told_by_torch(note: Note, _: tuple[Any, ...]) -> Iterator[None]:
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        show = warnings.showwarning

        def showwarning(message: Warning | str, *rest: Any, **more: Any) -> None:
            if "synchronizing CUDA operation" in str(message):
                note("calls an operation that waits for the device")
            else:
                show(message, *rest, **more)

        warnings.showwarning = showwarning
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield
        finally:
            torch.cuda.set_sync_debug_mode(before)


class _Operations(TorchDispatchMode):
    """Sees every operation of torch that would wait on a GPU."""

    def __init__(self, note: Note) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._note = note

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if why := _why_it_waits(func, args, kwargs or {}):
            self._note(why)
        return func(*args, **(kwargs or {}))


def _why_it_waits(function: Any, args: Any, kwargs: dict[str, Any]) -> str | None:
    name = function._schema.name.partition("::")[2]
    if name in ("index", "index_put", "index_put_", "_index_put_impl_"):
        masks = any(isinstance(i, Tensor) and i.dtype in (torch.bool, torch.uint8) for i in args[1])
        filled = name != "index" and args[2].numel() == 1  # torch makes a masked_fill of it
        return "indexes by a mask, whose number of ones only the device knows" if masks and not filled else None
    if name == "repeat_interleave":
        return SHAPES if kwargs.get("output_size") is None and function._overloadname == "Tensor" else None
    return OPERATIONS.get(name)


@contextmanager
def _known_by_name(note: Note, batch: tuple[Any, ...]) -> Iterator[None]:
    # A tensor that is on the CPU already is copied by no operation.
    with ExitStack() as stack:
        for name in COPYING:
            stack.enter_context(replaced(Tensor, name, _noting(name, note, batch)))
        stack.enter_context(_Operations(note))
        yield


def _noting(name: str, note: Note, batch: tuple[Any, ...]) -> Callable[..., Any]:
    function, written = getattr(Tensor, name), COPYING[name]

    @wraps(function)
    def noting(tensor: Any, *args: Any, **kwargs: Any) -> Any:
        if not torch.compiler.is_compiling() and not any(tensor is part for part in batch):
            # By its name only: a device that a variable holds may be the GPU where there is one.
            where = kwargs.get("device", args[0] if args else None)
            if name != "to" or (isinstance(where, str) and where == "cpu" and not kwargs.get("non_blocking")):
                note(f"copies to the CPU, as {written} does")
        return function(tensor, *args, **kwargs)

    return noting
