"""The processes that a task's loader starts: their cores, their rest between turns, their turns on a core."""

import contextlib
import multiprocessing
import os
import resource
import signal
from collections.abc import Set
from pathlib import Path


class LoaderProcesses:
    """The worker process's own children. ``cores``: where they may run, as in a script that is not pinned."""

    def __init__(self, cores: Set[int]) -> None:
        self._cores = cores
        if cores:  # a fork starts on the cores of its parent, those of the training
            os.register_at_fork(after_in_child=lambda: os.sched_setaffinity(0, cores))

    def wake(self) -> None:
        """Let them run again. A spawned one, which runs no code of ours, gets its cores here."""
        for pid in _children():
            with contextlib.suppress(OSError):  # it has ended
                os.kill(pid, signal.SIGCONT)
                for thread in _threads(pid) if self._cores else ():
                    os.sched_setaffinity(int(thread.name), self._cores)

    def rest(self) -> None:
        """Stop them until ``wake``.

        Else they would fetch ahead in the other loops' turns, on their cores, and the next turn would wait for less.
        """
        for pid in _children():
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGSTOP)


def turns_on_a_core() -> int:
    """The times that this process's children, ended ones included, have got a core."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    turns = ended.ru_nvcsw + ended.ru_nivcsw
    for thread in (thread for pid in _children() for thread in _threads(pid)):
        with contextlib.suppress(OSError, IndexError):  # it has ended, or the kernel does not count
            turns += int((thread / "schedstat").read_text().split()[2])
    return turns


def _children() -> list[int]:
    return [child.pid for child in multiprocessing.active_children() if child.pid is not None]


def _threads(pid: int) -> list[Path]:
    return [*Path(f"/proc/{pid}/task").glob("*")]
