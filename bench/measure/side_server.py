"""The fork server of a side that has an interpreter or environment variables of its own.

It runs in the side's interpreter, imports torch once, and forks a process for each launch.

All launches of a side share their server's memory layout, and a layout can make equal code faster or slower. So servers
start without address randomisation, with equal hash seeds and with environments of equal size, and import in a
repeatable order: two servers of equal code then have torch and Loopmark at the same addresses. Sixteen pairs of such
servers, on two shared cores, differed no more than their ten launch pairs each explain (docs/method.md).
"""

import contextlib
import ctypes
import importlib
import json
import multiprocessing
import os
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Self

from loopmark.bench.errors import BadInput
from loopmark.bench.measure.assignment import Assignment
from loopmark.bench.measure.entry import PACKAGE, PRELOAD, RESTORE, enter, leave_working_directory
from loopmark.bench.measure.launcher import modules_of_workloads, side_environment

BOOT = """
import sys
sys.path[:] = filter(None, sys.path)
import importlib.util
spec = importlib.util.spec_from_file_location("loopmark", sys.argv[1] + "/__init__.py")
sys.modules["loopmark"] = package = importlib.util.module_from_spec(spec)
spec.loader.exec_module(package)
from loopmark.bench.measure.side_server import serve
serve(int(sys.argv[2]))
"""
"""The server's program, called with PACKAGE and its socket. It loads our package by its path, since adding a
``site-packages`` folder to ``sys.path`` would also add this interpreter's packages."""

REQUEST = b"launch"
PADDING = "LOOPMARK_PADDING"
ENVIRONMENT_BYTES = 2**16  # environments are padded to a multiple of this size, which decides where the stack begins
ADDR_NO_RANDOMIZE = 0x0040000  # of Linux's personality(2)


class SideServer:
    """Forks launches from a server in ``python`` with ``variables``. As a context manager, it ends the server.

    With ``own_loops``, it imports this Loopmark's ``loops`` for all launches; else each launch imports its tree's.
    """

    def __init__(
        self,
        python: Path,
        variables: dict[str, str],
        *,
        others: dict[str, str],  # the variables of the other side
        own_loops: bool,
        limit_seconds: float,
    ) -> None:
        self._python, self._limit_seconds = python, limit_seconds
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - it is closed with the server
        self._control, theirs = socket.socketpair()
        # The worker first: later imports are not repeatable, so that its modules would lie elsewhere in each server.
        modules = f"loopmark.bench.measure.{'worker' if own_loops else 'entry'} {modules_of_workloads()}"
        with theirs, _without_randomisation() as self.has_fixed_layout:
            self._server = subprocess.Popen(
                [str(python), "-c", BOOT, str(PACKAGE), str(theirs.fileno())],
                env=_padded(side_environment(variables), side_environment(others), modules),
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._log,
                start_new_session=True,  # Ctrl-C is for this process alone
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._control.close()
        self._server.kill()
        self._server.wait()
        self._log.close()

    def launch(self, assignment: Assignment) -> "tuple[ServedProcess, Connection]":
        """See ``Launcher``. Raises BadInput where the interpreter takes too long to start."""
        ours, theirs = multiprocessing.Pipe()
        state, told = multiprocessing.Pipe(duplex=False)
        with theirs, told, contextlib.suppress(BrokenPipeError):  # it has ended: the first request shows it
            socket.send_fds(self._control, [REQUEST], [theirs.fileno(), told.fileno()])
            ours.send(assignment)
        if not state.poll(self._limit_seconds):
            raise BadInput(
                f"{self._python}: no process started within {self._limit_seconds:.0f} s; --limit allows more"
            )
        process = ServedProcess(state, self._server)
        if process.pid == self._server.pid:
            self._log.seek(0)
            assignment.log.write_bytes(self._log.read())
        return process, ours


class ServedProcess:
    """A process of a server, or the server itself where that ended before."""

    def __init__(self, state: Connection, server: "subprocess.Popen[bytes]") -> None:
        self._state, self._server = state, server
        self._code: int | None = None
        self.sentinel = state.fileno()
        self.pid = self._told() or server.pid

    @property
    def exitcode(self) -> int | None:
        if self._code is None and self._state.poll():
            code = self._told()
            self._code = self._server.wait() if code is None else code
        return self._code

    def join(self, timeout: float | None = None) -> None:
        if self._code is None:
            self._state.poll(timeout)

    def kill(self) -> None:
        if self.exitcode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def _told(self) -> int | None:
        """The next number from the server: first the process's id, then its exit code; None if the server has ended."""
        try:
            return int(self._state.recv())
        except (EOFError, ConnectionResetError):
            return None


def serve(descriptor: int) -> None:
    """Fork a process for each launch that is asked for on the socket ``descriptor``, until its other end closes."""
    leave_working_directory()
    importlib.import_module("loopmark.bench.measure.preload")
    control = socket.socket(fileno=descriptor)
    bell, ring = socket.socketpair()
    ring.setblocking(False)
    signal.set_wakeup_fd(ring.fileno())  # so that the end of a process ends the wait below
    signal.signal(signal.SIGCHLD, lambda *_: None)
    running: dict[BaseProcess, Connection] = {}

    def work(connection: Connection) -> None:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        ends: list[socket.socket | Connection] = [control, bell, ring, *running.values()]
        for end in ends:  # else the server's end would stay unseen while this process lives
            end.close()
        assignment = connection.recv()
        with assignment.log.open("ab") as log:  # until the worker opens it itself, a failure would stay unseen
            os.dup2(log.fileno(), 2)
        enter(connection, assignment)

    while True:
        ready = wait([control, bell])
        if bell in ready:
            bell.recv(4096)
        for process in [one for one in running if one.exitcode is not None]:
            with running.pop(process) as told, contextlib.suppress(BrokenPipeError):
                told.send(process.exitcode)
        if control in ready:
            request, descriptors, *_ = socket.recv_fds(control, len(REQUEST), 2)
            if not request:
                os._exit(0)  # the processes end by themselves
            given: list[Connection] = [Connection(each) for each in descriptors]
            connection, told = given
            process = multiprocessing.get_context("fork").Process(target=work, args=(connection,))
            running[process] = told
            process.start()
            connection.close()
            with contextlib.suppress(BrokenPipeError):
                told.send(process.pid)


def _padded(environment: dict[str, str], others: dict[str, str], modules: str) -> dict[str, str]:
    """``environment`` with the variables of a server's start, which ``preload`` undoes, in an equal size for any side.

    A variable that only the ``others`` have, the other side's environment, is replaced by one of equal length.
    """
    started = {PRELOAD: modules, "PYTHONHASHSEED": "0", PADDING: ""}
    started[RESTORE] = json.dumps({name: environment.get(name) for name in started})
    replaced = {f"_{name[1:]}": "1" * len(value) for name, value in others.items() if name not in environment}
    started |= replaced | environment
    # Each variable takes its name, its value, two more bytes and a pointer.
    size = sum(len(os.fsencode(name + value)) + 10 for name, value in started.items())
    return {**started, PADDING: "-" * (-size % ENVIRONMENT_BYTES)}


@contextlib.contextmanager
def _without_randomisation() -> Iterator[bool]:
    """Start processes with a fixed memory layout from this thread; False where the system does not permit it.

    Linux does, and most containers do not.
    """
    personality = getattr(ctypes.CDLL(None), "personality", lambda _: -1)
    before = personality(0xFFFFFFFF)
    permitted = before != -1 and personality(before | ADDR_NO_RANDOMIZE) != -1
    try:
        yield permitted
    finally:
        if permitted:
            personality(before)
