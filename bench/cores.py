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
from typing import Any, TypeVar

MOST = 4
"""Processes at once: each holds what it makes, and what one core does in seconds gains little from more."""

Item = TypeVar("Item")
Result = TypeVar("Result")

_in_a_share = False


def over_cores(
    work: Callable[[Item], Result], items: Iterable[Item], tell: Callable[[float], None] = lambda _: None
) -> list[Result]:
    """``work`` of each item, in order, by as many processes as there are cores, this one among them.

    The others are its forks: what they work on, ten million rows of samples, is neither copied nor sent to them, and
    what comes of it is sent back. Each takes every so-manieth item and ends. A share that comes to nothing (an error,
    no memory, no process to be had) is worked off here after all, and its error is raised here. Within a share, and
    elsewhere than on Linux, where libraries do not bear a fork, everything is done in this process.

    Args:
        tell: is told, in this process alone, what fraction of its share is done, before each item of it.
    """
    items = list(items)
    alone = _in_a_share or sys.platform != "linux" or not items
    count = 1 if alone else min(len(os.sched_getaffinity(0)), len(items), MOST)
    shares = [items[first::count] for first in range(count)]
    with contextlib.ExitStack() as ended:
        answers = [_started(work, share, ended) for share in shares[1:]]
        ended.enter_context(_uncollected())
        worked_off = [_worked_off(work, shares[0], tell)]
        for share, answer in zip(shares[1:], answers, strict=True):
            received = _received(answer)
            worked_off.append(_worked_off(work, share, tell) if received is None else received)
    results: list[Any] = [None] * len(items)
    for first, own in enumerate(worked_off):
        results[first::count] = own
    return results


def _started(
    work: Callable[[Item], Result], share: Sequence[Item], ended: contextlib.ExitStack
) -> "Connection[Any, Any] | None":
    """Where the results of ``share`` will come from; None where the system has no process to give."""
    context = multiprocessing.get_context("fork")
    answer, told = context.Pipe(duplex=False)
    ended.callback(answer.close)
    process = context.Process(target=_work_off, args=(work, share, told), daemon=True)
    with told, warnings.catch_warnings():
        # Of threads that may hold a lock at the fork: numpy's and Arrow's look after themselves, and torch's and the
        # progress bar's are of no use to a share.
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            process.start()
        except OSError:
            return None
    ended.callback(process.join)
    ended.callback(process.terminate)  # before it is waited for: it has answered, or nobody waits for its answer
    return answer


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Without the garbage collector, which walks through all that was read again and again: a tenth of the time."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


def _worked_off(work: Callable[[Item], Result], share: Sequence[Item], tell: Callable[[float], None]) -> list[Result]:
    done: list[Result] = []
    for item in share:
        tell(len(done) / len(share))
        done.append(work(item))
    return done


def _work_off(work: Callable[[Item], Result], share: Sequence[Item], told: "Connection[Any, Any]") -> None:
    global _in_a_share
    _in_a_share = True
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whom Ctrl-C stops, stops this one
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    gc.disable()  # what was inherited, its parent gives back: memory of a GPU must not be freed from here
    with contextlib.suppress(Exception):  # it happens again where it is to be raised
        told.send([work(item) for item in share])


def _received(answer: "Connection[Any, Any] | None") -> list[Any] | None:
    if answer is None:
        return None
    try:
        received: list[Any] = answer.recv()
    except (EOFError, OSError):
        return None
    return received
