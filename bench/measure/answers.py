"""A worker's answers to its requests, and its failures."""

import dis
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from types import CodeType, TracebackType
from typing import Literal

import torch

from loopmark.bench.measure.clock import BadStep, Block
from loopmark.bench.measure.meters import DeviceMemoryUse, Disturbance
from loopmark.bench.measure.warmup import WarmUp
from loopmark.bench.records.run import CacheState, GpuState
from loopmark.loops.task import Task
from loopmark.loops.technique import Skip
from loopmark.loops.user_code import BadSpec, described
from loopmark.phases import DATA, PHASES

MemoryKind = Literal["device memory", "host memory"]


@dataclass(frozen=True)
class Ready:
    """A task that has been made."""

    seconds: float
    batch_size: int | None  # samples a step; None where batches differ in it
    parameters: int
    compiles: bool
    data_sha256: str | None


@dataclass(frozen=True)
class Rows:
    """Rows of the task's batches and data."""

    batch: int  # rows of a batch that was looked at
    data: int | None  # rows of the data set; None where it does not say
    per_step: float
    """Rows of a batch on average, where the data says how many it has and makes: an epoch's last one may be smaller."""


@dataclass(frozen=True)
class Warm:
    """A task that has been warmed up."""

    warm_up: WarmUp
    losses: tuple[float, ...]
    first_step_seconds: float
    compile_seconds: float
    compile_cache: CacheState
    phases: tuple[str, ...]
    memory_kind: str
    laps_count: bool
    """True where a step with laps runs as one without does; a graph's runs by itself, and is read before the next."""
    device_step_seconds: float | None = None
    """A step without laps, where one with laps says less: warm-up steps of a graph hold the device for a while."""
    lead_in: int = 0  # uncounted steps that a block takes before it
    held: DeviceMemoryUse | None = None  # None where that is not known, as on a CPU

    @property
    def step_seconds(self) -> float:
        """A steady step in a block, as far as warm-up can tell."""
        return self.device_step_seconds or self.warm_up.steady_step_seconds


@dataclass(frozen=True)
class Turn:
    """One turn: a few blocks, each with its first step's number and what disturbed it."""

    blocks: tuple[tuple[int, Block, Disturbance], ...]


@dataclass(frozen=True)
class Solo:
    """Steps of one process with no other taking turns."""

    rounds: int
    mean_seconds: float


@dataclass(frozen=True)
class Finished:
    """Figures known at the end of a launch."""

    steps: int
    peak_memory_bytes: int | None
    memory_kind: str
    skipped_steps: int | None
    final_scale: float | None
    gpu: GpuState | None


@dataclass(frozen=True)
class Failed:
    """A request that could not be fulfilled; ``skipped`` when that is no fault of the loop."""

    reason: str
    skipped: bool = False
    bad_step: bool = False  # whether the step is none: it names phases that there are none of
    ran_out_of: MemoryKind | None = None


OUT_OF_MEMORY = "ran out of device memory"
DEVICE_SAYS = ("CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED")
"""Torch's words, instead of an error of its own, where CUDA or its libraries could not allocate."""


def failure_of(error: BaseException, request: str, step_place: str, *, beside_others: bool) -> Failed:
    """The answer to a ``request`` that raised ``error``; the step is defined at ``step_place``."""
    said = described(error)
    if isinstance(error, Skip):
        return Failed(str(error), skipped=True)
    if isinstance(error, BadSpec):
        return Failed(str(error))
    if isinstance(error, BadStep):
        return Failed(f"{step_place}: {error}", bad_step=True)
    if isinstance(error, torch.OutOfMemoryError) or any(sign in said for sign in DEVICE_SAYS):
        hint = " beside other loops; give a smaller --batch-size" if beside_others else ""
        return Failed(f"{OUT_OF_MEMORY}{_place(request, error)}{hint}: {said}", ran_out_of="device memory")
    if isinstance(error, MemoryError) or "can't allocate memory" in said:
        return Failed(f"ran out of memory{_place(request, error)}: {said}", ran_out_of="host memory")
    return Failed(said)


def _place(request: str, error: BaseException) -> str:
    """In which phase memory ran out, as the part of a sentence; empty where that cannot be told."""
    if request == "set_up":
        return " while it was set up"
    phase = phase_of(error)
    return f" in `{phase}`" if phase else ""


def phase_of(error: BaseException) -> str | None:
    """The phase that was under way when ``error`` came up; None where it came from no step, or cannot be told.

    A step names a phase as it ends, so it is the one that is named next in the step's own text. What comes after the
    last one counts for that one, as it does for the clock. A step that computes its names does not tell.
    """
    traces, trace = list[TracebackType](), error.__traceback__
    while trace is not None:
        traces.append(trace)
        trace = trace.tb_next
    for trace in reversed(traces):
        code = trace.tb_frame.f_code
        if code is Task.next_batch.__code__:
            return DATA
        if named := list(_phases_named(code)):
            return next((phase for offset, phase in named if offset > trace.tb_lasti), named[-1][1])
    return None


def _phases_named(code: CodeType) -> Iterator[tuple[int, str]]:
    """Each ``yield "phase"`` of a generator, as the offset of its instruction and the phase."""
    if code.co_flags & inspect.CO_GENERATOR:
        for named, instruction in pairwise(dis.get_instructions(code)):
            if instruction.opname == "YIELD_VALUE" and named.argval in PHASES:
                yield instruction.offset, named.argval
