"""``loopmark verify`` on the command line, mostly in this process, so that its fork server starts once."""

import json
from pathlib import Path

import pytest

from tests.measure.properties.examined import planted
from tests.measure.properties.faults import FAULTS
from tests.support.command import Here, loopmark

QUICK = ("--workload", "regression_mlp", "--threads", "1")


def test_a_loop_that_keeps_every_property_has_status_0_and_a_sentence_that_says_so(here: Here) -> None:
    done = here("verify", "eager", "tests/examples/own_loop.py:step", *QUICK)

    assert done.returncode == 0, done.stderr
    assert "eager keeps all 13 properties of a training step." in done.stdout
    assert "own_loop:step keeps all 13 properties of a training step." in done.stdout
    assert "BROKEN" not in done.stdout


def test_a_fault_is_named_with_its_line_and_makes_the_status_1(tmp_path: Path, here: Here) -> None:
    done = here("verify", planted(tmp_path, **FAULTS["forgets zero_grad"].instead), *QUICK)

    assert done.returncode == 1
    assert "BROKEN  zeroed-gradients" in done.stdout
    assert "forgets zero_grad" in done.stdout
    assert "planted:step breaks 1 of 13 properties of a training step: zeroed-gradients." in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_json_is_all_that_standard_output_gets(tmp_path: Path, here: Here) -> None:
    done = here("verify", "eager", planted(tmp_path, **FAULTS["steps twice"].instead), "--json", *QUICK)
    first, second = json.loads(done.stdout)["loops"]

    assert done.returncode == 1
    assert {outcome["status"] for outcome in first["outcomes"]} == {"holds"}
    (broken,) = [outcome for outcome in second["outcomes"] if outcome["status"] == "broken"]
    assert broken["name"] == "one-update"
    assert "steps twice" in broken["explanation"]
    assert "planted.py:" in broken["explanation"]


@pytest.mark.parametrize(
    ("loop", "says"),
    [
        ("raises", "raises ValueError at tests/examples/misbehaving.py:25 in the code after the last yield"),
        ("raises_at_once", "raises ValueError at tests/examples/misbehaving.py:30"),
        ("exits", "raises SystemExit at tests/examples/misbehaving.py:48"),
        ("is_killed", "killed by SIGKILL"),
        ("forks", "forks its process at tests/examples/misbehaving.py:"),
    ],
)
def test_a_loop_that_ends_badly_is_explained_and_makes_the_status_1(loop: str, says: str, here: Here) -> None:
    done = here("verify", f"tests/examples/misbehaving.py:{loop}", *QUICK)

    assert done.returncode == 1
    assert says in done.stdout
    assert "BROKEN  runs" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_a_loop_that_hangs_is_ended_at_the_limit_and_said_to_hang_where_it_does(tmp_path: Path, here: Here) -> None:
    spec = planted(tmp_path, predict="__import__('time').sleep(1000)")
    done = here("verify", spec, "--limit", "1", *QUICK)
    lines = Path(spec.partition(":")[0]).read_text().splitlines()
    number = next(i for i, line in enumerate(lines, start=1) if "sleep" in line)

    assert done.returncode == 1
    assert f"hangs at {spec.partition(':')[0]}:{number} in `forward`: it was still there after 1 s" in done.stdout
    assert "BROKEN  runs" in done.stdout


def test_a_step_without_phases_breaks_a_property_and_the_other_loops_are_checked(here: Here) -> None:
    bad = "tests/examples/misbehaving.py"
    done = here("verify", f"{bad}:yields_nothing", f"{bad}:yields_an_unknown_phase", "eager", *QUICK)

    assert done.returncode == 1
    assert "misbehaving:yields_nothing breaks 1 of 13 properties of a training step: phases-in-order" in done.stdout
    assert "yields no phase" in done.stdout
    assert "yields 3, which is no phase" in done.stdout
    assert "eager keeps all 13 properties" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["eager", "--workload", "tests/examples/own_workload.py:nothing"], "has no 'nothing'"),
        (["ampp"], "no loop named 'ampp'"),
        (["eager", "--workload", "resnett"], "did you mean 'resnet'"),
        (["nowhere.py:step"], "no file nowhere.py"),
        (["eager", "--limit", "0"], "--limit 0.0 makes no sense"),
        (["eager", "--batch-size", "100000", *QUICK], "a batch size of 100000 does not fit"),
        ([], "Missing argument"),
    ],
)
def test_bad_input_is_one_clear_line_and_status_2(arguments: list[str], says: str, here: Here) -> None:
    done = here("verify", *arguments)

    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1
    assert says in done.stderr


@pytest.mark.parametrize(
    ("loop", "says"),
    [
        ("cuda_graph", "cuda_graph needs a CUDA device"),
        ("checkpoint", "checkpoint needs a task that names its model's blocks"),
    ],
)
def test_a_loop_that_cannot_be_tried_here_has_status_4_and_the_reason(loop: str, says: str, here: Here) -> None:
    done = here("verify", loop, "--device", "cpu", *QUICK)

    assert done.returncode == 4
    assert f"{loop} cannot be verified here: {says}" in done.stdout


def test_a_whole_step_driver_is_verified_by_the_step_within_it(tmp_path: Path, here: Here) -> None:
    (tmp_path / "own.py").write_text(
        "from loopmark.loops.technique import Driver, Technique\n\n\n"
        "class Whole(Driver):\n"
        "    def __call__(self, task, inputs, targets):\n"
        "        for _ in self.step(task, inputs, targets):\n"
        "            pass\n\n\n"
        "whole = Technique('whole', 'drives the step', rank=95, driver=Whole)\n"
    )
    done = here("verify", f"{tmp_path}/own.py:whole", *QUICK)

    assert done.returncode == 0, done.stdout + done.stderr


def test_a_temporary_folder_with_too_long_a_path_for_a_socket_is_named_with_what_to_do(tmp_path: Path) -> None:
    long = tmp_path / ("x" * 100)
    long.mkdir()
    done = loopmark("verify", "eager", *QUICK, TMPDIR=str(long))

    assert done.returncode == 2
    assert f"{long}: the path is too long" in done.stderr
    assert "set TMPDIR to a shorter one" in done.stderr


def test_what_a_file_prints_when_it_is_imported_is_not_among_the_json(tmp_path: Path, here: Here) -> None:
    spec = planted(tmp_path)
    (tmp_path / "planted.py").write_text("print('from the file')\n" + (tmp_path / "planted.py").read_text())
    done = here("verify", spec, "--json", *QUICK)

    assert json.loads(done.stdout)
    assert "from the file" in done.stderr


def test_a_working_folder_that_is_gone_is_said_to_be(
    tmp_path: Path, here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    done = here("verify", "eager", *QUICK)

    assert done.returncode == 2
    assert done.stderr == "loopmark: the working folder no longer exists; change to a folder that does\n"
