"""Which processes on a GPU are another's."""

import os
import subprocess
import sys

import psutil
import pytest

from loopmark.bench.measure.disturbance import foreign

ME, INIT = os.getpid(), 1


def test_fewer_processes_than_our_own_say_nothing_of_others() -> None:
    assert foreign([], own_processes=3) == 0
    assert foreign([4_000_001], own_processes=3) == 0


def test_ids_of_another_namespace_are_counted() -> None:
    assert foreign([4_000_001, 4_000_002, 4_000_003], own_processes=2) == 1


def test_a_stranger_among_processes_of_this_namespace_is_foreign() -> None:
    assert foreign([ME, INIT], own_processes=1) == 1


def test_what_a_worker_started_is_never_foreign() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as compiles:
        try:
            assert foreign([ME, compiles.pid], own_processes=1) == 0
        finally:
            compiles.communicate(b"\n")


@pytest.mark.parametrize("error", [psutil.NoSuchProcess(ME), psutil.AccessDenied(ME)])
@pytest.mark.parametrize("asked", ["__init__", "children"])
def test_where_descent_cannot_be_told_processes_are_counted(
    monkeypatch: pytest.MonkeyPatch, asked: str, error: psutil.Error
) -> None:
    def refuse(*_arguments: object, **_options: object) -> None:
        raise error

    monkeypatch.setattr(psutil.Process, asked, refuse)
    assert foreign([ME, INIT, 4_000_001], own_processes=2) == 1
