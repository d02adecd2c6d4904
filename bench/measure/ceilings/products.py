"""Products of square matrices, in each type that the loops multiply in."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial

import torch

from loopmark.bench.measure.ceilings.stopwatch import Operation, Stopwatch
from loopmark.bench.measure.ceilings.target import Target
from loopmark.bench.measure.proof.precision import Switches
from loopmark.bench.records.ceilings import Kind, LeftOut
from loopmark.loops.switches import tf32
from loopmark.loops.technique import needs_cuda

SIZES = tuple(2**power for power in range(8, 15))
"""256 to 16,384 rows."""
MEMORY_SHARE = 1 / 32
"""Of what is free: the most that one product's three matrices take."""
MATRICES = 3
FLOAT8 = torch.float8_e4m3fn
"""The format of weights and activations in training, see https://arxiv.org/abs/2209.05433; results are bfloat16."""
KIND: Kind = "matrix product"


def products(device: torch.device, free_bytes: int, seed: int, stopwatch: Stopwatch) -> list[Target | LeftOut]:
    """Products from float32 to float8, of random normal data: a chip clocks higher on zeros, whose bits stay."""

    def target(name: str, dtype: torch.dtype, context: Callable[[], AbstractContextManager[None]]) -> Target:
        most = MEMORY_SHARE * free_bytes / (MATRICES * max(2, dtype.itemsize))  # results of float8 have two bytes
        return Target(
            kind=KIND,
            dtype=name,
            unit="flops per second",
            sizes=tuple(rows for rows in SIZES if rows == SIZES[0] or rows**2 <= most),
            work=lambda rows: 2.0 * rows**3,
            prepare=partial(_float8_product if dtype is FLOAT8 else _product, device, dtype, seed),
            stopwatch=stopwatch,
            context=context,
        )

    reason, no_float8, name8 = _tf32_lacks(device, seed), _float8_lacks(device), str(FLOAT8).removeprefix("torch.")
    return [
        target("float32", torch.float32, partial(_precision, "highest")),
        LeftOut(KIND, "tf32", reason) if reason else target("tf32", torch.float32, partial(_precision, "high")),
        target("bfloat16", torch.bfloat16, nullcontext),
        target("float16", torch.float16, nullcontext),
        LeftOut(KIND, name8, no_float8) if no_float8 else target(name8, FLOAT8, nullcontext),
    ]


def _product(device: torch.device, dtype: torch.dtype, seed: int, rows: int) -> Operation:
    draws = torch.Generator(device).manual_seed(seed)
    left, right = (torch.randn(rows, rows, generator=draws, device=device).to(dtype) for _ in range(2))
    return partial(torch.mm, left, right, out=torch.empty_like(left))


def _float8_product(device: torch.device, dtype: torch.dtype, seed: int, rows: int) -> Operation:
    draws, one = torch.Generator(device).manual_seed(seed), torch.ones((), device=device)
    left, right = (torch.randn(rows, rows, generator=draws, device=device).to(dtype) for _ in range(2))
    result = torch.empty(rows, rows, dtype=torch.bfloat16, device=device)
    # Its kernels want the right matrix column by column, and are fastest where they add up in less than float32.
    return partial(torch._scaled_mm, left, right.t(), one, one, out_dtype=result.dtype, use_fast_accum=True, out=result)


def _float8_lacks(device: torch.device) -> str | None:
    """Why there is no float8 to measure; None where there is."""
    if reason := needs_cuda("float8", device):
        return reason
    major, minor = torch.cuda.get_device_capability(device)
    return None if (major, minor) >= (8, 9) else f"float8 needs compute capability 8.9; this device has {major}.{minor}"


def _precision(precision: str) -> AbstractContextManager[None]:
    """A context in which float32 products have this precision; afterwards they have the one before."""
    return replace(Switches.now(), matmul_precision=precision).restored()


def _tf32_lacks(device: torch.device, seed: int) -> str | None:
    """Why there is no TensorFloat-32 to measure; None where there is."""
    if reason := tf32.lacks(device):
        return reason
    matrix = torch.randn(256, 256, generator=torch.Generator(device).manual_seed(seed), device=device)  # (N, N)
    with _precision("highest"):
        exact = matrix @ matrix
    with _precision("high"):
        rounded = matrix @ matrix
    # A driver's variable (NVIDIA_TF32_OVERRIDE=0) turns it off, and nothing says so.
    return "products came out the same with it and without: it is turned off" if torch.equal(exact, rounded) else None
