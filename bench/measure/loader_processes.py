"""The processes that a task's loader starts: their cores, their rest between turns, their share of the cores."""

import contextlib
import multiprocessing
import os
import resource
import signal
from collections.abc import Iterable
from pathlib import Path


class LoaderProcesses:
    """The worker process's own children. ``cores``: where they may run, as in a script that is not pinned."""

    def __init__(self, cores: Iterable[int]) -> None:
        self._cores = set(cores)
        if self._cores:  # a fork starts on its parent's cores, those of the training
            os.register_at_fork(after_in_child=lambda: os.sched_setaffinity(0, self._cores))

    def wake(self) -> None:
        """Let them run again. Those that are no forks, which run no code of ours, get their cores here."""
        for pid in _children():
            _send(pid, signal.SIGCONT)
            for thread in _threads(pid) if self._cores else ():
                with contextlib.suppress(OSError):  # it has ended
                    os.sched_setaffinity(int(thread.name), self._cores)

    def rest(self) -> None:
        """Stop them until ``wake``.

        Else they would fetch batches ahead during the other loops' turns, from which they would take the cores, and
        the next turn would find these batches for nothing.
        """
        for pid in _children():
            _send(pid, signal.SIGSTOP)


def turns_on_a_core() -> int:
    """The times that this process's children, ended ones included, have got a core (Linux)."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    alive = 0
    for thread in (thread for pid in _children() for thread in _threads(pid)):
        with contextlib.suppress(OSError, ValueError, IndexError):  # it has ended, or the kernel does not count
            alive += int((thread / "schedstat").read_text().split()[2])
    return ended.ru_nvcsw + ended.ru_nivcsw + alive


def _send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):  # it has ended
        os.kill(pid, number)


def _children() -> list[int]:
    return [child.pid for child in multiprocessing.active_children() if child.pid is not None]


def _threads(pid: int) -> list[Path]:
    with contextlib.suppress(OSError):
        return list(Path(f"/proc/{pid}/task").iterdir())
    return []
