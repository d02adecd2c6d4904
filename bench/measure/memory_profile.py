"""The memory of one step, phase by phase: tensors alive on a CPU, torch's allocator on CUDA."""

import weakref
from collections import deque
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import replace
from typing import Any, Self

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from loopmark.bench.measure.clock import known_phases
from loopmark.bench.records.footprint import Footprint, Kind, Stretch
from loopmark.loops.batch import rows_of
from loopmark.loops.loop import Loop
from loopmark.loops.task import Task
from loopmark.loops.technique import Driver, Skip
from loopmark.phases import DATA, listening


class AliveBytes(TorchDispatchMode):
    """Counts the bytes of all storages that are ``held``, or that operators create, until they are freed.

    It follows storages, not tensors: a view adds nothing, and a storage held only by autograd is alive. While the mode
    is on, each operator, also in backward, adds to ``moments``. Temporary memory inside an operator and memory inside
    compiled code are not seen. It is needed because a CPU's allocator keeps no statistics. ``lap`` ends a stretch.
    """

    kind: Kind = "tensors alive"

    def __init__(self, held: Iterable[Any] = ()) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes = 0
        self.moments: list[int] = []
        self.operators: list[str] = []
        self._sizes: dict[int, int] = {}
        self.hold(held)
        self.before_bytes = self._last_bytes = self.bytes
        self._seen = 0

    def hold(self, tensors: Iterable[Any]) -> None:
        """Follow ``tensors`` too; values that are not tensors are ignored."""
        for tensor in tensors:
            if isinstance(tensor, Tensor):
                self._follow(tensor)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.hold(tree_iter(result))
        self.moments.append(self.bytes)
        self.operators.append(str(func))
        return result

    def _follow(self, tensor: Tensor) -> None:
        try:
            storage = tensor.untyped_storage()
        except NotImplementedError:  # a sparse tensor has no storage; operators create its parts, which are followed
            return
        if storage.device.type == "meta":
            return
        key, size = storage._cdata, storage.nbytes()
        if key not in self._sizes:
            weakref.finalize(storage, self._forget, key)
        # A storage seen before may have been resized in place.
        self.bytes += size - self._sizes.get(key, 0)
        self._sizes[key] = size

    def _forget(self, key: int) -> None:
        self.bytes -= self._sizes.pop(key)

    def lap(self, phase: str) -> Stretch:
        """The stretch since the last lap; its peak includes the memory in use at its start."""
        moments = tuple(self.moments[self._seen :])
        self._seen += len(moments)
        began, self._last_bytes = self._last_bytes, self.bytes
        return Stretch(phase, moments, max(began, *moments, self._last_bytes), self._last_bytes)

    def peak_operator(self) -> str | None:
        """The first operator after which the most memory was in use."""
        moments = self.moments
        return self.operators[moments.index(max(moments))] if moments else None


def held_by(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> Iterable[Any]:
    """The tensors that a task holds between steps: weights, buffers, gradients, optimizer state."""
    for parameter in model.parameters():
        yield parameter
        yield parameter.grad
    yield from model.buffers()
    yield from tree_iter(list(optimizer.state.values()))


MOST_EVENTS = 1_000_000  # capacity of the allocator's history; older events would be lost


class DeviceWatch:
    """Torch's allocator on a CUDA device: its peaks, reset at each lap, and its history of allocations and frees.

    A lap waits for the device, so that the phase's work is complete. The history counts requested bytes; the peaks
    count allocated bytes, which are rounded up, to 512 at least.
    """

    kind: Kind = "device memory allocated"

    def __init__(self, task: Task) -> None:
        self._device = task.device
        self._keeps_history = torch.cuda.get_allocator_backend() == "native"

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
        """The allocator's figures since the last lap."""
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
        """None: the allocator does not record operators."""

    def _start_anew(self) -> None:
        torch.cuda.synchronize(self._device)
        torch.cuda.reset_peak_memory_stats(self._device)


class History:
    """Bytes in use, from the events of the allocator's history. The list of events only grows."""

    def __init__(self, before_bytes: int) -> None:
        self._bytes, self._seen = before_bytes, 0
        self._sizes: dict[int, int] = {}

    def moments(self, events: list[dict[str, Any]]) -> tuple[int, ...]:
        """Bytes in use after each new event that changes them."""
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


STEPS_BEFORE = 3  # by then the optimizer has its state, and gradients exist


def follow(task: Task, loop: Loop) -> Footprint:
    """The memory of one step of ``loop``, after preparing it on ``task``.

    Raises Skip where a part of the step is captured, and BadStep where it yields unknown phases, or none.
    """
    captures = [technique.name for technique in loop.techniques if technique.captures]
    step = loop.prepare(task)
    if captures or isinstance(step, Driver):
        raise Skip(
            f"{' and '.join(captures) or type(step).__name__} replays captured work: a replay allocates nothing, since "
            "its memory is reserved once; `loopmark run` reports how much"
        )
    eagerly = task.device.type == "cpu" and any(technique.compiles for technique in loop.techniques)
    # Functions wrapped by torch.compile then run eagerly.
    with torch.compiler.set_stance("force_eager") if eagerly else nullcontext():
        for _ in range(STEPS_BEFORE):
            deque(step(task, *task.next_batch()), maxlen=0)
        on_device, held = task.device.type == "cuda", held_by(task.plain_model, task.optimizer)
        with DeviceWatch(task) if on_device else AliveBytes(held) as watch:
            inputs, targets = task.next_batch()
            stretches = [watch.lap(DATA)]
            with listening(lambda phase: stretches.append(watch.lap(phase))):
                stretches.extend(watch.lap(phase) for phase in step(task, inputs, targets))
            # Work after the last yield belongs to the last phase.
            stretches.append(watch.lap(stretches[-1].phase))
    phases = (DATA, *known_phases([stretch.phase for stretch in stretches[1:-1]]))
    named = zip(stretches, (*phases, phases[-1]), strict=True)
    return Footprint(
        kind=watch.kind,
        batch_size=rows_of(inputs, targets) or 0,
        before_bytes=watch.before_bytes,
        stretches=tuple(replace(stretch, phase=phase) for stretch, phase in named),
        peak_operator=watch.peak_operator(),
        ran_eagerly=eagerly,
    )
