"""The worker of one launch of one case: a process that owns a task, warms it up, and takes turns on request."""

import contextlib
import faulthandler
import gc
import math
import multiprocessing
import os
import signal
import sys
import time
import weakref
from collections.abc import Callable, Sized
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from loopmark.bench.measure import meters
from loopmark.bench.measure.answers import Finished, Places, Ready, Rows, Turn, Warm, failure_of, in_code, traceback_of
from loopmark.bench.measure.assignment import Assignment
from loopmark.bench.measure.ceilings.survey import FoundCeilings, ceilings_of
from loopmark.bench.measure.clock import BadStep, Block, Recording
from loopmark.bench.measure.compilation import CompilationLog
from loopmark.bench.measure.device_clock import make_clock
from loopmark.bench.measure.entry import refuse_strangers
from loopmark.bench.measure.loader import LoaderProcesses, examine
from loopmark.bench.measure.machine import describe_environment
from loopmark.bench.measure.memory_profile import follow
from loopmark.bench.measure.nvml import monitor_of
from loopmark.bench.measure.profiler import Traced, name_compiled_kernels, profile_steps
from loopmark.bench.measure.properties.examination import Checked, Examination
from loopmark.bench.measure.slowdown import slowed
from loopmark.bench.measure.training.session import Begun, Segment, TrainingSession, scaling_of
from loopmark.bench.measure.warmup import WINDOW, CycleFinder, warm_up
from loopmark.bench.measure.work_count import count_work
from loopmark.bench.records.footprint import Footprint
from loopmark.bench.records.machine import Environment
from loopmark.bench.records.run import Compilation, GpuState, Loading, PhaseWork
from loopmark.bench.records.trace import Profile
from loopmark.loops.batch import inputs_and_targets, rows_of
from loopmark.loops.catalog import find_loop, find_workload
from loopmark.loops.cuda_graphs import GraphedPhases
from loopmark.loops.loop import Loop
from loopmark.loops.task import Batches, Task
from loopmark.loops.technique import Driver, Skip
from loopmark.loops.user_code import BadSpec, defined_at

GRACE_SECONDS = 30
CACHES = {"TORCHINDUCTOR_CACHE_DIR": "", "TRITON_CACHE_DIR": "triton"}
"""Environment variables of each launch, and the folder within its compile cache that each points to."""

if TYPE_CHECKING:
    from loopmark.bench.measure.proof.comparison import Proven


class Worker:
    """The requests of a launch. Each public method is one; ``WorkerProcess.within`` sends it by name."""

    def __init__(self, assignment: Assignment) -> None:
        self._assignment = assignment
        self._steps = 0
        self._compilations = CompilationLog()
        self._device = torch.device(assignment.device)
        self._places = Places()
        self._makes_task = False
        self._neighbours = assignment.neighbours
        self._examination: Examination | None = None
        self._gpu: GpuState | None = None
        self._seen: dict[str, float] = {}  # samples and other units in the batches of all turns
        self._counted = 0  # those batches

    def set_up(self, *, with_hash: bool) -> Ready:
        """Make the task and apply the loop's techniques."""
        this, start = self._assignment, time.perf_counter()
        loop, self._task = self._make_task()
        self._started = start
        parameters = sum(parameter.numel() for parameter in self._task.model.parameters())
        torch.manual_seed(this.seed)
        step = loop.prepare(self._task)
        if this.tree is not None:
            refuse_strangers(this.tree)
        if this.slowdown:
            step = slowed(step, this.slowdown, self._device)
        # Batches have one size; a loader's may differ.
        self._counts_rows = bool(self._task.counts) or not isinstance(self._task.batches, Batches)
        self._step, self._clock = step, make_clock(self._task, step)
        self._clock.synchronise()
        seconds = time.perf_counter() - start
        digest = getattr(self._task.batches, "data_sha256", None)
        hash_start = time.perf_counter()
        data_sha256 = str(digest()) if with_hash and callable(digest) else None
        self._started += time.perf_counter() - hash_start  # hashing is not part of the loop's start
        compiles = any(technique.compiles for technique in loop.techniques)
        return Ready(seconds, self._batch_size(), parameters, compiles, data_sha256, *in_code(loop, self._task))

    def rows(self) -> Rows:
        """The rows of the data and of one batch; this batch is not used by any step."""
        batches = self._task.batches
        rows = rows_of(*self._task.next_batch()) or 0
        data = batches.inputs if isinstance(batches, Batches) else getattr(batches, "dataset", None)
        known = len(data) if isinstance(data, Sized) else None
        batches_an_epoch = len(batches) if known and isinstance(batches, Sized) else 0
        mean = known / batches_an_epoch if known and batches_an_epoch else rows
        return Rows(rows, known, min(rows, mean))

    def warm(self, *, ceiling_seconds: float) -> Warm:
        """Take steps until their times are steady, then reset the peak of memory."""
        losses: list[float] = []
        ends: list[float] = []
        phases: tuple[str, ...] = ()

        def take_step() -> float:
            nonlocal phases
            start = time.perf_counter()
            recording = self._clock.lapped(1)
            self._clock.synchronise()
            ends.append(time.perf_counter())
            self._steps += 1
            block = recording.block()
            losses.extend(block.losses.tolist())
            phases = block.phases
            finder.note(ends[-1] - start)
            return ends[-1] - start

        finder = CycleFinder(self._task)
        warm = warm_up(take_step, ceiling_seconds)
        self._cycle = cycle = finder.find(take_step) if ceiling_seconds else None
        self._compilations.end_warm_up()
        device_step_seconds = None
        if not self._clock.laps_count:
            plain = self._clock.plain(WINDOW)
            self._steps += WINDOW
            device_step_seconds = plain.device_seconds / WINDOW
        held, self._memory = meters.held_on(self._device), meters.peak_memory_of(self._device)
        self._memory.reset()
        self._monitor = monitor_of(self._device)
        self._meter = meters.DisturbanceMeter(self._assignment.cores, self._monitor)
        return Warm(
            warm_up=warm,
            losses=tuple(losses),
            first_step_seconds=ends[0] - self._started,
            compile_seconds=self._compilations.seconds(),
            compile_cache=self._compilations.cache_state(),
            phases=phases,
            memory_kind=self._memory.kind,
            laps_count=self._clock.laps_count,
            lead_in=self._clock.lead_in,
            device_step_seconds=device_step_seconds,
            held=held,
            cycle=cycle,
        )

    def environment(self) -> Environment:
        found = describe_environment(self._assignment.threads, self._assignment.cores)
        return replace(found, variables={k: v for k, v in found.variables.items() if k not in CACHES})

    def take_turn(self, *, order: tuple[bool, ...], steps: int, own_processes: int) -> Turn:
        """Take one uncounted step, then a block for each of ``order``: True with laps, False without."""
        self._neighbours = own_processes - 1
        self._task.fetched = [] if self._counts_rows else None
        self._clock.plain(1)
        self._steps += 1
        taken: list[tuple[int, Block | Recording, meters.Disturbance]] = []
        for lapped in order:
            self._meter.begin()
            take = self._clock.lapped if lapped else self._clock.plain
            timed = take(steps, self._clock.lead_in)
            taken.append((self._steps + timed.lead_in, timed, self._meter.end(own_processes)))
            self._steps += timed.lead_in + steps
        self._count_fetched()
        return Turn(tuple((at, t.block() if isinstance(t, Recording) else t, d) for at, t, d in taken))

    def take_alone(self, *, seconds: float) -> float:
        """The mean step over ``seconds``, each step a round, as in a benchmark that runs alone."""
        total, rounds, end = 0.0, 0, time.perf_counter() + seconds
        while rounds == 0 or time.perf_counter() < end:
            total += self._clock.plain(1).host_seconds
            rounds += 1
        self._steps += rounds
        return total / rounds

    def spend(self, *, steps: int, window_seconds: float) -> meters.Spent:
        """Measure the energy of a step, in windows of steps, while no other process takes turns."""

        def take_steps() -> int:
            self._clock.plain(steps)
            return steps

        spent = meters.spend(take_steps, meters.energy_meter(self._device), window_seconds)
        self._steps += spent.steps
        if self._monitor:
            self._gpu = self._monitor.state()  # now, before the board is idle
        return spent

    def finish(self, *, with_compilation: bool = False) -> Finished:
        """The launch's final figures; ``with_compilation`` takes a few more steps, to count their graphs."""
        return Finished(
            steps=self._steps,
            peak_memory_bytes=self._memory.read(),
            memory_kind=self._memory.kind,
            **scaling_of(self._task),
            gpu=self._gpu,
            seen_per_step={unit: total / max(1, self._counted) for unit, total in self._seen.items()},
            compilation=self._compilation() if with_compilation else None,
        )

    def examine_loader(self) -> tuple[Loading, ...]:
        """Time the loader of the task that was timed, and try other settings of it; empty where it has none."""
        found = examine(self._task, self._clock, self._cycle)
        return () if found is None else (found,)

    def prove(self, *, steps: int) -> "Proven":
        """Compare ``steps`` steps with the baseline's, on a new task. It needs no ``set_up``."""
        from loopmark.bench.measure.proof.prove import prove  # here, since an older revision's loops lack what it uses

        loop, task = self._make_task()
        base, seed = find_loop(self._assignment.baseline), self._assignment.seed
        return prove(task, loop, steps, seed, base=base, make_task=lambda: self._make_task()[1])

    def count_work(self) -> tuple[PhaseWork, ...]:
        """Count the work of one step, on a new task. The timed task is dropped first, to free its memory."""
        parameters = [weakref.ref(parameter) for parameter in self._task.model.parameters()]
        vars(self._task).pop("_stream", None)  # it refers to the task
        for name in ("_task", "_step", "_clock"):
            self.__dict__.pop(name, None)
        torch.compiler.reset()  # its caches hold models and the pools of their graphs
        # A collection visits all that torch has imported, whose pages a forked process has to copy.
        if self._device.type != "cpu" or any(parameter() is not None for parameter in parameters):
            gc.collect()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
        loop, task = self._make_task()
        return count_work(task, loop, self._assignment.seed)

    def trace(self, *, steps: int, ceiling_seconds: float, file: Path) -> Profile:
        """Warm the task that was set up, and profile some of its steps into ``file``. This is the last request."""
        name_compiled_kernels(self._device)
        self.warm(ceiling_seconds=ceiling_seconds)
        step = self._step.phased if isinstance(self._step, GraphedPhases) else self._step
        profile = profile_steps(Traced(self._clock, self._task, step), steps, file)
        return replace(profile, compilation=self._compilation())

    def memory(self) -> Footprint:
        """Follow the memory of one step, on a new task. It needs no ``set_up``, and nothing is timed."""
        loop, task = self._make_task()
        torch.manual_seed(self._assignment.seed)
        return follow(task, loop)

    def begin_training(self) -> Begun:
        """Prepare to train the task that was set up."""
        self._session = TrainingSession(self._task, self._clock)
        return self._session.begin()

    def train(self, *, steps: int, one_by_one: int = 0) -> Segment:
        return self._session.segment(steps, one_by_one)

    def verify(self, *, name: str, seconds: float) -> Checked:
        """Check one property of the canonical step, on new tasks. It needs no ``set_up``."""
        if self._examination is None:
            self._take_place()
            self._examination = Examination(self._assignment)
        return self._examination.check(name, seconds)

    def find_ceilings(self, *, budget_seconds: float, seed: int) -> FoundCeilings:
        """Measure the ceilings of the device. It needs no ``set_up``."""
        self._take_place()
        return ceilings_of(self._device, self._assignment.cores, budget_seconds, seed)

    def _take_place(self) -> None:
        torch.set_num_threads(self._assignment.threads)
        if self._device.type == "cuda":
            torch.cuda.set_device(self._device)  # events, streams and scalers are made on the current device
        elif self._device.type != "cpu":
            torch.accelerator.set_device_index(self._device.index or 0)

    def _compilation(self) -> Compilation | None:
        """The work of torch.compile so far, and the graphs of a few more steps; None if it was not used."""
        log, loop = self._compilations, find_loop(self._assignment.loop)
        if not log.seconds() and not any(technique.compiles for technique in loop.techniques):
            return None
        replays = isinstance(self._step, Driver)  # the host does not see the graphs of a captured step
        return log.found(self._task.plain_model, None if replays else self._clock.take_step)

    def _make_task(self) -> tuple[Loop, Task]:
        this = self._assignment
        self._take_place()
        loop, workload = find_loop(this.loop), find_workload(this.workload)
        self._places = Places(defined_at(loop.base))
        if reason := workload.lacks() or loop.lacks(self._device):
            raise Skip(reason)
        self._makes_task = True
        task = workload.make(self._device, this.size, this.batch_size, this.seed)
        self._makes_task, self._places = False, self._places.with_task(task)
        return loop, task

    def _batch_size(self) -> int | None:
        """Samples a step; None where batches differ in size."""
        batches = self._task.batches
        if isinstance(batches, list | tuple) and len({*map(self._rows_of, batches)}) > 1:
            return None
        size = getattr(batches, "batch_size", None)
        return size if type(size) is int and size > 0 else rows_of(*self._task.next_batch())

    def _rows_of(self, batch: Any) -> int | None:
        return rows_of(*inputs_and_targets(batch, self._task.has_loss_fn))

    def _count_fetched(self) -> None:
        """Count the samples and units of the last turn's batches, outside its timed blocks."""
        fetched, self._task.fetched = self._task.fetched or [], None
        self._counted += len(fetched)
        for batch in fetched:
            for unit, count in ({"samples": self._rows_of} | dict(self._task.counts or {})).items():
                number = count(batch)
                try:
                    self._seen[unit] = self._seen.get(unit, 0.0) + float(number or 0)
                except (TypeError, ValueError, RuntimeError):  # RuntimeError: a tensor of several numbers
                    what = f"counts a {type(number).__name__} of {unit}; return one number"
                    raise BadSpec(f"{defined_at(count)}: {what}") from None


REQUESTS: dict[str, Callable[..., Any]] = {
    name: method for name, method in vars(Worker).items() if not name.startswith("_")
}


def main(connection: Connection, assignment: Assignment) -> None:
    """The worker process: answer requests until the other end closes the connection."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    everywhere = os.sched_getaffinity(0) if assignment.cores and hasattr(os, "sched_getaffinity") else set[int]()
    _settle_in(assignment)
    worker, own, loaders = Worker(assignment), os.getpid(), LoaderProcesses(everywhere)
    with contextlib.ExitStack() as at_end, contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        at_end.callback(loaders.wake)  # they are asked to end, which a stopped process does not
        while True:
            name, arguments, limit_seconds = connection.recv()
            # The parent ends a hung worker. If the parent is gone, the alarm ends it.
            signal.alarm(math.ceil(limit_seconds) + GRACE_SECONDS)
            loaders.wake()
            answer = _answer(worker, name, arguments)
            if os.getpid() != own:  # this process is a step's fork; only the original process answers
                os._exit(0)
            loaders.rest()
            connection.send(answer)
            signal.alarm(0)


def _answer(worker: Worker, request: str, arguments: dict[str, Any]) -> Any:
    try:
        return REQUESTS[request](worker, **arguments)
    except BaseException as error:  # a loop may raise anything, even SystemExit and KeyboardInterrupt
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # torch's handler would raise here for a dead worker of a loader
        if not isinstance(error, Skip | BadStep) and (error.__cause__ or not isinstance(error, BadSpec)):
            print(traceback_of(error), file=sys.stderr, flush=True)
        found = failure_of(error, request, worker._places, beside_others=worker._neighbours > 0)
        return replace(found, of_task=worker._makes_task)


def _settle_in(assignment: Assignment) -> None:
    # A loader's workers start as they do in a script: the fork server's children would start theirs by a fork server.
    multiprocessing.set_start_method(None, force=True)
    del sys.argv[1:]  # a person's file may parse its command line, which is not Loopmark's
    # The worker leads a process group, so that a hung worker is killed with its children.
    os.setsid()
    os.environ.update({name: str(assignment.compile_cache / folder) for name, folder in CACHES.items()})
    if assignment.cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, assignment.cores)
    try:
        log = os.open(assignment.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    except FileNotFoundError:  # the run was interrupted and its folder removed: no process waits for this worker
        os._exit(1)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
        os.dup2(log, stream.fileno() if hasattr(stream, "fileno") else 1)
    faulthandler.enable(2, all_threads=False)  # a crash leaves its lines in the log
