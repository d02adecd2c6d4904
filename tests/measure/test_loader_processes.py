"""A loader's processes: stopped between turns, not pinned with the training, and counted as the run's own."""

import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from loopmark.bench.measure import meters
from loopmark.bench.measure.loader import LoaderProcesses, turns_on_a_core

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def answer(pipe: Connection) -> None:
    while pipe.recv():
        pipe.send(sorted(os.sched_getaffinity(0)))


@pytest.fixture
def child(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[int, Connection]]:
    """A process that answers with the cores that it may use."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=answer, args=(theirs,), daemon=True)
    process.start()
    # Other tests of this process may have children too.
    monkeypatch.setattr(multiprocessing, "active_children", lambda: [process])
    assert process.pid is not None
    yield process.pid, ours
    process.kill()
    process.join()


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]


def in_time(is_so: Callable[[], bool]) -> bool:
    end = time.monotonic() + 20
    while not is_so() and time.monotonic() < end:
        time.sleep(0.001)
    return is_so()


def test_they_are_stopped_until_they_are_woken(child: tuple[int, Connection]) -> None:
    pid, pipe = child
    processes = LoaderProcesses(frozenset())
    processes.rest()
    assert in_time(lambda: state(pid) == "T")
    pipe.send(True)
    assert not pipe.poll(0.05)
    processes.wake()
    assert pipe.poll(20)


def test_one_that_ended_meanwhile_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multiprocessing, "active_children", lambda: [SimpleNamespace(pid=2**30)])
    processes = LoaderProcesses(frozenset())
    processes.rest()
    processes.wake()
    assert turns_on_a_core() >= 0


def test_they_may_use_all_cores_however_they_start(
    child: tuple[int, Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    forks: list[Any] = []
    monkeypatch.setattr(os, "register_at_fork", lambda after_in_child: forks.append(after_in_child))
    pid, pipe = child
    all_cores = os.sched_getaffinity(0)
    os.sched_setaffinity(pid, {min(all_cores)})  # as a spawned one is, which inherits the training's cores
    LoaderProcesses(frozenset(all_cores)).wake()
    pipe.send(True)

    assert pipe.recv() == sorted(all_cores)
    assert len(forks) == 1


def test_a_core_that_went_to_ones_own_loader_was_not_taken_away_by_others(monkeypatch: pytest.MonkeyPatch) -> None:
    meter = meters.DisturbanceMeter((), None)
    counts = iter([(100, 40), (107, 45), (107, 45), (109, 60)])  # of the process's own threads, and its children's

    def read() -> int:
        own, meters_own = next(counts)
        monkeypatch.setattr(meters, "turns_on_a_core", lambda: meters_own)
        return own

    monkeypatch.setattr(meter, "_switches", read)
    meter.begin()
    assert meter.end(1).involuntary_switches == 2
    meter.begin()
    assert meter.end(1).involuntary_switches == 0
