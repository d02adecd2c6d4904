"""The microbenchmarks of a device, each at several sizes: matrix products, copies, operator calls, and transfers."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path

import torch
from torch import Tensor

from loopmark.bench.measure.ceilings.sampling import (
    EventStopwatch,
    HostStopwatch,
    Microbenchmark,
    Operation,
    QueueStopwatch,
    Stopwatch,
)
from loopmark.bench.measure.cgroup import free_host_bytes, text_of
from loopmark.bench.measure.proof.precision import Switches
from loopmark.bench.records.ceilings import Kind, LeftOut, Variant
from loopmark.loops.switches import tf32
from loopmark.loops.technique import needs_cuda

PRODUCT_ROWS = tuple(2**power for power in range(8, 15))  # 256 to 16,384 rows
PRODUCT_MEMORY_SHARE, MATRICES = 1 / 32, 3  # most of the free memory that one product's three matrices take
FLOAT8 = torch.float8_e4m3fn
"""The format of weights and activations in training, see https://arxiv.org/abs/2209.05433; results are bfloat16."""
CACHES = (4, 8, 16)  # size of each tensor of a copy, as multiples of the last-level cache
LARGEST_KNOWN_CACHE_BYTES = 2**26  # used where the cache's size is unknown: 64 MiB
COPY_MEMORY_SHARE = 1 / 4  # most of the free memory that both tensors of a copy take
TRANSFER_BYTES = (2**24, 2**26, 2**28)  # 16 to 256 MiB; the smallest is about a large batch
DIRECTIONS: tuple[Kind, ...] = ("host to device", "device to host")
MEMORIES: tuple[Variant, ...] = ("pinned", "pageable")
RANDOM_ELEMENTS = 2**20
CPUS = Path("/sys/devices/system/cpu")
UNITS = {"K": 2**10, "M": 2**20, "G": 2**30}


def microbenchmarks_of(device: torch.device, cores: Sequence[int], seed: int) -> list[Microbenchmark | LeftOut]:
    """The microbenchmarks of ``device``, in display order, and those that cannot run, with the reason."""
    stopwatch = HostStopwatch() if device.type == "cpu" else EventStopwatch(device)
    free, cache = free_bytes(device), last_level_cache_bytes(device, cores)
    return [
        *products(device, free, seed, stopwatch),
        copies(device, free, cache, seed, stopwatch),
        *launches(device),
        *transfers(device, seed, stopwatch),
    ]


def products(device: torch.device, free_bytes: int, seed: int, stopwatch: Stopwatch) -> list[Microbenchmark | LeftOut]:
    """Products from float32 to float8, of random normal data: zeros flip no bits, so a chip clocks higher on them."""

    def of_type(
        name: str, dtype: torch.dtype, context: Callable[[], AbstractContextManager[None]] = nullcontext
    ) -> Microbenchmark:
        # Results of float8 products have two bytes.
        most = PRODUCT_MEMORY_SHARE * free_bytes / (MATRICES * max(2, dtype.itemsize))
        sizes = tuple(rows for rows in PRODUCT_ROWS if rows == PRODUCT_ROWS[0] or rows**2 <= most)
        prepare = partial(_float8_product if dtype is FLOAT8 else _product, device, dtype, seed)
        return Microbenchmark(
            "matrix product", sizes, lambda rows: 2.0 * rows**3, prepare, stopwatch, dtype=name, context=context
        )

    rounded, no_tf32 = of_type("tf32", torch.float32, partial(_precision, "high")), _tf32_lacks(device, seed)
    float8, no_float8 = of_type(str(FLOAT8).removeprefix("torch."), FLOAT8), _float8_lacks(device)
    return [
        of_type("float32", torch.float32, partial(_precision, "highest")),
        rounded.left_out(no_tf32) if no_tf32 else rounded,
        of_type("bfloat16", torch.bfloat16),
        of_type("float16", torch.float16),
        float8.left_out(no_float8) if no_float8 else float8,
    ]


def _product(device: torch.device, dtype: torch.dtype, seed: int, rows: int) -> Operation:
    draws = torch.Generator(device).manual_seed(seed)
    left, right = (torch.randn(rows, rows, generator=draws, device=device).to(dtype) for _ in range(2))
    return partial(torch.mm, left, right, out=torch.empty_like(left))


def _float8_product(device: torch.device, dtype: torch.dtype, seed: int, rows: int) -> Operation:
    draws, one = torch.Generator(device).manual_seed(seed), torch.ones((), device=device)
    left, right = (torch.randn(rows, rows, generator=draws, device=device).to(dtype) for _ in range(2))
    result = torch.empty(rows, rows, dtype=torch.bfloat16, device=device)
    # Its kernels need the right matrix in column order, and are fastest with less precise accumulation than float32.
    return partial(torch._scaled_mm, left, right.t(), one, one, out_dtype=result.dtype, use_fast_accum=True, out=result)


def _float8_lacks(device: torch.device) -> str | None:
    """The reason why float8 cannot be measured; None if it can."""
    if reason := needs_cuda("float8", device):
        return reason
    major, minor = torch.cuda.get_device_capability(device)
    return None if (major, minor) >= (8, 9) else f"float8 needs compute capability 8.9; this device has {major}.{minor}"


def _precision(precision: str) -> AbstractContextManager[None]:
    """A context in which float32 products have this precision; the earlier one is restored after it."""
    return replace(Switches.now(), matmul_precision=precision).restored()


def _tf32_lacks(device: torch.device, seed: int) -> str | None:
    """The reason why TensorFloat-32 cannot be measured; None if it can."""
    if reason := tf32.lacks(device):
        return reason
    matrix = torch.randn(256, 256, generator=torch.Generator(device).manual_seed(seed), device=device)  # (N, N)
    with _precision("highest"):
        exact = matrix @ matrix
    with _precision("high"):
        rounded = matrix @ matrix
    # A driver's variable (NVIDIA_TF32_OVERRIDE=0) turns it off without a message.
    return "products are equal with and without it, so it is turned off" if torch.equal(exact, rounded) else None


def copies(
    device: torch.device, free_bytes: int, cache_bytes: int | None, seed: int, stopwatch: Stopwatch
) -> Microbenchmark | LeftOut:
    """Copies within the device's own memory, of tensors larger than any cache.

    Bytes read and bytes written are added; reads by a cache before it writes are not counted.
    """
    cache = cache_bytes or LARGEST_KNOWN_CACHE_BYTES
    sizes = tuple(times * cache for times in CACHES if 2 * times * cache <= COPY_MEMORY_SHARE * free_bytes)
    if not sizes:
        why = (
            f"two tensors of {CACHES[0]} times the last-level cache of {cache / 2**20:.0f} MiB are more than a quarter "
            f"of the {free_bytes / 2**20:.0f} MiB of free memory"
        )
        return LeftOut("copy", None, why)

    def prepare(size: int) -> Operation:
        source = filled(torch.empty(size // 4, device=device), seed)
        return partial(torch.empty_like(source).copy_, source)

    return Microbenchmark("copy", sizes, work=lambda size: 2.0 * size, prepare=prepare, stopwatch=stopwatch)


def filled(tensor: Tensor, seed: int) -> Tensor:
    """Fill ``tensor``, (N,), with repeated random normal data, and return it.

    It is written by a copy, so that its pages lie near the threads that later copy it.
    """
    draws = torch.Generator(tensor.device).manual_seed(seed)
    block = torch.randn(min(RANDOM_ELEMENTS, len(tensor)), generator=draws, device=tensor.device)
    whole = len(tensor) // len(block) * len(block)
    tensor[:whole].view(-1, len(block)).copy_(block)
    tensor[whole:].copy_(block[: len(tensor) - whole])
    return tensor


def launches(device: torch.device) -> list[Microbenchmark | LeftOut]:
    """One operator on one element: the host's seconds per call, and the device's seconds from one to the next."""

    def timed(variant: Variant, stopwatch: Stopwatch) -> Microbenchmark:
        return Microbenchmark(
            kind="launch",
            sizes=(1,),
            work=lambda _: 1.0,
            # In place, so that nothing is allocated. Negation is among the cheapest operators with a kernel.
            prepare=lambda elements: torch.ones(elements, device=device).neg_,
            stopwatch=stopwatch,
            variant=variant,
        )

    if device.type == "cpu":
        why = "the host is the device, and does each operation while it is called"
        return [timed("host", HostStopwatch()), LeftOut("launch", None, why, "device")]
    return [timed("host", QueueStopwatch(device, by_host=True)), timed("device", QueueStopwatch(device, by_host=False))]


def transfers(device: torch.device, seed: int, stopwatch: Stopwatch) -> list[Microbenchmark | LeftOut]:
    """Bytes a second in either direction, for pinned and for pageable host memory."""
    if device.type == "cpu":
        why = "not applicable: a CPU's tensors lie in the host's memory already"
        return [LeftOut(direction, None, why) for direction in DIRECTIONS]
    found: list[Microbenchmark | LeftOut] = []
    for direction, memory in product(DIRECTIONS, MEMORIES):
        prepare = partial(_transfer, device, direction, memory, seed)
        found.append(Microbenchmark(direction, TRANSFER_BYTES, float, prepare, stopwatch, variant=memory))
    return found


def _transfer(device: torch.device, direction: Kind, memory: Variant, seed: int, size: int) -> Operation:
    at_host = filled(torch.empty(size // 4, pin_memory=memory == "pinned"), seed)
    at_device = filled(torch.empty(size // 4, device=device), seed)
    source, target = (at_host, at_device) if direction == "host to device" else (at_device, at_host)
    # Non-blocking, so that copies of pinned memory run back to back.
    return partial(target.copy_, source, non_blocking=True)


def free_bytes(device: torch.device) -> int:
    return int(torch.cuda.mem_get_info(device)[0]) if device.type == "cuda" else free_host_bytes()


def last_level_cache_bytes(device: torch.device, cores: Iterable[int], cpus: Path = CPUS) -> int | None:
    """Bytes of the device's outermost cache; on a CPU, of all ``cores`` together. None where it is unknown."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).L2_cache_size) or None
    caches = [cache for core in cores for cache in _caches(cpus / f"cpu{core}" / "cache")]
    outermost = max((level for level, _, _ in caches), default=0)
    # Cores that share a cache list the same cores.
    shared = {sharers: size for level, sharers, size in caches if level == outermost}
    return sum(shared.values()) or None


def _caches(folder: Path) -> Iterable[tuple[int, str, int]]:
    """The level, sharing cores and bytes of each data cache of a core."""
    for cache in folder.glob("index*"):
        level, size, kind, shared = (
            text_of(cache / name) or "" for name in ("level", "size", "type", "shared_cpu_list")
        )
        if level.isdigit() and size[:-1].isdigit() and size[-1] in UNITS and kind != "Instruction":
            yield int(level), shared, int(size[:-1]) * UNITS[size[-1]]
