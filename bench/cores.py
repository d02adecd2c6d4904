"""Share work over this machine's cores: judging and drawing, never timing."""

import contextlib
import gc
import multiprocessing
import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from multiprocessing.connection import Connection
from typing import Any, TypeAlias, TypeVar

MOST = 4  # processes at once: each holds its own results, and work of a few seconds gains little from more
ENDS_WITHIN_SECONDS = 5.0  # time for a terminated process to end before it is killed

Item = TypeVar("Item")
Result = TypeVar("Result")
Pipe: TypeAlias = "Connection[Any, Any]"
Answer: TypeAlias = "Connection[Any, Any] | None"  # the source of a share's results; None without a process

_sharing = False


def over_cores(
    work: Callable[[Item], Result], items: Iterable[Item], tell: Callable[[float], None] = lambda _: None
) -> list[Result]:
    """The results of ``work`` for each item, in order, by one process per core, including this one.

    The other processes are forks, so the input (ten million rows of samples) is neither copied nor sent; only results
    are sent back. Each fork takes every n-th item and ends. If a share fails (an error, no memory, no process), this
    process repeats it and raises its error. Everything runs in this process within a share, in a process that may have
    no children, and on systems other than Linux, where some libraries do not survive a fork. Forks share the position
    of a file that is already open, so ``work`` must open its own.

    Args:
    tell: called in this process before each item of its own share, with the fraction of the share that is done.
    """
    items = list(items)
    alone = _sharing or sys.platform != "linux" or multiprocessing.current_process().daemon or not items
    count = 1 if alone else min(len(os.sched_getaffinity(0)), len(items), MOST)
    results: list[Any] = [None] * len(items)
    with contextlib.ExitStack() as ended:
        ended.enter_context(_in_a_share())
        answers: list[Answer] = []
        for first in range(1, count):
            answers.append(_started(work, items[first::count], answers, ended))
        results[::count] = _worked_off(work, items[::count], tell)
        for first, answer in enumerate(answers, 1):
            received = None
            with contextlib.suppress(Exception):
                received = answer.recv() if answer else None
            results[first::count] = _worked_off(work, items[first::count]) if received is None else received
    return results


@contextlib.contextmanager
def _in_a_share() -> Iterator[None]:
    """Forbid a share to be divided again, and exclude the existing objects from garbage collection.

    Scanning them again and again takes a tenth of the time. A fork also inherits handles to GPU memory, which only its
    parent may free.
    """
    global _sharing
    before, _sharing = _sharing, True
    freezes = not before and not gc.get_freeze_count()
    if freezes:
        gc.freeze()
    try:
        yield
    finally:
        _sharing = before
        if freezes:
            gc.unfreeze()


def _started(
    work: Callable[[Item], Result], share: Sequence[Item], answers: Sequence[Answer], ended: contextlib.ExitStack
) -> Answer:
    """The connection that will deliver the results of ``share``; None if no process could be started."""
    context = multiprocessing.get_context("fork")
    with warnings.catch_warnings():
        # Python warns of threads that may hold a lock at the fork. Those of numpy, Arrow and torch handle forks.
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            answer, told = context.Pipe(duplex=False)
            ended.callback(answer.close)
            with told:
                inherited = [one for one in (*answers, answer) if one is not None]
                process = context.Process(target=_work_off, args=(work, share, told, inherited), daemon=True)
                process.start()
        except OSError:
            return None

    def end() -> None:  # it has answered, or its answer is no longer needed
        process.terminate()
        process.join(ENDS_WITHIN_SECONDS)
        if process.is_alive():
            process.kill()
            process.join()

    ended.callback(end)
    return answer


def _work_off(work: Callable[[Item], Result], share: Sequence[Item], told: Pipe, inherited: Sequence[Pipe]) -> None:
    for one in inherited:  # a sender learns of its reader's death only when no other process holds the pipe's end
        one.close()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C, and ends this process
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # exit cleanly, without half-written files
    with contextlib.suppress(Exception):  # the parent repeats the work, and raises the error there
        told.send(_worked_off(work, share))


def _worked_off(
    work: Callable[[Item], Result], share: Sequence[Item], tell: Callable[[float], None] = lambda _: None
) -> list[Result]:
    done: list[Result] = []
    for item in share:
        tell(len(done) / len(share))
        done.append(work(item))
    return done
