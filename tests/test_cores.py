"""Work over several cores: in order, once each, with its errors in the right places."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from loopmark.bench.cores import over_cores
from tests.support.command import ROOT

pytestmark = pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="there is no fork to share work with")


@pytest.fixture(autouse=True)
def three_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2})


def of_processes(number: int) -> tuple[int, int]:
    return number, os.getpid()


@pytest.mark.parametrize("count", [0, 1, 2, 3, 7, 50])
def test_results_come_in_the_order_of_the_items(count: int) -> None:
    assert [number for number, _ in over_cores(of_processes, range(count))] == list(range(count))


def test_as_many_processes_as_cores_work_and_this_is_one_of_them() -> None:
    processes = {process for _, process in over_cores(of_processes, range(9))}
    assert len(processes) == 3
    assert os.getpid() in processes


def test_no_process_is_started_for_one_item() -> None:
    assert over_cores(of_processes, [4]) == [(4, os.getpid())]


def test_what_is_worked_on_need_not_be_sent() -> None:
    unsendable: list[Callable[[], int]] = [lambda n=n: n * n for n in range(5)]  # type: ignore[misc]
    assert over_cores(lambda item: item(), unsendable) == [0, 1, 4, 9, 16]


def test_a_large_result_arrives_whole() -> None:
    large = over_cores(lambda number: bytes([number]) * 10_000_000, range(4))
    assert [(each[:1], len(each)) for each in large] == [(bytes([n]), 10_000_000) for n in range(4)]


def test_an_error_is_raised_with_its_own_type_and_says_nothing_by_itself(capfd: pytest.CaptureFixture[str]) -> None:
    def refuse_the_second(number: int) -> int:
        if number == 1:
            raise FileNotFoundError(2, "it is gone", "there")
        return number

    with pytest.raises(FileNotFoundError, match="it is gone"):
        over_cores(refuse_the_second, range(6))
    assert capfd.readouterr() == ("", "")


def test_the_share_of_a_process_that_was_killed_is_done_here() -> None:
    here = os.getpid()

    def die_elsewhere(number: int) -> int:
        if os.getpid() != here:
            os.kill(os.getpid(), signal.SIGKILL)
        return number

    assert over_cores(die_elsewhere, range(5)) == list(range(5))


class Unreadable(Exception):  # noqa: N818
    """An error that can be pickled but not unpickled."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(first + second)


def test_what_cannot_be_read_back_is_worked_out_here() -> None:
    assert [str(one) for one in over_cores(lambda number: Unreadable("a", str(number)), range(4))] == [
        "a0", "a1", "a2", "a3",
    ]  # fmt: skip


def test_what_cannot_be_sent_back_is_worked_out_here() -> None:
    results = over_cores(lambda number: lambda: number, range(4))
    assert [result() for result in results] == list(range(4))


def test_a_system_without_a_process_to_give_has_everything_done_here(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused() -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", refused)
    assert over_cores(of_processes, range(4)) == [(n, os.getpid()) for n in range(4)]


def test_no_pipe_to_be_had_is_no_process_to_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr("multiprocessing.connection.Pipe", refused)
    assert over_cores(of_processes, range(4)) == [(n, os.getpid()) for n in range(4)]


def test_work_within_a_share_is_not_shared_out_again_and_afterwards_it_is() -> None:
    nested = over_cores(lambda _: over_cores(of_processes, range(3)), range(3))
    processes = [{process for _, process in inner} for inner in nested]
    assert [len(own) for own in processes] == [1, 1, 1]
    assert len(set.union(*processes)) == 3
    assert len({process for _, process in over_cores(of_processes, range(3))}) == 3


def test_a_process_that_may_have_no_children_works_alone() -> None:
    context = multiprocessing.get_context("fork")
    answer, told = context.Pipe(duplex=False)
    process = context.Process(target=lambda: told.send(over_cores(of_processes, range(4))), daemon=True)
    process.start()
    assert answer.poll(20)
    assert answer.recv() == [(n, process.pid) for n in range(4)]
    process.join()


def test_an_interruption_ends_every_process() -> None:
    here = os.getpid()

    def interrupt(number: int) -> int:
        if os.getpid() == here:
            raise KeyboardInterrupt
        signal.pause()
        return number

    with pytest.raises(KeyboardInterrupt):
        over_cores(interrupt, range(3))
    assert multiprocessing.active_children() == []


def test_a_process_that_is_told_to_end_takes_back_what_it_had_half_written(tmp_path: Path) -> None:
    here = os.getpid()

    def interrupt(number: int) -> None:
        if os.getpid() != here:
            with half_written(tmp_path / str(number)):
                signal.pause()
        while not (tmp_path / "1").exists():
            time.sleep(0.01)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        over_cores(interrupt, range(2))
    assert list(tmp_path.iterdir()) == []


@contextmanager
def half_written(path: Path) -> Iterator[None]:
    path.touch()
    try:
        yield
    finally:
        path.unlink()


PARENT = r"""
import os, sys, time
os.sched_getaffinity = lambda _: {0, 1, 2}
from loopmark.bench.cores import over_cores
from tests.support.command import ROOT

here = os.getpid()

def work(number):
    if os.getpid() == here:
        time.sleep(600)
    os.write(1, f"{os.getpid()}\n".encode())  # in one piece: both do so at once
    return bytes(1_000_000)

over_cores(work, range(3))
"""


def test_processes_end_with_the_one_that_would_read_their_answers() -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert parent.stdout is not None
    forks = [int(parent.stdout.readline()) for _ in range(2)]
    parent.kill()
    parent.wait()
    assert psutil.wait_procs([psutil.Process(fork) for fork in forks if psutil.pid_exists(fork)], timeout=20)[1] == []
