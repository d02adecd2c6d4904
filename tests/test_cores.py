"""Work over several cores: in order, once, and with its errors where they belong."""

import multiprocessing
import os
import signal
from collections.abc import Callable

import pytest

from bench.cores import over_cores

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


def test_what_cannot_be_sent_back_is_worked_out_here() -> None:
    results = over_cores(lambda number: lambda: number, range(4))
    assert [result() for result in results] == list(range(4))


def test_a_system_without_a_process_to_give_has_everything_done_here(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused() -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", refused)
    assert over_cores(of_processes, range(4)) == [(n, os.getpid()) for n in range(4)]


def test_work_within_a_share_is_not_shared_out_again() -> None:
    nested = over_cores(lambda _: over_cores(of_processes, range(3)), range(3))
    elsewhere = [{process for _, process in inner} for inner in nested[1:]]
    assert all(len(processes) == 1 for processes in elsewhere)
    assert len(set.union(*elsewhere)) == 2


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
