"""Worker processes, and the pool that starts the processes of one run."""

import hashlib
import os
import pickle
import re
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import KW_ONLY, dataclass
from multiprocessing import connection
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

from loopmark.bench.measure.answers import Failed, MemoryKind
from loopmark.bench.measure.assignment import Assignment
from loopmark.bench.measure.cgroup import text_of
from loopmark.bench.measure.launcher import ForkServer, Launcher
from loopmark.bench.measure.machine import available_cores
from loopmark.bench.records.files import line
from loopmark.bench.records.run import Plan, Status
from loopmark.loops.catalog import find_loop, find_workload
from loopmark.loops.user_code import in_brief, place_among
from loopmark.loops.workload import Size

if TYPE_CHECKING:
    from loopmark.bench.measure.worker import Worker  # its import takes seconds, and only the worker process needs it


@dataclass(eq=False)
class CaseEnded(Exception):  # noqa: N818 - a skip is no error
    """A case cannot continue."""

    status: Status
    reason: str
    _: KW_ONLY
    bad_step: bool = False
    of_task: bool = False  # True if its task could not be made, whatever the loop
    ran_out_of: MemoryKind | None = None  # the memory that was exhausted, where that is the reason

    def __str__(self) -> str:
        return self.reason


TIMED = frozenset(("take_turn", "take_alone", "spend", "train", "find_ceilings", "examine_loader"))
"""The requests whose answer is waited for without a pause: nothing else may run while a block is timed."""
TICK_SECONDS = 1.0
Tick = Callable[[], None]  # called about every second while a process does what is not timed


class WorkerProcess:
    """The process of one launch. Closing it ends all its processes. As a context manager, it is killed on exit."""

    def __init__(self, launcher: Launcher, assignment: Assignment, tick: Tick = lambda: None) -> None:
        self._process, self._pipe = launcher.launch(assignment)
        self._tick = tick
        self._log = assignment.log
        assert self._process.pid is not None
        self.pid: int = self._process.pid
        self._busy = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def within(self, limit_seconds: float, *, ours: bool = False) -> "Worker":
        """The worker's methods, run in its process: ``process.within(60).finish()``.

        A method raises CaseEnded where the process failed, was skipped, died, or took longer than ``limit_seconds``.
        ``ours``: the limit is many times the duration of earlier steps, and no option changes it.
        """
        return cast("Worker", _Client(self, limit_seconds, ours))

    def ask(self, request: str, arguments: dict[str, Any], limit_seconds: float, ours: bool) -> Any:
        """Send one request and return its answer; see ``within``."""
        if self._busy:
            self.kill()
            raise CaseEnded("failed", f"the process received the request {request} before it answered the last one")
        self._busy = True
        with suppress(BrokenPipeError, ConnectionResetError):
            self._pipe.send((request, arguments, limit_seconds))
        end, pause = time.monotonic() + limit_seconds, limit_seconds if request in TIMED else TICK_SECONDS
        ready: list[Any] = []
        while not ready and (left := end - time.monotonic()) > 0:
            ready = connection.wait([self._pipe, self._process.sentinel], min(pause, left))
            if not ready:
                self._tick()
        if not ready:
            self.kill()
            hint = ", many times what its steps took before" if ours else "; --limit allows more"
            raise CaseEnded("timed_out", f"gave no answer within {limit_seconds:.0f} s and was ended{hint}")
        try:
            # A dead worker may give no end of file: a process that it forked can keep its end of the pipe open.
            given = self._pipe.recv() if self._pipe in ready or self._pipe.poll() else None
        except (EOFError, OSError, pickle.UnpicklingError):
            given = None
        except Exception as error:  # it holds something of the person's own that this process does not know
            self.kill()
            raise CaseEnded("failed", f"gave an answer to {request} that cannot be read: {line(error)}") from None
        if given is None:
            self._process.join(5)
            code = self._process.exitcode
            self.kill()
            # The kernel kills a process when memory runs out.
            killed = code == -signal.SIGKILL
            raise CaseEnded("failed", manner_of_death(code, self._log), ran_out_of="host memory" if killed else None)
        self._busy = False
        if isinstance(given, Failed):
            status: Status = "skipped" if given.skipped else "failed"
            raise CaseEnded(
                status, given.reason, bad_step=given.bad_step, of_task=given.of_task, ran_out_of=given.ran_out_of
            )
        return given

    def settle(self, limit_seconds: float) -> bool:
        """Discard the pending answer of a request that Ctrl-C interrupted; True if the worker can take another."""
        if self._busy and self._pipe.poll(limit_seconds):
            with suppress(Exception):  # whatever becomes of it
                self._pipe.recv()
                self._busy = False
        return not self._busy

    def close(self) -> None:
        """Let the worker exit by itself, and kill it if it does not."""
        self._pipe.close()
        self._process.join(2)
        self.kill()

    def kill(self) -> None:
        """Kill the worker and every process that it started."""
        # The worker leads its own process group, so the group's id is its pid.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.kill()
        self._process.join(5)


class _Client:
    """Forwards each call to ``Worker`` by its method's name and its arguments' names."""

    def __init__(self, process: WorkerProcess, limit_seconds: float, ours: bool) -> None:
        self._process, self._limit_seconds, self._ours = process, limit_seconds, ours

    def __getattr__(self, request: str) -> Callable[..., Any]:
        return lambda **arguments: self._process.ask(request, arguments, self._limit_seconds, self._ours)


def manner_of_death(code: int | None, log: Path) -> str:
    if code is not None and code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else "a signal"
        hint = "; the system sends it when memory runs out" if name == "SIGKILL" else ""
        manner = f"the process was killed by {name} (signal {-code}){hint}"
    else:
        manner = f"the process exited with code {code} before it answered"
    said = text_of(log) or ""
    crash = [
        (name, int(number)) for name, number in _FRAME.findall(said.rpartition(_CRASH)[2] if _CRASH in said else "")
    ]
    if crash:
        return f"{place_among(crash[::-1])}: {manner}"
    *_, last = said.splitlines() or [""]
    return f"{manner}; its log ends: {in_brief(last)}" if last.strip() else manner


def kept(logs: Path) -> str:
    """A clause on a copy of a log, or of a folder of logs, that outlives its folder; empty without any text."""
    found = [log for log in (logs.iterdir() if logs.is_dir() else [logs]) if text_of(log)]
    if not found:
        return ""
    folder = Path(tempfile.mkdtemp(prefix="loopmark-logs-"))
    copies = [Path(shutil.copy(log, folder)) for log in found]
    return f"; log: {copies[0] if len(copies) == 1 else folder}"


_CRASH = "Fatal Python error"  # before the running lines, innermost first
_FRAME = re.compile(r'File "([^"]+)", line (\d+)')


class WorkerPool:
    """Starts the worker processes of a plan, all on one set of cores.

    ``caches`` holds each case's compiled code, so that a later process of the case reuses it.
    """

    def __init__(self, plan: Plan, folder: Path, caches: Path, tick: Tick) -> None:
        self.folder, self._tick = folder, tick
        self.cores = available_cores()[: plan.threads]
        self.limit_seconds = plan.limit_seconds
        self._plan, self._caches = plan, caches
        self._launcher = ForkServer()
        self._batch_sizes: dict[str, int] = {}

    def start(
        self,
        workload: str,
        loop: str,
        *,
        log: str,
        neighbours: int,
        repeat: bool = False,  # True for the baseline's repetition
        seed: int | None = None,
        batch_size: int | None = None,
    ) -> WorkerProcess:
        """A new process of the case named by workload and loop; its output goes to the file ``log`` in ``logs/``.

        Defaults: the plan's ``seed``, and the plan's ``batch_size`` or the one set by ``shrink``.
        """
        plan = self._plan
        specs = {find_loop(spec).name: spec for spec in plan.loops}
        assignment = Assignment(
            workload=next(spec for spec in plan.workloads if find_workload(spec).name == workload),
            loop=specs[loop],
            device=plan.device,
            size=cast(Size, plan.size),
            batch_size=self._batch_sizes.get(workload, plan.batch_size) if batch_size is None else batch_size,
            seed=plan.seed if seed is None else seed,
            threads=plan.threads,
            cores=self.cores,
            compile_cache=self._cache(workload, loop, repeat),
            neighbours=neighbours,
            log=self.folder / "logs" / f"{log}.txt",
            baseline=specs[plan.baseline],
        )
        return WorkerProcess(self._launcher, assignment, self._tick)

    def shrink(self, workload: str, batch_size: int | None) -> int | None:
        """Halve the batch size of all later processes of ``workload``, and return it.

        None where it cannot be halved: the user chose it, it is unknown or below 2, or the workload ignores it.
        """
        asked = self._batch_sizes.get(workload, batch_size)
        if self._plan.batch_size is not None or batch_size is None or batch_size < 2 or batch_size != asked:
            return None
        self._batch_sizes[workload] = batch_size // 2
        return batch_size // 2

    def unshrink(self, workload: str) -> None:
        """Undo ``shrink`` for later processes of ``workload``."""
        self._batch_sizes.pop(workload, None)

    def forget_compiled(self, workload: str, loop: str, repeat: bool) -> None:
        """Delete the case's compiled code, so that its next process compiles from an empty cache."""
        shutil.rmtree(self._cache(workload, loop, repeat), ignore_errors=True)

    def _cache(self, workload: str, loop: str, repeat: bool) -> Path:
        # Hashed: names are chosen by the user and can have any length. A repetition does not share compiled code.
        case = f"{workload}\0{loop}\0{repeat}".encode(errors="replace")
        folder = self._caches / hashlib.sha256(case).hexdigest()[:16]
        folder.mkdir(exist_ok=True)
        return folder


@contextmanager
def worker_pool(plan: Plan, folder: Path, tick: Tick = lambda: None) -> Iterator[WorkerPool]:
    """The pool for a run in ``folder``. On exit, its compiled code and empty logs are removed."""
    caches = Path(tempfile.mkdtemp(prefix="loopmark-compiled-"))
    logs = folder / "logs"
    logs.mkdir(exist_ok=True)
    try:
        yield WorkerPool(plan, folder, caches, tick)
    finally:
        shutil.rmtree(caches, ignore_errors=True)
        for log in list(logs.iterdir()):
            if log.stat().st_size == 0:
                log.unlink()
        with suppress(OSError):  # a log is not empty
            logs.rmdir()
