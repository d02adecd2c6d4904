"""Writes down what a step calls, by stand-ins for what a task gives it: outside whatever torch has compiled."""

import functools
import inspect
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import CodeType
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import _disable_current_modes

from loopmark.bench.measure.properties.places import frames_within, place_within, said_outright
from loopmark.bench.measure.properties.waits import explicit_waits, replaced
from loopmark.loops.task import Task

What = Literal["model", "loss_fn", "zero_grad", "backward", "update", "wait"]


@dataclass(frozen=True)
class Event:
    """Something that a step did."""

    what: What
    place: str
    """The loop's own line."""
    detail: str = ""


@dataclass(frozen=True)
class Root:
    """What a backward pass began at: the loss, scaled or not."""

    place: str
    shape: tuple[int, ...]
    needs_gradient: bool
    seeded: bool
    """Whether it was given a gradient to begin with, as what is no scalar needs."""
    numbers: tuple[int, ...]
    """The sequence numbers of the operations that led to it, which tell when each was done."""


class Recorder:
    """Takes a task's model, loss function and optimizer over, passes every call on, and notes it while ``on``.

    It stays in place for the task's life: code that is compiled around it stays valid.
    """

    def __init__(self, task: Task) -> None:
        self.on = False
        self.outermost: CodeType | None = None
        """The code that drives the step now: lines further out are not the loop's."""
        self.events: list[Event] = []
        self.roots: list[Root] = []
        self.forks: list[str] = []
        """Where the process was forked, also while it was not ``on``."""
        self.graded: set[str] = set()
        """Names of the parameters that had a gradient, other than zero, when an update began."""
        self._task, self._within = task, set[str]()
        self._take_over(task)

    def __deepcopy__(self, _: Any) -> "Recorder":
        return self  # a copy of the model, for a moving average say, calls its own forward and reports here

    @contextmanager
    def installed(self, outermost: CodeType) -> Iterator[None]:
        """Also take over, while ``outermost`` drives a step, torch's own: backward, the scaler, what waits."""
        self.outermost = outermost
        with ExitStack() as stack:
            for name in ("backward", "grad"):
                stack.enter_context(replaced(torch.autograd, name, self._backward(getattr(torch.autograd, name))))
            scaler = torch.amp.GradScaler
            stack.enter_context(replaced(scaler, "step", self._wrapped("update", scaler.step)))
            for owner, name, label in explicit_waits():
                stack.enter_context(replaced(owner, name, self._waiting(getattr(owner, name), label)))
            _listeners.append(self)
            try:
                yield
            finally:
                _listeners.remove(self)

    def note(self, what: What, detail: str = "") -> None:
        """Write it down, with the loop's line that did it."""
        if self.on:
            self.events.append(Event(what, self.place(), detail))

    def place(self) -> str:
        """The loop's own line that is running."""
        return place_within(frames_within(self.outermost))

    def _take_over(self, task: Task) -> None:
        model: Any = task.model
        # In the instance's own dictionary: a compiled module passes what is set on it to the one inside.
        vars(model)["forward"] = functools.partial(self._call, "model", model.forward)
        vars(model)["zero_grad"] = functools.partial(self._call, "zero_grad", model.zero_grad)
        loss_fn: Any = task.loss_fn
        if isinstance(loss_fn, nn.Module):
            vars(loss_fn)["forward"] = functools.partial(self._call, "loss_fn", loss_fn.forward)
        else:
            task.loss_fn = functools.update_wrapper(functools.partial(self._call, "loss_fn", loss_fn), loss_fn)
        optimizer: Any = task.optimizer
        optimizer.step = self._method("update", optimizer.step)
        optimizer.zero_grad = self._method("zero_grad", optimizer.zero_grad)

    def _call(self, what: What, inner: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        # Computing again in backward, as checkpoints do, is no call of the loop's.
        if torch.compiler.is_compiling() or what in self._within or "backward" in self._within:
            return inner(*args, **kwargs)
        self.note(what)
        if what == "update" and self.on:
            self.graded.update(graded(self._task))
        self._within.add(what)
        try:
            if not _compiled(inner):
                return inner(*args, **kwargs)
            with _disable_current_modes():
                return inner(*args, **kwargs)
        finally:
            self._within.discard(what)

    def _wrapped(self, what: What, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def recorded(*args: Any, **kwargs: Any) -> Any:
            return self._call(what, function, *args, **kwargs)

        return recorded

    def _method(self, what: What, method: Any) -> Any:
        """A stand-in that is bound as ``method`` is: a scheduler of learning rates wraps the function within."""
        if inspect.ismethod(method):
            return self._wrapped(what, method.__func__).__get__(method.__self__)
        return self._wrapped(what, method)

    def _backward(self, function: Callable[..., Any]) -> Callable[..., Any]:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def recorded(*args: Any, **kwargs: Any) -> Any:
            if self.on and "backward" not in self._within:
                given = signature.bind(*args, **kwargs).arguments
                began: Any = given.get("tensors", given.get("outputs"))
                seeded = given.get("grad_tensors", given.get("grad_outputs")) is not None
                root = began if isinstance(began, Tensor) else next(iter(began), None)
                if isinstance(root, Tensor):
                    self.roots.append(Root(self.place(), tuple(root.shape), root.requires_grad, seeded, _numbers(root)))
            return self._call("backward", function, *args, **kwargs)

        return recorded

    def _waiting(self, function: Callable[..., Any], label: str) -> Callable[..., Any]:
        @functools.wraps(function)
        def recorded(*args: Any, **kwargs: Any) -> Any:
            if said_outright(frames_within(self.outermost)):
                self.note("wait", label)
            # Without a device there is nothing to wait for, and torch would raise.
            return function(*args, **kwargs) if torch.cuda.is_available() else None

        return recorded


def names_of(task: Task) -> list[str]:
    """The parameters' names, as they are without torch.compile's prefix."""
    return [name.replace("_orig_mod.", "") for name, _ in task.model.named_parameters()]


def graded(task: Task) -> set[str]:
    """The parameters that have a gradient that is not zero throughout."""
    with torch.no_grad(), _disable_current_modes():
        parameters = zip(names_of(task), task.model.parameters(), strict=True)
        return {name for name, p in parameters if p.grad is not None and bool(p.grad.to_dense().any())}


def _compiled(function: Any) -> bool:
    found = getattr(function, "__self__", function)
    return isinstance(found, torch._dynamo.OptimizedModule) or hasattr(function, "_torchdynamo_orig_callable")


def _numbers(root: Tensor) -> tuple[int, ...]:
    """The sequence numbers of the graph behind ``root``; a thread counts its operations up."""
    seen, found, waiting = set[int](), list[int](), [root.grad_fn]
    while waiting:
        node: Any = waiting.pop()
        if node is None or id(node) in seen:
            continue
        seen.add(id(node))
        if "AccumulateGrad" not in node.name():  # a parameter's own, which has none
            found.append(node._sequence_nr())
        waiting.extend(before for before, _ in node.next_functions)
    return tuple(sorted(found))


def operations_so_far() -> int:
    """The sequence number that the next operation gets."""
    with torch.enable_grad(), torch.inference_mode(False):
        node: Any = (torch.ones((), requires_grad=True) * 1).grad_fn
    return int(node._sequence_nr())


_listeners: list[Recorder] = []


def _before_fork() -> None:
    for recorder in _listeners:
        recorder.forks.append(recorder.place())


def _after_fork_in_child() -> None:
    if _listeners:
        os._exit(0)  # a second copy of the loop, and of everything that examines it


os.register_at_fork(before=_before_fork, after_in_child=_after_fork_in_child)
