"""Standard output that is closed early or cannot be written."""

import os
import subprocess
import sys
from pathlib import Path
from typing import IO

import pytest

from loopmark.bench.records import store
from tests.support.command import ROOT
from tests.support.synthetic import Truth, make_run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    store.write(tmp_path, *make_run([Truth("eager"), Truth("tf32", 0.008)], launches=2, rounds=2))
    return tmp_path


def report_to(output: IO[str], folder: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "loopmark", "report", str(folder), *options]
    return subprocess.run(command, stdout=output, stderr=subprocess.PIPE, text=True, cwd=ROOT, timeout=240, check=False)


@pytest.mark.parametrize("options", [[], ["--json"]], ids=["a table", "JSON"])
def test_a_reader_who_leaves_is_no_failure(folder: Path, options: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as closed:
        done = report_to(closed, folder, *options)
    assert (done.returncode, "Error" in done.stderr) == (0, False)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize("options", [[], ["--json"]], ids=["a table", "JSON"])
def test_a_full_disk_is_one_line_however_little_was_to_be_written(folder: Path, options: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        done = report_to(full, folder, *options)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == "loopmark: [Errno 28] No space left on device"


def test_a_standard_output_that_was_closed_is_no_failure(folder: Path) -> None:
    command = f"exec {sys.executable} -m loopmark check {folder} --baseline {folder} >&-"
    done = subprocess.run(["sh", "-c", command], stderr=subprocess.PIPE, text=True, cwd=ROOT, timeout=240, check=False)
    assert done.returncode in (0, 3)
    assert "Traceback" not in done.stderr
