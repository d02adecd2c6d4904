"""The memory of one step, phase by phase: of the tensors that are alive on a CPU, of torch's allocator on CUDA."""

import weakref
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import replace
from typing import Any, Self

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from loopmark.bench.measure.clock import known_phases
from loopmark.bench.records.footprint import Footprint, Kind, Stretch
from loopmark.loops.loop import Loop
from loopmark.loops.task import Task
from loopmark.loops.technique import Driver, Skip
from loopmark.phases import DATA


class AliveBytes(TorchDispatchMode):
    """Counts the bytes of all storages that an operator has made, or that were handed over, until they are freed.

    Storages are followed, not tensors: a view takes nothing, and what only autograd still holds is alive. While the
    mode is on, each operator adds to ``moments``, its backward included. What an operator uses for itself while it
    runs is not seen, nor is anything inside compiled code. A CPU's allocator keeps no statistics; this does.
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


class TensorWatch(AliveBytes):
    """Every tensor of one step of ``task``, whatever device it is on. ``lap`` ends a stretch of the step."""

    kind: Kind = "tensors alive"

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.hold(held_by(task.plain_model, task.optimizer))
        self.before_bytes = self._last_bytes = self.bytes
        self._seen = 0

    def lap(self, phase: str) -> Stretch:
        """What was seen since the last lap; what was in use when it began counts as well."""
        moments = tuple(self.moments[self._seen :])
        self._seen += len(moments)
        began, self._last_bytes = self._last_bytes, self.bytes
        return Stretch(phase, moments, max(began, *moments, self._last_bytes), self._last_bytes)

    def peak_operator(self) -> str | None:
        """The first after which the most was in use."""
        moments = self.moments
        return self.operators[moments.index(max(moments))] if moments else None


MOST_EVENTS = 1_000_000  # that the allocator's history may hold; older ones would be lost


class DeviceWatch:
    """Torch's allocator on a CUDA device: its peaks, reset at each lap, and its own history of giving and taking.

    A lap waits for the device, so that what belongs to a phase has happened. The history counts bytes as they were
    asked for, the peaks as they were given: rounded up, to 512 at least.
    """

    kind: Kind = "device memory allocated"

    def __init__(self, task: Task) -> None:
        self._device = task.device
        self._keeps_history = torch.cuda.get_allocator_backend() == "native"
        self._history = History(0)

    def __enter__(self) -> Self:
        self._start_anew()
        stats = torch.cuda.memory_stats(self._device)
        self.before_bytes = int(stats["allocated_bytes.all.current"])
        self._history = History(int(stats["requested_bytes.all.current"]))
        if self._keeps_history:
            torch.cuda.memory._record_memory_history("all", context=None, max_entries=MOST_EVENTS, clear_history=True)
        return self

    def __exit__(self, *_: object) -> None:
        if self._keeps_history:
            torch.cuda.memory._record_memory_history(None)

    def lap(self, phase: str) -> Stretch:
        """What the allocator says of the time since the last lap."""
        torch.cuda.synchronize(self._device)
        stats = torch.cuda.memory_stats(self._device)
        events = torch.cuda.memory._snapshot()["device_traces"][self._device.index or 0] if self._keeps_history else []
        stretch = Stretch(
            phase=phase,
            moments=self._history.moments(events),
            peak_bytes=int(stats["allocated_bytes.all.peak"]),
            end_bytes=int(stats["allocated_bytes.all.current"]),
            peak_reserved_bytes=int(stats["reserved_bytes.all.peak"]),
            peak_inactive_split_bytes=int(stats["inactive_split_bytes.all.peak"]),
        )
        self._start_anew()
        return stretch

    def peak_operator(self) -> None:
        """The allocator does not know who asks."""

    def _start_anew(self) -> None:
        torch.cuda.synchronize(self._device)
        torch.cuda.reset_peak_memory_stats(self._device)


class History:
    """Bytes in use, from the events of the allocator's history, which only ever grows."""

    def __init__(self, before_bytes: int) -> None:
        self._bytes, self._seen = before_bytes, 0
        self._sizes: dict[int, int] = {}

    def moments(self, events: list[dict[str, Any]]) -> tuple[int, ...]:
        """Bytes in use after each event that is new and changes them."""
        found = []
        for event in events[self._seen :]:
            if event["action"] == "alloc":
                self._sizes[event["addr"]] = event["size"]
                self._bytes += event["size"]
            elif event["action"] == "free_completed":
                self._bytes -= self._sizes.pop(event["addr"], event["size"])
            else:
                continue
            found.append(self._bytes)
        self._seen = len(events)
        return tuple(found)


STEPS_BEFORE = 3  # by then the optimizer has its state, and there are gradients to set to zero


def follow(task: Task, loop: Loop) -> Footprint:
    """The memory of one step of ``loop`` on ``task``, which it prepares first.

    Raises Skip where a part of the step is captured, and BadStep where it names phases that do not exist, or none.
    """
    captures = [technique.name for technique in loop.techniques if technique.captures]
    step = loop.prepare(task)
    if captures or isinstance(step, Driver):
        raise Skip(
            f"{' and '.join(captures) or type(step).__name__} repeats what was captured: that allocates nothing, and "
            "what it needs is set aside once; `loopmark run` tells how much"
        )
    eagerly = task.device.type == "cpu" and any(technique.compiles for technique in loop.techniques)
    # Whatever is wrapped by torch.compile then runs as it is written.
    with torch.compiler.set_stance("force_eager") if eagerly else nullcontext():
        for _ in range(STEPS_BEFORE):
            deque(step(task, *task.next_batch()), maxlen=0)
        watch = DeviceWatch(task) if task.device.type == "cuda" else TensorWatch(task)
        with watch:
            inputs, targets = task.next_batch()
            stretches = [watch.lap(DATA)]
            stretches += [watch.lap(phase) for phase in step(task, inputs, targets)]
            # What comes after the last yield counts for the last phase.
            stretches.append(watch.lap(stretches[-1].phase))
    phases = (DATA, *known_phases([stretch.phase for stretch in stretches[1:-1]]))
    named = zip(stretches, (*phases, phases[-1]), strict=True)
    return Footprint(
        kind=watch.kind,
        batch_size=len(targets),
        before_bytes=watch.before_bytes,
        stretches=tuple(replace(stretch, phase=phase) for stretch, phase in named),
        peak_operator=watch.peak_operator(),
        ran_eagerly=eagerly,
    )
