"""Work that is shared out over this machine's cores: what is judged and drawn, never what is timed."""

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

MOST = 4  # processes at once: each holds what it makes, and what one core does in seconds gains little from more
ENDS_WITHIN_SECONDS = 5.0  # of a process that is told to end; then it is killed

Item = TypeVar("Item")
Result = TypeVar("Result")
Pipe: TypeAlias = "Connection[Any, Any]"
Answer: TypeAlias = "Connection[Any, Any] | None"  # where a share's results come from, if there was a process for it

_sharing = False


def over_cores(
    work: Callable[[Item], Result], items: Iterable[Item], tell: Callable[[float], None] = lambda _: None
) -> list[Result]:
    """``work`` of each item, in order, by as many processes as there are cores, this one among them.

    The others are its forks: what they work on, ten million rows of samples, is neither copied nor sent to them, and
    what comes of it is sent back. Each takes every n-th item and ends. A share that comes to nothing (an error,
    no memory, no process to be had) is worked off here after all, and its error is raised here. Within a share, in a
    process that may have no children, and elsewhere than on Linux, where libraries do not bear a fork, everything is
    done in this process. A file that is open before has one place to read at for all of them: work opens its own.

    Args:
        tell: is told, in this process alone, what fraction of its share is done, before each item of it.
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
    """What is shared out is not shared out again, and the garbage collector leaves what was there before alone.

    To walk through all that was read, again and again, takes a tenth of the time; and memory of a GPU, of which a fork
    inherits the handles, is its parent's to free.
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
    """Where the results of ``share`` will come from; None where the system has no process to give."""
    context = multiprocessing.get_context("fork")
    with warnings.catch_warnings():
        # Python warns of threads that may hold a lock at the fork. Those of numpy, Arrow and torch know of forks.
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

    def end() -> None:  # it has answered, or nobody waits for its answer any more
        process.terminate()
        process.join(ENDS_WITHIN_SECONDS)
        if process.is_alive():
            process.kill()
            process.join()

    ended.callback(end)
    return answer


def _work_off(work: Callable[[Item], Result], share: Sequence[Item], told: Pipe, inherited: Sequence[Pipe]) -> None:
    for one in inherited:  # while any process can still read them, nobody learns that the one who would read has died
        one.close()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whom Ctrl-C stops, stops this one
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # nothing half-written stays
    with contextlib.suppress(Exception):  # it happens again where it is to be raised
        told.send(_worked_off(work, share))


def _worked_off(
    work: Callable[[Item], Result], share: Sequence[Item], tell: Callable[[float], None] = lambda _: None
) -> list[Result]:
    done: list[Result] = []
    for item in share:
        tell(len(done) / len(share))
        done.append(work(item))
    return done
