"""The plugin with real processes, in a session of its own."""

import os
import re
import signal
import subprocess
import sys
import time
import uuid
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import psutil
import pytest

from tests.conftest import INSTALLED
from tests.plugin.conftest import SURROUNDINGS

ROOT = Path(__file__).parents[2]
MARK = "LOOPMARK_TEST_MARK"

LOOPS = """
import time

from loopmark.loops import eager


def dawdles(task, inputs, targets):
    for phase in eager.step(task, inputs, targets):
        if phase == "forward":
            time.sleep(0.01)
        yield phase


def raises(task, inputs, targets):
    yield "zero_grad"
    raise ValueError("wrong from the start")
"""
TESTS = """
BRIEFLY = {"seconds": 0.05, "launches": 5, "threads": 1, "device": "cpu"}


def test_that_dawdles(loop_benchmark):
    loop_benchmark("regression", "mine.py:dawdles", against="eager", **BRIEFLY)


def test_that_raises(loop_benchmark):
    loop_benchmark("regression", "mine.py:raises", **{**BRIEFLY, "launches": 1})


def test_that_cannot_run_here(loop_benchmark):
    loop_benchmark("regression", "cuda_graph", **BRIEFLY)
"""
ENDLESS = """
def test_endless(loop_benchmark):
    loop_benchmark("regression", seconds=1000, launches=2, threads=1, device="cpu")
"""


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if name not in SURROUNDINGS}
    environment |= {"PYTHONPATH": str(ROOT), MARK: str(uuid.uuid4())}
    load = () if INSTALLED else ("-p", "loopmark.bench.plugin")
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *load, *arguments],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    process.mark = environment[MARK]  # type: ignore[attr-defined]
    return process


def left_of(process) -> list[psutil.Process]:
    """Running processes that ``process`` started."""
    left = []
    for other in psutil.process_iter():
        try:
            if other.environ().get(MARK) == process.mark and other.status() != psutil.STATUS_ZOMBIE:
                left.append(other)
        except psutil.Error:
            continue
    return left


def wait_until(true, seconds: float = 60) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if true():  # call it once: the answer may change
            return True
        time.sleep(0.05)
    return False


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").write_text("[tool.pytest.ini_options]\n")  # sets the root of its paths
    (tmp_path / "mine.py").write_text(LOOPS)
    return tmp_path


def test_a_loop_that_dawdles_fails_one_that_raises_says_where_and_one_that_cannot_run_is_skipped(folder: Path) -> None:
    (folder / "tests").mkdir()
    (folder / "tests" / "test_speed.py").write_text(TESTS)
    process = start(folder, "tests", "--junitxml=junit.xml")
    output, _ = process.communicate(timeout=120)
    cases = {case.get("name"): case for case in ElementTree.parse(folder / "junit.xml").iter("testcase")}
    ends = {name: next(iter(case)) for name, case in cases.items()}
    said = {name: end.get("message", "") for name, end in ends.items()}

    assert process.returncode == pytest.ExitCode.TESTS_FAILED, output
    assert ends["test_that_dawdles"].tag == "failure"
    assert "regression: mine:dawdles on regression takes" in said["test_that_dawdles"]
    assert ends["test_that_raises"].tag == "failure"
    assert re.search(r"mine\.py:\d+: ValueError: wrong from the start; log: \S+\.txt$", said["test_that_raises"])
    assert ends["test_that_cannot_run_here"].tag == "skipped"
    assert said["test_that_cannot_run_here"].startswith("cuda_graph needs a CUDA device; ")
    assert "benchmark 'regression phases'" in output
    assert "was not used at all" not in output
    assert wait_until(lambda: not left_of(process), 10), left_of(process)


def test_ctrl_c_ends_the_session_and_every_process(folder: Path) -> None:
    (folder / "test_speed.py").write_text(ENDLESS)
    process = start(folder)
    # pytest, the fork server, its helper, and then eager twice.
    assert wait_until(lambda: len(left_of(process)) >= 5 or process.poll() is not None)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)

    assert process.returncode == pytest.ExitCode.INTERRUPTED, output
    assert "KeyboardInterrupt" in output
    assert wait_until(lambda: not left_of(process), 10), left_of(process)


def test_with_xdist_every_worker_tries_its_loops_and_claims_nothing(folder: Path) -> None:
    pytest.importorskip("xdist")
    (folder / "test_speed.py").write_text(TESTS)
    process = start(folder, "-n", "2", "-rA")
    output, _ = process.communicate(timeout=120)

    assert "PASSED test_speed.py::test_that_dawdles" in output, output
    assert "FAILED test_speed.py::test_that_raises" in output
    assert re.search(r"SKIPPED \[1\] .*: cuda_graph needs a CUDA device; ", output)
    assert "benchmark 'regression" not in output
    assert wait_until(lambda: not left_of(process), 10), left_of(process)
