"""A machine with its own Python and no network needs neither ruptures nor cpuinfo, in any process."""

import os
from pathlib import Path

import pytest

from loopmark.bench.measure.machine import describe_machine
from tests.support.command import BRIEFLY, ROOT, loopmark
from tests.support.histories import dated, keep
from tests.support.synthetic import Truth, make_run

WITHOUT = ("ruptures", "cpuinfo")


@pytest.fixture
def lean(tmp_path: Path) -> str:
    """A PYTHONPATH on which neither can be imported, in worker processes too."""
    for name in WITHOUT:
        (tmp_path / "lean").mkdir(exist_ok=True)
        (tmp_path / "lean" / f"{name}.py").write_text(f"raise ModuleNotFoundError('No module named {name}')\n")
    return os.pathsep.join((str(tmp_path / "lean"), str(ROOT)))


def test_a_run_measures_reports_and_keeps_the_machines_name_without_them(lean: str, tmp_path: Path) -> None:
    arguments = ("--quick", "--device", "cpu", "--workload", "regression", "--loop", "fused_optimizer", "--no-train")
    few = ("--budget", "0.05", "--launches", "1")
    done = loopmark("run", *arguments, *few, cwd=tmp_path, program=("-c", BRIEFLY), PYTHONPATH=lean)
    assert done.returncode == 0, done.stderr
    (run,) = (tmp_path / "results").glob("*/*/run.json")
    assert (run.parent / "report.html").exists()
    assert run.parent.parent.name == describe_machine("cpu").name  # with cpuinfo


def test_a_history_without_ruptures_says_what_to_install_in_one_line(lean: str, tmp_path: Path) -> None:
    run, samples = make_run([Truth("eager"), Truth("eager", repeat=True), Truth("compile", 0.008)], rounds=2)
    for number in range(6):
        keep(tmp_path, dated(run, number), samples)
    done = loopmark("history", tmp_path / run.machine.name, PYTHONPATH=lean)

    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "loopmark: finding changes needs ruptures, which is not installed; run pip install ruptures"
    ]
