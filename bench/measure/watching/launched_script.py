"""A launch of a training script whose hooks wait for requests: its processes, its socket, its folder, and its end."""

import contextlib
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import connection
from pathlib import Path
from typing import Any

from loopmark.bench.errors import BadInput
from loopmark.bench.measure.launcher import side_environment
from loopmark.bench.measure.watching.command import variables
from loopmark.bench.measure.watching.loopmark_hooks import TURNS
from loopmark.bench.measure.watching.watched import WatchedProcesses

OUT = "{out}"  # in a command: a folder of each launch's own
GRACE_SECONDS = 5.0  # for a script that was asked to end, before it is killed
IDLE_SECONDS, IDLE_SHARE = 10.0, 0.05  # a launch that used less than this share of a core for so long is idle


@dataclass(frozen=True)
class Script:
    """A command that trains, with the environment variables and the working folder of its side."""

    command: tuple[str, ...]
    variables: dict[str, str]
    folder: Path

    @property
    def writes_apart(self) -> bool:
        return any(OUT in word for word in self.command)


class LaunchedScript:
    """One launch. Closing it ends all its processes and removes its folder, which lies in ``within``."""

    def __init__(self, name: str, script: Script, within: Path) -> None:
        """Start it. Raises BadInput if it cannot be started."""
        self._folder = Path(tempfile.mkdtemp(prefix="", dir=within))
        self.log, out, self._marks = (self._folder / part for part in ("log.txt", "out", "hooks"))
        # In the kernel's own namespace (unix(7)): a path in TMPDIR may be longer than a socket's address can be.
        self._address = f"@loopmark-{os.urandom(12).hex()}"
        self._link: socket.socket | None = None
        self._received = b""
        self._resting: list[int] = []
        self.pid: int | None = None  # of the process that trains, once it has begun
        out.mkdir()
        self._marks.mkdir()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(self._address.replace("@", "\0"))
        self._listener.listen()
        environment = {**variables(self._marks, side_environment(script.variables)), TURNS: self._address}
        try:
            with self.log.open("wb") as log:
                self._command = subprocess.Popen(
                    [word.replace(OUT, str(out)) for word in script.command],
                    cwd=script.folder,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
        except OSError as error:
            self._listener.close()
            raise BadInput(f"{name}: cannot start {script.command[0]}: {error.strerror}") from None
        self.started = self._busy_at = time.monotonic()
        self._busy_seconds = 0.0
        self._ended = os.pidfd_open(self._command.pid)

    # Requests and answers

    def send(self, request: dict[str, Any]) -> None:
        assert self._link is not None
        with contextlib.suppress(OSError):  # it has ended: no answer shows it
            self._link.sendall(json.dumps(request).encode() + b"\n")

    def answer(self, seconds: float) -> dict[str, Any] | None:
        """The next answer, waited for at most ``seconds``; None without one. Raises EOFError where the script is over.

        The first answer comes by itself, after the first step. The pauses of the wait are the kernel's: nothing runs
        here while a block is timed.
        """
        end = time.monotonic() + seconds
        while b"\n" not in self._received:
            sources: list[Any] = [self._link] if self._link else [self._listener, self._ended]
            ready = connection.wait(sources, max(0.0, end - time.monotonic()))
            if self._listener in ready:
                self._link, _ = self._listener.accept()
                credentials = self._link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
                self.pid = struct.unpack("3i", credentials)[0] or None  # 0 from another namespace
            elif self._link in ready:
                self._receive()
            elif ready:
                raise EOFError
            else:
                return None
        text, _, self._received = self._received.partition(b"\n")
        answer: dict[str, Any] = json.loads(text)
        return answer

    def _receive(self) -> None:
        assert self._link is not None
        with contextlib.suppress(ConnectionResetError):
            if found := self._link.recv(2**16):
                self._received += found
                return
        raise EOFError

    def is_second(self) -> bool:
        """True if another process of the command has begun to train."""
        return bool(connection.wait([self._listener], 0))

    # Processes

    def rest(self) -> None:
        """Stop the children of the process that trains until ``wake``: loaders would fetch ahead in others' turns."""
        self._resting = [*_descendants(self.pid)] if self.pid else []
        _signal(self._resting, signal.SIGSTOP)

    def wake(self) -> None:
        _signal(self._resting, signal.SIGCONT)

    def is_idle(self) -> bool:
        """True if its processes have not worked for ``IDLE_SECONDS``. To be called every second or more often."""
        import psutil

        now, busy = time.monotonic(), 0.0
        for pid in self._members():
            with contextlib.suppress(psutil.Error):
                times = psutil.Process(pid).cpu_times()
                busy += times.user + times.system
        if busy - self._busy_seconds > IDLE_SHARE * (now - self._busy_at):
            self._busy_at, self._busy_seconds = now, busy
        return now - self._busy_at > IDLE_SECONDS

    def status(self, seconds: float = 0.0) -> int | None:
        """The command's exit status, minus the signal's number if one ended it; None while it runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._command.wait(seconds)
        return None

    def why_no_step(self) -> str:
        return WatchedProcesses(self._marks).why_none()

    def close(self) -> None:
        """Ask its processes to end, kill those that do not, and remove its folder."""
        for number in (signal.SIGTERM, signal.SIGCONT):
            self._signal_all(number)
        for end in filter(None, (self._link, self._listener)):
            end.close()
        end_seconds = time.monotonic() + GRACE_SECONDS
        while self._alive() and time.monotonic() < end_seconds:
            time.sleep(0.01)
        while self._alive() and time.monotonic() < end_seconds + GRACE_SECONDS:
            self._signal_all(signal.SIGKILL)
            time.sleep(0.01)
        if self._ended >= 0:
            os.close(self._ended)
            self._ended = -1
        shutil.rmtree(self._folder, ignore_errors=True)

    def _alive(self) -> bool:
        return self._command.poll() is None or bool(self._members())

    def _signal_all(self, number: signal.Signals) -> None:
        if self._command.poll() is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._command.pid, number)
        _signal(self._members(), number)

    def _members(self) -> list[int]:
        """Every process with this launch's address in its environment, also one that has left its group."""
        mark, found = f"{TURNS}={self._address}".encode(), []
        for path in Path("/proc").glob("[0-9]*/environ"):
            with contextlib.suppress(OSError):
                if mark in path.read_bytes():
                    found.append(int(path.parent.name))
        return found


def _descendants(pid: int) -> Iterator[int]:
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in map(int, path.read_text().split()):
                yield child
                yield from _descendants(child)


def _signal(pids: Sequence[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)
