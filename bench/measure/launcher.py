"""Ways to start a process: forked from a server that has imported torch, or plainly, by any interpreter."""

import contextlib
import json
import multiprocessing
import os
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast

from loopmark.bench.errors import BadInput
from loopmark.bench.measure.assignment import Assignment
from loopmark.bench.measure.entry import BOOT, PACKAGE, RESTORE, enter, leave_working_directory, restore_variables
from loopmark.loops.catalog import WORKLOADS

T = TypeVar("T")

ANSWER_SECONDS = 120  # how long a question about the machine may take
SPIN_COUNT = "10000"
"""How often an idle OpenMP thread looks for work before it sleeps. By libgomp's own default, 300,000 times, the threads
of the process whose turn has just ended spin on the cores of the one whose turn it is: on two cores the residual
network's steps took a third longer, and a launch pair's figure varied by 4 % to 7 % instead of 1 % to 2 %."""


class StartedProcess:
    """A ``subprocess`` with the face of a ``multiprocessing`` process."""

    def __init__(self, child: "subprocess.Popen[bytes]") -> None:
        self._child = child
        self.pid: int | None = child.pid
        self.sentinel = os.pidfd_open(child.pid)

    @property
    def exitcode(self) -> int | None:
        return self._child.poll()

    def join(self, timeout: float | None = None) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(timeout)

    def kill(self) -> None:
        if self._child.poll() is None:
            self._child.kill()

    def __del__(self) -> None:
        os.close(self.sentinel)


Process = BaseProcess | StartedProcess  # it leads a group of its own as soon as it works


class Launcher(Protocol):
    """Starts worker processes."""

    def launch(self, assignment: Assignment) -> tuple[Process, Connection]:
        """A process that works on ``assignment``, and our end of the pipe to it."""


class ForkServer:
    """A server that has imported torch once and forks launches in milliseconds.

    It never touches CUDA: a context does not survive a fork. Importing these modules asks for no device. With
    ``own_loops``, this Loopmark's ``loops`` are imported once for all launches; else each imports those of its tree.
    """

    def __init__(self, *, own_loops: bool = True) -> None:
        self._context = _start_server("worker" if own_loops else "entry")

    def launch(self, assignment: Assignment) -> tuple[Process, Connection]:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=enter, args=(theirs, assignment), daemon=False)
        process.start()
        theirs.close()
        return process, ours


class Interpreter:
    """Starts each launch from nothing, by a Python of one's choice and with environment variables of its own.

    The address space is laid out anew each time, and stays so: fixed, a lucky layout would be one side's for good.
    """

    def __init__(self, python: Path, variables: dict[str, str]) -> None:
        self._python, self._variables = python, variables

    def launch(self, assignment: Assignment) -> tuple[Process, Connection]:
        ours, theirs = multiprocessing.Pipe()
        with assignment.log.open("ab") as log:
            child = subprocess.Popen(
                [str(self._python), "-c", BOOT, str(PACKAGE), str(theirs.fileno())],
                env=_environment(self._variables),
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
            )
        theirs.close()
        with contextlib.suppress(BrokenPipeError):  # it is gone already, which the first question will show
            ours.send(assignment)
        return StartedProcess(child), ours


def _environment(variables: dict[str, str]) -> dict[str, str]:
    """Ours with ``variables``; how idle threads wait is left to a side that says so itself."""
    ours = dict(os.environ)
    if "OMP_WAIT_POLICY" in {**ours, **variables}:
        if ours.get("GOMP_SPINCOUNT") == SPIN_COUNT:
            del ours["GOMP_SPINCOUNT"]  # which would count for more
    else:
        ours.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)
    return {**ours, **variables}


def apart(function: Callable[..., T], *arguments: Any) -> T:
    """``function(*arguments)``, called in a process of its own.

    For questions about the device: asking torch for them here could leave this process with a CUDA context, which
    takes memory from the loops and looks like a stranger on the device.

    Raises ChildProcessError where the process ended, or was ended, before it had an answer.
    """
    context = _start_server("worker")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(theirs, function, arguments))
    process.start()
    theirs.close()
    try:
        fine, answer = ours.recv()
    except EOFError:
        raise ChildProcessError(f"{function.__name__} was asked of a process that ended without an answer") from None
    finally:
        process.kill()
        process.join()
    if not fine:
        raise answer
    return cast(T, answer)


def _answer(connection: Connection, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    signal.alarm(ANSWER_SECONDS)  # should the parent be killed meanwhile, nobody else would end this process
    leave_working_directory()
    try:
        connection.send((True, function(*arguments)))
    except Exception as error:
        connection.send((False, error))


def _start_server(module: str) -> ForkServerContext:
    """The fork server, with a module of ``bench.measure``; there is one, and its imports are settled when it starts.

    It learns to ignore Ctrl-C only once it has imported torch, unless it inherits that. It imports nothing from the
    working directory, where a person may have files of any name. Raises BadInput where no socket fits TMPDIR's path.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)
    context = multiprocessing.get_context("forkserver")
    data = {workload.data for workload in WORKLOADS.values() if workload.data}
    context.set_forkserver_preload([*(f"loopmark.bench.measure.{name}" for name in ("preload", module)), *sorted(data)])
    # Its import path is safe, and finds our package where a checkout is not installed; `preload` undoes both.
    variables = {"PYTHONSAFEPATH": "1"}
    if "site-packages" not in PACKAGE.parts:
        variables["PYTHONPATH"] = os.pathsep.join(filter(None, (str(PACKAGE.parent), os.environ.get("PYTHONPATH"))))
    os.environ[RESTORE] = json.dumps({name: os.environ.get(name) for name in variables})
    os.environ.update(variables)
    is_main = threading.current_thread() is threading.main_thread()  # which alone may say what a signal does
    before = signal.signal(signal.SIGINT, signal.SIG_IGN) if is_main else None
    try:
        forkserver.ensure_running()
    except OSError as error:
        if "AF_UNIX path too long" not in str(error):
            raise
        longest = f"{tempfile.gettempdir()}: too long a path for the sockets of processes, which take 107 characters"
        raise BadInput(f"{longest}; set TMPDIR to a shorter one, such as /tmp") from None
    finally:
        if is_main:
            signal.signal(signal.SIGINT, before)
        restore_variables()
    return context
