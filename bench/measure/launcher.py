"""Processes forked from a server that has imported torch."""

import contextlib
import json
import multiprocessing
import os
import signal
import tempfile
import threading
from collections.abc import Callable
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from typing import Any, Protocol, TypeVar, cast

from loopmark.bench.errors import BadInput
from loopmark.bench.measure.assignment import Assignment
from loopmark.bench.measure.entry import (
    PACKAGE,
    PRELOAD,
    RESTORE,
    enter,
    leave_working_directory,
    restore_variables,
)

T = TypeVar("T")

ANSWER_SECONDS = 120  # limit on a query about the machine
SPIN_COUNT = "10000"
"""The number of times an idle OpenMP thread looks for work before it sleeps. With libgomp's default, 300,000, threads
of the process that ended its turn keep spinning on the cores of the next one. On two cores, the residual network's
steps then took a third longer, and a launch pair's figure varied by 4 % to 7 % instead of 1 % to 2 %."""


class Process(Protocol):
    """A process, as ``multiprocessing`` has it. It leads its own process group once it runs."""

    @property
    def pid(self) -> int | None: ...
    @property
    def exitcode(self) -> int | None: ...
    @property
    def sentinel(self) -> int: ...
    def join(self, timeout: float | None = None) -> None: ...
    def kill(self) -> None: ...


class Launcher(Protocol):
    """Starts worker processes."""

    def launch(self, assignment: Assignment) -> tuple[Process, Connection]:
        """A process that works on ``assignment``, and the caller's end of its pipe."""


class ForkServer:
    """A server that imports torch once and forks launches in milliseconds.

    It never uses CUDA, since a context does not survive a fork; importing its modules queries no device. With
    ``own_loops``, this Loopmark's ``loops`` are imported once for all launches; else each launch imports its tree's.
    """

    def __init__(self, *, own_loops: bool = True) -> None:
        self._context = _start_server("worker" if own_loops else "entry")

    def launch(self, assignment: Assignment) -> tuple[Process, Connection]:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=enter, args=(theirs, assignment), daemon=False)
        process.start()
        theirs.close()
        return process, ours


def side_environment(variables: dict[str, str]) -> dict[str, str]:
    """This process's environment with ``variables``. A side that sets OMP_WAIT_POLICY keeps its own waiting."""
    ours = dict(os.environ)
    if "OMP_WAIT_POLICY" in {**ours, **variables}:
        if ours.get("GOMP_SPINCOUNT") == SPIN_COUNT:
            del ours["GOMP_SPINCOUNT"]  # it would override OMP_WAIT_POLICY
    else:
        ours.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)
    return {**ours, **variables}


def apart(function: Callable[..., T], *arguments: Any) -> T:
    """The result of ``function(*arguments)``, called in a new process.

    It is used to query the device: the same call here could give this process a CUDA context, which takes memory from
    the loops and is counted as another program on the device.

    Raises ChildProcessError where the process ended, or was killed, without an answer.
    """
    context = _start_server("worker")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(theirs, function, arguments))
    process.start()
    theirs.close()
    try:
        fine, answer = ours.recv()
    except EOFError:
        raise ChildProcessError(f"the process that ran {function.__name__} ended without an answer") from None
    finally:
        process.kill()
        process.join()
    if not fine:
        raise answer
    return cast(T, answer)


def _answer(connection: Connection, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    signal.alarm(ANSWER_SECONDS)  # ends this process if the parent was killed
    leave_working_directory()
    try:
        answer = True, function(*arguments)
    except Exception as error:
        answer = False, error
    with contextlib.suppress(BrokenPipeError):  # nobody waits for it any more
        connection.send(answer)


def modules_of_workloads() -> str:
    """The modules that workloads need and a server imports, separated by spaces."""
    # Here, since a worker imports this module and starts no server: an older revision's catalog has no ASKED.
    from loopmark.loops.catalog import ASKED, WORKLOADS

    return " ".join(sorted({workload.data for workload in (*WORKLOADS.values(), *ASKED) if workload.data}))


def _start_server(module: str) -> ForkServerContext:
    """The fork server, preloaded with a module of ``bench.measure``. There is one; its imports are fixed at its start.

    It inherits the ignored Ctrl-C; by itself it would ignore it only after importing torch. It imports nothing from the
    working directory, which may hold files of any name. Raises BadInput where TMPDIR's path is too long for a socket.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([f"loopmark.bench.measure.{name}" for name in ("preload", module)])
    # Its import path excludes the working directory and includes an uninstalled checkout; `preload` undoes both.
    # A killed worker leaves the semaphores of its loader's queues, which multiprocessing removes with a warning.
    quiet = ",".join(filter(None, (os.environ.get("PYTHONWARNINGS"), "ignore:resource_tracker:UserWarning")))
    variables = {"PYTHONSAFEPATH": "1", "PYTHONWARNINGS": quiet, PRELOAD: modules_of_workloads()}
    if "site-packages" not in PACKAGE.parts:
        variables["PYTHONPATH"] = os.pathsep.join(filter(None, (str(PACKAGE.parent), os.environ.get("PYTHONPATH"))))
    os.environ[RESTORE] = json.dumps({name: os.environ.get(name) for name in variables})
    os.environ.update(variables)
    is_main = threading.current_thread() is threading.main_thread()  # only it may set signal handlers
    before = signal.signal(signal.SIGINT, signal.SIG_IGN) if is_main else None
    try:
        forkserver.ensure_running()
    except OSError as error:
        if "AF_UNIX path too long" not in str(error):
            raise
        longest = f"{tempfile.gettempdir()}: the path is too long for a process's socket, which allows 107 characters"
        raise BadInput(f"{longest}; set TMPDIR to a shorter one, such as /tmp") from None
    finally:
        if is_main:
            signal.signal(signal.SIGINT, before)
        restore_variables()
    return context
