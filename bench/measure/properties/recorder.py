"""Records a step's calls, and the operations that make the host wait, by stand-ins outside compiled code."""

import functools
import inspect
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Literal
from unittest import mock

import torch
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

from loopmark.bench.measure.proof.precision import graph_behind
from loopmark.loops.batch import Batch, tensors_in
from loopmark.loops.task import Task
from loopmark.loops.user_code import place_among

TORCH = Path(torch.__file__).parent
_HERE = Path(__file__).parent
_INNOCENT = tuple(str(TORCH / part) for part in ("optim", "amp"))


def frames_within(outermost: CodeType | None) -> list[FrameType]:
    """The running frames, innermost first, without this package's own, up to the frame that runs ``outermost``."""
    running = (frame for frame, _ in traceback.walk_stack(sys._getframe(1)))
    inner = takewhile(lambda frame: frame.f_code is not outermost, running)
    return [frame for frame in inner if Path(frame.f_code.co_filename).parent != _HERE]


def place_in(frames: Iterable[FrameType]) -> str:
    """The innermost line of the user's own code among ``frames``, which are ordered outermost first."""
    return place_among([(frame.f_code.co_filename, frame.f_lineno) for frame in frames])


def torchs_own_doing(frames: Iterable[FrameType]) -> bool:
    """True if the innermost frame belongs to torch's optimizers or gradient scaler, and not to the loop.

    Adam reads its step counter on the CPU; a scaler reads from the device whether to skip.
    """
    for frame in frames:
        filename = frame.f_code.co_filename
        if filename.startswith(_INNOCENT):
            return True
        if not filename.startswith((str(TORCH), "<")):
            return False
    return False


def standing_in(function: Callable[..., Any], call: Callable[..., Any]) -> Callable[..., Any]:
    """A function that looks and binds like ``function``, and returns ``call(function, *args, **kwargs)``."""

    @functools.wraps(function)
    def stand_in(*args: Any, **kwargs: Any) -> Any:
        return call(function, *args, **kwargs)

    return stand_in


Note = Callable[[str], None]

SHAPES = "makes a tensor whose size only the device knows"
OPERATIONS = {
    "_local_scalar_dense": "reads a number from the device, as .item(), float(), bool() and print do",
    **dict.fromkeys(("equal", "allclose"), "compares whole tensors"),
    **dict.fromkeys(("nonzero", "masked_select", "_unique2", "unique_dim", "unique_consecutive", "bincount"), SHAPES),
}
"""The operations of aten that always wait on a GPU."""
COPYING = {
    "cpu": ".cpu()", "to": '.to("cpu")', "numpy": ".numpy()", "__array__": "numpy", "tolist": ".tolist()",
    "__repr__": "print",
}  # fmt: skip
"""Methods of a tensor that copy it to the CPU, and their spelling in a message."""
EXPLICIT_WAITS: tuple[tuple[Any, str], ...] = (
    (torch.cuda, "calls torch.cuda.synchronize()"),
    (torch.cuda.Event, "waits for an event"),
    (torch.cuda.Stream, "waits for a stream"),
    (torch.accelerator, "calls torch.accelerator.synchronize()"),
)
"""Owners of a ``synchronize``, whose only purpose is to wait, each with its wording in a message."""


@contextmanager
def hidden_waits(device: torch.device, note: Note, outermost: CodeType, batch: Batch) -> Iterator[None]:
    """Call ``note`` for each operation that makes the host wait. ``batch`` is data, and may be copied from anywhere.

    On a CUDA device, torch reports waits. On a CPU nothing waits, so operations that wait on a GPU are known by name.
    """

    def unless_torchs_own(what: str) -> None:
        if not torchs_own_doing(frames_within(outermost)):
            note(what)

    with _told_by_torch(unless_torchs_own) if device.type == "cuda" else _known_by_name(unless_torchs_own, batch):
        yield


@contextmanager
def _told_by_torch(note: Note) -> Iterator[None]:
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings(action="always"):
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
    """Notes every torch operation that would wait on a GPU."""

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
        filled = name != "index" and args[2].numel() == 1  # torch turns it into a masked_fill
        return "indexes by a mask, whose number of ones only the device knows" if masks and not filled else None
    if name == "repeat_interleave":
        return SHAPES if kwargs.get("output_size") is None and function._overloadname == "Tensor" else None
    return OPERATIONS.get(name)


@contextmanager
def _known_by_name(note: Note, batch: Batch) -> Iterator[None]:
    with ExitStack() as stack:
        for name in COPYING:  # no operation shows these for a tensor already on the CPU
            stand_in = standing_in(getattr(Tensor, name), functools.partial(_note_copy, name, note, batch))
            stack.enter_context(mock.patch.object(Tensor, name, stand_in))
        stack.enter_context(_Operations(note))
        yield


def _note_copy(name: str, note: Note, batch: Batch, function: Any, tensor: Any, *args: Any, **kwargs: Any) -> Any:
    if not torch.compiler.is_compiling() and not any(tensor is part for part in tensors_in(batch)):
        # Only a literal "cpu" counts: a device in a variable may be the GPU on another machine.
        where = kwargs.get("device", args[0] if args else None)
        if name != "to" or (isinstance(where, str) and where == "cpu" and not kwargs.get("non_blocking")):
            note(f"copies to the CPU, as {COPYING[name]} does")
    return function(tensor, *args, **kwargs)


CLOSURE = "closure"
"""The detail of an update whose optimizer computes the loss and the gradients itself, as LBFGS does by a closure."""
What = Literal["model", "loss_fn", "zero_grad", "backward", "update", "wait"]


@dataclass(frozen=True)
class Event:
    """A call or wait of a step, at a line of the loop's own code."""

    what: What
    place: str
    detail: str = ""


@dataclass(frozen=True)
class Root:
    """The tensor that a backward pass began at: the loss, scaled or not."""

    place: str
    shape: tuple[int, ...]
    needs_gradient: bool
    seeded: bool  # True if an initial gradient was given, as a tensor other than a scalar needs
    numbers: tuple[int, ...]  # sequence numbers of the operations that led to it, in their order of execution
    reached: frozenset[str]  # parameters that led to it


class Recorder:
    """Wraps a task's model, loss function and optimizer, passes every call on, and notes it while ``on``.

    It stays in place for the task's life, so that compiled code stays valid.
    """

    def __init__(self, task: Task) -> None:
        self.on = False
        self.outermost: CodeType | None = None  # the code that runs the step; frames outside it are not the loop's
        self.events: list[Event] = []
        self.roots: list[Root] = []
        self.forks: list[str] = []  # places where the process was forked, `on` or not
        self.graded: set[str] = set()  # parameters with a nonzero gradient when an update began
        self._task, self._within = task, set[str]()
        self._updates: list[bool] = []  # the running updates, outermost first: True for one that was noted
        self._take_over(task)

    def __deepcopy__(self, _: Any) -> "Recorder":
        return self  # a copy of the model (for a moving average) calls its own forward and reports here

    @contextmanager
    def installed(self, outermost: CodeType) -> Iterator[None]:
        """Also wrap torch's backward, scaler and waits, while ``outermost`` runs a step."""
        self.outermost = outermost
        self._within, self._updates = set(), []  # a step that raised may have left some
        with ExitStack() as stack:
            taken_over: tuple[tuple[Any, str, Callable[..., Any]], ...] = (
                (torch.autograd, "backward", self._differentiate),
                (torch.autograd, "grad", self._differentiate),
                (torch.amp.GradScaler, "step", functools.partial(self._call, "update")),
                *((owner, "synchronize", functools.partial(self._wait, told)) for owner, told in EXPLICIT_WAITS),
            )
            for owner, name, call in taken_over:
                stack.enter_context(mock.patch.object(owner, name, standing_in(getattr(owner, name), call)))
            # For all optimizers: one of the task's may update by another that it holds, as SAM does.
            stack.enter_context(register_optimizer_step_pre_hook(self._begin_update))
            stack.enter_context(register_optimizer_step_post_hook(self._end_update))
            _listeners.append(self)
            try:
                yield
            finally:
                _listeners.remove(self)

    def note(self, what: What, detail: str = "") -> None:
        if self.on:
            self.events.append(Event(what, self.place(), detail))

    def place(self) -> str:
        """The running line of the loop's own code."""
        return place_in(reversed(frames_within(self.outermost)))

    def _take_over(self, task: Task) -> None:
        model: Any = task.model
        # In the instance's own dictionary: a compiled module forwards attributes set on it to the inner one.
        vars(model)["forward"] = functools.partial(self._call, "model", model.forward)
        vars(model)["zero_grad"] = functools.partial(self._call, "zero_grad", model.zero_grad)
        loss_fn: Any = task.loss_fn
        if isinstance(loss_fn, nn.Module):
            vars(loss_fn)["forward"] = functools.partial(self._call, "loss_fn", loss_fn.forward)
        else:
            task.loss_fn = functools.update_wrapper(functools.partial(self._call, "loss_fn", loss_fn), loss_fn)
        for optimizer in {id(one): one for one in (task.optimizer, *task.optimizers.values())}.values():
            one: Any = optimizer
            one.zero_grad = functools.partial(self._call, "zero_grad", one.zero_grad)

    def _call(self, what: What, inner: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        # Recomputation in backward, as in checkpoints, is not a call by the loop.
        if torch.compiler.is_compiling() or what in self._within or "backward" in self._within:
            return inner(*args, **kwargs)
        self.note(what, str(id(args[1])) if what == "update" else "")  # a scaler's step gets the optimizer
        if what == "update" and self.on:
            self.graded.update(graded(self._task))
        self._within.add(what)
        try:
            with _disable_current_modes() if _compiled(inner) else nullcontext():
                return inner(*args, **kwargs)
        finally:
            self._within.discard(what)

    def _begin_update(self, optimizer: Any, arguments: Any, options: Any) -> None:
        ours = {id(parameter) for parameter in self._task.model.parameters()}
        moved = (parameter for group in optimizer.param_groups for parameter in group["params"])
        noted = "update" not in self._within and any(id(parameter) in ours for parameter in moved)
        self._updates.append(noted)
        if noted:
            closure = any(map(callable, (*arguments[1:], *options.values())))
            self.note("update", CLOSURE if closure else str(id(optimizer)))
            if self.on:
                self.graded.update(graded(self._task))
            self._within.add("update")

    def _end_update(self, *_: Any) -> None:
        if self._updates.pop():
            self._within.discard("update")

    def _differentiate(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        given = inspect.signature(function).bind(*args, **kwargs).arguments
        if self._within & {"model", "loss_fn"} or self._is_part_of_the_loss(given):
            return function(*args, **kwargs)
        if self.on and "backward" not in self._within:
            began: Any = given.get("tensors", given.get("outputs"))
            seeded = given.get("grad_tensors", given.get("grad_outputs")) is not None
            root = began if isinstance(began, Tensor) else next(iter(began), None)
            if isinstance(root, Tensor):
                nodes = [*graph_behind(root)]
                leaves = {id(node.variable) for node in nodes if "AccumulateGrad" in node.name()}  # they have no number
                numbers = tuple(sorted(node._sequence_nr() for node in nodes if "AccumulateGrad" not in node.name()))
                named = zip(names_of(self._task), self._task.model.parameters(), strict=True)
                reached = frozenset(name for name, parameter in named if id(parameter) in leaves)
                self.roots.append(Root(self.place(), tuple(root.shape), root.requires_grad, seeded, numbers, reached))
        return self._call("backward", function, *args, **kwargs)

    def _is_part_of_the_loss(self, given: dict[str, Any]) -> bool:
        """True for a gradient that is differentiated again, or that is of no parameter, as in a gradient penalty."""
        inputs = given.get("inputs")
        if inputs is None:  # each leaf gets its gradient
            return False
        wanted = {id(one) for one in ([inputs] if isinstance(inputs, Tensor) else inputs)}
        again = "outputs" in given and given.get("create_graph")
        return bool(again) or not any(id(parameter) in wanted for parameter in self._task.model.parameters())

    def _wait(self, told: str, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        frames = frames_within(self.outermost)
        # Torch's compiler waits while it tries kernels, which is not the loop's wait.
        if not frames or not frames[0].f_code.co_filename.startswith(str(TORCH)):
            self.note("wait", told)
        # Without a CUDA device, torch would raise.
        return function(*args, **kwargs) if torch.cuda.is_available() else None


def names_of(task: Task) -> list[str]:
    """The parameters' names without torch.compile's prefix."""
    return [name.replace("_orig_mod.", "") for name, _ in task.model.named_parameters()]


def graded(task: Task) -> set[str]:
    """The parameters with a nonzero gradient."""
    with torch.no_grad(), _disable_current_modes():
        named = zip(names_of(task), task.model.parameters(), strict=True)
        return {name for name, p in named if p.grad is not None and bool(p.grad.to_dense().any())}


def _compiled(function: Any) -> bool:
    found = getattr(function, "__self__", function)
    return isinstance(found, torch._dynamo.OptimizedModule) or hasattr(function, "_torchdynamo_orig_callable")


def operations_so_far() -> int:
    """The sequence number of the next operation; each thread counts its operations."""
    with torch.enable_grad(), torch.inference_mode(False):
        node: Any = (torch.ones((), requires_grad=True) * 1).grad_fn
    return int(node._sequence_nr())


_listeners: list[Recorder] = []


def _before_fork() -> None:
    for recorder in _listeners:
        recorder.forks.append(recorder.place())


def _after_fork_in_child() -> None:
    if _listeners:
        os._exit(0)  # the child is a second copy of the loop and of its examination


os.register_at_fork(before=_before_fork, after_in_child=_after_fork_in_child)
