"""A worker's answers to its requests, and its failures."""

import dis
import inspect
import re
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from types import CodeType, TracebackType
from typing import Literal

import torch

from loopmark import loops
from loopmark.bench.measure.clock import BadStep, Block
from loopmark.bench.measure.meters import DeviceMemoryUse, Disturbance
from loopmark.bench.measure.warmup import Cycle, WarmUp
from loopmark.bench.records.run import CacheState, Compilation, GpuState
from loopmark.loops.loop import Loop
from loopmark.loops.task import Task
from loopmark.loops.technique import Skip
from loopmark.loops.user_code import BadSpec, described
from loopmark.phases import DATA, PHASES

MemoryKind = Literal["device memory", "host memory"]


@dataclass(frozen=True)
class Ready:
    """A task that has been set up."""

    seconds: float
    batch_size: int | None  # samples a step, as asked for; None where batches differ in size
    parameters: int
    compiles: bool
    data_sha256: str | None
    code: tuple[str, ...] = ()  # the change of each technique in a training script
    excludes: tuple[str, ...] = ()  # the techniques that cannot join the loop


def in_code(loop: Loop, task: Task) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The last two fields of ``Ready``. The techniques of an older revision have no code."""
    several = getattr(task, "optimizers", {}).values() or [task.optimizer]
    optimizer = " and ".join(type(one).__name__ for one in several)
    code = (getattr(one, "code", "") for one in loop.techniques)  # which may have other braces than these two
    code = (text.replace("{optimizer}", optimizer).replace("{device}", task.device.type) for text in code if text)
    return tuple(code), tuple(sorted({name for one in loop.techniques for name in one.excludes}))


@dataclass(frozen=True)
class Rows:
    """Rows of the task's batches and data."""

    batch: int  # rows of one inspected batch
    data: int | None  # rows of the data set; None where it is unknown
    per_step: float
    """Mean rows of a batch, where the data's length is known: an epoch's last batch may be smaller."""


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
    """True if a step with laps runs like one without. In a CUDA graph it does not: each is read before the next."""
    device_step_seconds: float | None = None
    """Seconds of a step without laps, where ``laps_count`` is False: a graph's warm-up steps hold the device."""
    lead_in: int = 0  # uncounted steps before a block
    held: DeviceMemoryUse | None = None  # None where it is unknown, as on a CPU
    cycle: Cycle | None = None  # of its data; None where all steps have equal work

    @property
    def step_seconds(self) -> float:
        """Seconds of a steady step in a block, estimated from the warm-up."""
        return self.device_step_seconds or self.warm_up.steady_step_seconds


@dataclass(frozen=True)
class Turn:
    """One turn: its blocks, each with the number of its first step and its disturbances."""

    blocks: tuple[tuple[int, Block, Disturbance], ...]


@dataclass(frozen=True)
class Finished:
    """Figures known at the end of a launch."""

    steps: int
    peak_memory_bytes: int | None
    memory_kind: str
    skipped_steps: int | None
    final_scale: float | None
    gpu: GpuState | None
    seen_per_step: dict[str, float] = field(default_factory=dict)  # samples and other units of a batch, as counted
    compilation: Compilation | None = None  # None if torch.compile was not used, or its work was not asked for


@dataclass(frozen=True)
class Failed:
    """A request that failed. ``skipped`` is True if the loop is not at fault."""

    reason: str
    skipped: bool = False
    bad_step: bool = False  # True if the step yields unknown phases, or none
    of_task: bool = False  # True if the task could not be made, whatever the loop
    ran_out_of: MemoryKind | None = None


OUT_OF_MEMORY = "ran out of device memory"
DEVICE_SAYS = ("CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED")
"""Texts in torch's errors where CUDA or its libraries failed to allocate; torch has no error type for it."""


LOOPS = Path(str(loops.__file__)).resolve().parent
OURS = (LOOPS, Path(__file__).resolve().parents[1])
TORCH = Path(torch.__file__).resolve().parent


@dataclass(frozen=True)
class Places:
    """The places of the user's code, as ``file.py:12``, for errors that arise in none of its lines."""

    step: str = ""  # where the step is defined
    task: str | None = None  # where the task is made; None while it is not
    batches: str | None = None  # where its batches are made

    def with_task(self, task: Task) -> "Places":
        """These places, and those of ``task``. A revision from before this interface has none."""
        place, of_batches = getattr(task, "place", None), getattr(task, "batches_place", None)
        return replace(self, task=place, batches=of_batches() if of_batches else place)


def failure_of(error: BaseException, request: str, places: Places, *, beside_others: bool) -> Failed:
    """The answer to a ``request`` that raised ``error``, without its traceback."""
    said = told(error, places, with_phase=True)
    if isinstance(error, Skip):
        return Failed(str(error), skipped=True)
    if isinstance(error, BadSpec):
        return Failed(str(error))
    if isinstance(error, BadStep):
        return Failed(f"{places.step}: {error}", bad_step=True)
    if isinstance(error, torch.OutOfMemoryError) or any(sign in said for sign in DEVICE_SAYS):
        hint = " beside other loops; give a smaller --batch-size" if beside_others else ""
        return Failed(f"{OUT_OF_MEMORY}{_place(request, error)}{hint}: {said}", ran_out_of="device memory")
    if isinstance(error, MemoryError) or "can't allocate memory" in said:
        return Failed(f"ran out of memory{_place(request, error)}: {said}", ran_out_of="host memory")
    return Failed(said)


def told(error: BaseException, places: Places, *, with_phase: bool = False) -> str:
    """``error`` as one line, with the user's own file and line.

    Where torch raised it below a step of ours, as for wrong shapes, they are those of the task or its batches, with the
    phase if ``with_phase``.
    """
    phase = phase_of(error)
    # A loader's worker has another number each time, and two failures are compared by their texts.
    place, _, what = re.sub(r" \(pid(\(s\))? [\d, ]+\)", "", described(error)).partition(": ")
    if phase == DATA and isinstance(error, ConnectionError | EOFError):
        what = f"a worker of the loader died ({what}); give num_workers=0 to see why"
    if "does not currently support double backward" in what:
        what += "; the loss holds a gradient, as a gradient penalty does: leave compile out of this loop"
    file = Path(place.rpartition(":")[0]).resolve()
    own = places.batches if phase == DATA else places.task
    if own is None or not any(file.is_relative_to(folder) for folder in (TORCH, *(OURS if phase else (LOOPS,)))):
        return f"{place}: {what}"
    return f"{own}: in `{phase}`: {what}" if phase and with_phase else f"{own}: {what}"


def traceback_of(error: BaseException) -> str:
    """The traceback of ``error`` and of its causes, without Loopmark's own frames where there are others."""
    whole = traceback.TracebackException.from_exception(error)
    parts = [whole]
    while parts:
        part = parts.pop()
        others = [frame for frame in part.stack if not frame.filename.startswith("<frozen ")]
        theirs = [f for f in others if not any(Path(f.filename).resolve().is_relative_to(one) for one in OURS)]
        part.stack[:] = theirs if theirs or hasattr(part, "filename") else others  # a SyntaxError has its own line
        parts += filter(None, (part.__cause__, part.__context__))
    return "".join(whole.format())


def _place(request: str, error: BaseException) -> str:
    """The phase in which memory ran out, as part of a sentence; empty where it is unknown."""
    if request == "set_up":
        return " while it was set up"
    phase = phase_of(error)
    return f" in `{phase}`" if phase else ""


def phase_of(error: BaseException) -> str | None:
    """The phase in which ``error`` was raised; None where it was not raised by a step, or is unknown.

    A step names a phase at its end, so the phase is the next one named in the step's code. Work after the last yield
    belongs to the last phase, as for the clock. For a step that computes its phase names, the phase is unknown.
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
