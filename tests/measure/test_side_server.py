"""The fork server of a side: its environment, its processes' ends, its own end, and an equal layout for equal code."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from multiprocessing.connection import wait
from pathlib import Path

import pytest

from loopmark.bench.errors import BadInput
from loopmark.bench.measure.assignment import Tree
from loopmark.bench.measure.launcher import SPIN_COUNT, side_environment
from loopmark.bench.measure.pool import CaseEnded, WorkerProcess
from loopmark.bench.measure.side_server import SideServer, _padded, _without_randomisation
from tests.measure.test_launcher import assignment

GIVEN = {"CUDNN_LOGLEVEL_DBG": "0", "TRITON_PRINT_AUTOTUNING": "0"}
LAYOUT = """
import asyncio, re, sys, unittest.mock
print(*re.findall(r"(.*) .*(heap|stack)", open("/proc/self/maps").read()), *map(id, sys.modules.values()), hash("a"))
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SideServer]:
    """It is started in a folder with a file that has the name of a module of Python's."""
    folder = tmp_path_factory.mktemp("cwd")
    for name in ("json", "socket", "torch"):
        (folder / f"{name}.py").write_text("raise ImportError")
    with contextlib.chdir(folder):
        started = SideServer(Path(sys.executable), GIVEN, others={}, own_loops=True, limit_seconds=120)
    with started:
        yield started


def test_a_side_that_says_how_idle_threads_wait_is_taken_at_its_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    monkeypatch.setenv("GOMP_SPINCOUNT", SPIN_COUNT)  # as this process sets it for its own workers
    assert side_environment({})["GOMP_SPINCOUNT"] == SPIN_COUNT
    assert "GOMP_SPINCOUNT" not in side_environment({"OMP_WAIT_POLICY": "ACTIVE"})
    assert side_environment({"OMP_WAIT_POLICY": "ACTIVE", "GOMP_SPINCOUNT": "7"})["GOMP_SPINCOUNT"] == "7"
    monkeypatch.setenv("GOMP_SPINCOUNT", "99")
    assert side_environment({"OMP_WAIT_POLICY": "ACTIVE"})["GOMP_SPINCOUNT"] == "99"  # a user's own value


def launched(server: SideServer, folder: Path) -> WorkerProcess:
    return WorkerProcess(server, replace(assignment(None), cores=(), compile_cache=folder, log=folder / "log"))


def test_a_launch_has_its_sides_variables_and_neither_the_servers_nor_what_each_launch_is_given(
    server: SideServer, tmp_path: Path
) -> None:
    with closing(launched(server, tmp_path)) as process:
        found = process.within(120).environment().variables
    assert GIVEN.items() <= found.items()
    assert not {"TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR", "PYTHONHASHSEED"} & set(found)
    assert not [name for name in found if name.startswith("LOOPMARK_")]


def test_a_launch_that_crashes_shows_its_signal_and_the_next_one_is_forked_all_the_same(
    server: SideServer, tmp_path: Path
) -> None:
    with launched(server, tmp_path) as crashed, launched(server, tmp_path) as process:
        os.kill(crashed.pid, signal.SIGSEGV)
        with pytest.raises(CaseEnded, match="SIGSEGV"):
            crashed.within(60).environment()
        assert process.within(60).environment().threads


def test_a_launch_that_is_closed_ends_with_0(server: SideServer, tmp_path: Path) -> None:
    process, connection = server.launch(
        replace(assignment(None), cores=(), compile_cache=tmp_path, log=tmp_path / "log")
    )
    assert process.exitcode is None
    connection.close()
    assert wait([process.sentinel], 60)
    assert process.exitcode == 0


def test_a_launch_that_fails_before_its_worker_runs_says_why(server: SideServer, tmp_path: Path) -> None:
    tree = Tree(tmp_path / "gone", tmp_path / "gone")
    given = replace(assignment(tree), cores=(), compile_cache=tmp_path, log=tmp_path / "log")
    with WorkerProcess(server, given) as process, pytest.raises(CaseEnded, match="its log ends: FileNotFoundError"):
        process.within(60).environment()


def test_an_interpreter_that_never_starts_is_given_up(tmp_path: Path) -> None:
    hung = tmp_path / "python"
    hung.write_text("#!/bin/sh\nexec sleep 60\n")
    hung.chmod(0o755)
    with (
        SideServer(hung, {}, others={}, own_loops=True, limit_seconds=0.1) as server,
        pytest.raises(BadInput, match="no process started within"),
    ):
        launched(server, tmp_path)


def test_servers_of_equal_code_have_an_equal_layout_where_one_side_has_variables_or_others_of_that_length() -> None:
    plain, given, others = (
        side_environment({}),
        side_environment({"LONG": "1", "OTHER": "22"}),
        side_environment({"LONG": "3", "OTHER": "44"}),
    )
    with _without_randomisation():
        first, again, second, third = [
            subprocess.run(
                [sys.executable, "-c", LAYOUT], env=_padded(*sides, "x"), capture_output=True, check=True
            ).stdout
            for sides in ((plain, given), (plain, given), (given, plain), (others, given))
        ]
    if first != again:
        pytest.skip("this system does not permit a fixed layout")
    assert (first, first) == (second, third)


def test_a_server_ends_with_its_parent(server: SideServer) -> None:  # the last test of this one
    server._control.close()
    assert server._server.wait(60) == 0
