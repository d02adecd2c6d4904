"""The work of one step, phase by phase: floating-point operations, and the least bytes to move."""

import re
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter
from torch.utils.flop_counter import flop_registry, sdpa_backward_flop_count, sdpa_flop_count

from loopmark.bench.measure.clock import known_phases
from loopmark.bench.measure.proof.precision import Switches
from loopmark.bench.records.run import PhaseWork
from loopmark.loops.loop import Loop
from loopmark.loops.switches import tf32
from loopmark.loops.task import Task
from loopmark.loops.technique import Driver
from loopmark.phases import DATA, listening

aten = torch.ops.aten


def _attention(query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> int:
    return int(sdpa_flop_count(query.shape, key.shape, value.shape))


def _attention_backward(grad: Tensor, query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> int:
    return int(sdpa_backward_flop_count(grad.shape, query.shape, key.shape, value.shape))


FORMULAS: dict[Any, Any] = {
    **flop_registry,
    # A CPU's fused attention, missing from torch's own table (2.13 and before).
    aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
}
_ATTENTION = re.compile(r"_scaled_dot_product_(\w+?)_attention(_for_cpu|_overrideable)?(_backward)?|_safe_softmax")


def attention_of(func: Any) -> str | None:
    """The scaled_dot_product_attention kernel that ``func`` is (``flash``…); None for another operation.

    ``math`` stands for separate products with a softmax that only attention uses.
    """
    found = _ATTENTION.fullmatch(func._overloadpacket.__name__)
    return (found[1] or "math") if found else None


CONVOLUTIONS = {
    *(aten.convolution, aten._convolution, aten.cudnn_convolution),
    *(aten.convolution_overrideable, aten.convolution_backward),
}


def flops_of(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> tuple[str, float]:
    """The type that ``func`` multiplies in, and its floating-point operations; 0 unless it is a matrix product.

    The type is its first tensor's, as torch prints it without ``torch.``, or ``tf32`` where the device may round
    float32 to TensorFloat-32.
    """
    packet = func._overloadpacket
    formula = FORMULAS.get(packet)
    if formula is None:
        return "", 0.0
    first = next(value for value in args if isinstance(value, Tensor))
    return _kind(first, packet in CONVOLUTIONS), float(formula(*args, **kwargs, out_val=out))


def _kind(tensor: Tensor, convolves: bool) -> str:
    kind = str(tensor.dtype).removeprefix("torch.")
    if kind != "float32" or tensor.device.type != "cuda" or tf32.lacks(tensor.device):
        return kind  # before Ampere these switches have no effect
    now = Switches.now()
    rounds = now.cudnn_tf32 is not False if convolves else now.matmul_precision != "highest"
    return "tf32" if rounds else kind


GATHERS = {aten.index, aten.index_select, aten.gather, aten.embedding, aten.take}
"""Operations that read as many bytes of their first tensor as they write."""
OVERWRITES = {aten.copy_, aten.zero_, aten.fill_}  # write to their first tensor without reading it
MAKES_NOTHING = {aten.empty, aten.empty_like, aten.empty_strided, aten.new_empty, aten.new_empty_strided}
"""Operations that allocate memory without writing to it."""


class Traffic:
    """The least bytes to move: each tensor once, even if several operations of a phase use it.

    A phase must move the data that it reads from earlier tensors and the data that it writes and keeps. Tensors created
    and dropped within a phase are not counted: if all its operations were fused, they would not leave the processor.
    """

    def __init__(self) -> None:
        self._read: dict[int, int] = {}
        self._written: dict[int, tuple[StorageWeakRef, int]] = {}

    def note(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
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
        """The least bytes since the previous phase ended."""
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
    for number, place in enumerate(func._schema.arguments):
        # A fused optimizer's schema marks the gradients as written. It writes them only where it unscales them.
        if place.alias_info and place.alias_info.is_write and place.name != "grads":
            given = args[number] if number < len(args) else kwargs.get(place.name)
            yield from _tensors((given,))


def _tensors(values: Any) -> Iterator[Tensor]:
    return (leaf for leaf in tree_iter(values) if isinstance(leaf, Tensor) and leaf.layout is torch.strided)


def _key(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


def _bytes(tensor: Tensor) -> int:
    """The bytes of its storage that ``tensor`` covers; an expanded value counts once."""
    return min(tensor.numel() * tensor.element_size(), tensor.untyped_storage().nbytes())


SETTLING_STEPS = 1  # steps before the counted one: an optimizer creates its state in the first step


class Counting(TorchDispatchMode):
    """Counts every operation while it is active; ``lap`` ends a phase."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._flops: Counter[str] = Counter()
        self._traffic = Traffic()
        self._attention: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        kind, flops = flops_of(func, args, kwargs, out)
        if flops:
            self._flops[kind] += flops  # type: ignore[assignment]  # a count may exceed an int32
        if kernel := attention_of(func):
            self._attention.add(kernel)
        self._traffic.note(func, args, kwargs, out)
        return out

    def lap(self, phase: str) -> PhaseWork:
        """The work since the last lap."""
        flops, kernels = {kind: float(count) for kind, count in self._flops.items()}, tuple(sorted(self._attention))
        work = PhaseWork(phase, flops, self._traffic.end_phase(), kernels)
        self._flops.clear()
        self._attention.clear()
        return work


def count_work(task: Task, loop: Loop, seed: int) -> tuple[PhaseWork, ...]:
    """The work of one step of ``loop``, in the order of its phases; repeated phases are summed.

    Compiled and captured parts run eagerly: a compiler's kernels and a graph's replay hide their matrix products.
    """
    torch.manual_seed(seed)
    loop = replace(loop, techniques=tuple(t for t in loop.techniques if not t.captures))
    with torch.compiler.set_stance("force_eager"):
        step = loop.prepare(task)
        generator = step.step if isinstance(step, Driver) else step  # the user's own driver
        for _ in range(SETTLING_STEPS):
            deque(generator(task, *task.next_batch()), maxlen=0)
        laps: list[PhaseWork] = []
        with Counting() as counting:
            batch = task.next_batch()
            laps.append(counting.lap(DATA))
            with listening(lambda phase: laps.append(counting.lap(phase))):
                laps.extend(counting.lap(phase) for phase in generator(task, *batch))
            laps.append(counting.lap(laps[-1].phase))  # work after the last yield belongs to the last phase
    work: dict[str, PhaseWork] = {}
    for lap in laps:
        (phase,) = known_phases([lap.phase])
        before = work.get(phase, PhaseWork(phase, {}, 0.0))
        flops = Counter(before.flops)
        flops.update(lap.flops)
        kernels = tuple(sorted({*before.attention, *lap.attention}))
        work[phase] = PhaseWork(phase, dict(flops), before.least_bytes + lap.least_bytes, kernels)
    return tuple(work.values())
