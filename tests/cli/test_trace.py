"""``loopmark trace`` on the command line, mostly in this process, so that its fork server starts once."""

import csv
import gzip
import json
from pathlib import Path

import pytest

from tests.support.command import ROOT, Here

QUICK = ("--workload", "regression", "--threads", "1", "--steps", "2")
PHASES = ["data", "zero_grad", "forward", "loss", "backward", "optimizer"]


def test_a_trace_goes_beside_the_machines_runs_and_says_how_to_open_it(tmp_path: Path, elsewhere: Here) -> None:
    done = elsewhere("trace", ROOT / "tests/examples/own_loop.py:step", *QUICK)
    (folder,) = tmp_path.glob("results/*/traces/*")
    with gzip.open(folder / "trace.json.gz", "rt", encoding="utf-8") as content:
        names = [event["name"] for event in json.load(content)["traceEvents"]]

    assert done.returncode == 0, done.stderr
    assert folder.name.endswith("-regression-own-loop-step")
    assert {path.name for path in folder.iterdir()} == {"trace.json.gz", "kernels.csv"}
    assert names.count("step") == 2
    assert "own_loop:step on regression, cpu: 2 steps profiled" in done.stdout
    assert "https://ui.perfetto.dev" in done.stdout
    assert "no figure of a trace enters a report" in done.stdout


def test_report_check_and_history_take_no_trace_for_a_run(tmp_path: Path, here: Here) -> None:
    folder = tmp_path / "cpu" / "traces" / "one"
    assert here("trace", "eager", "--out", folder, *QUICK).returncode == 0

    for done, says in (
        (here("report", folder), "has no run.json"),
        (here("check", folder, "--baseline", folder), "has no run.json"),
        (here("history", tmp_path), "holds no run"),
    ):
        assert done.returncode == 2
        assert says in done.stderr


def test_json_is_all_that_standard_output_gets_and_names_the_files(tmp_path: Path, here: Here) -> None:
    done = here("trace", "accumulate_2", "--json", "--out", tmp_path, *QUICK)
    found = json.loads(done.stdout)
    with (tmp_path / "kernels.csv").open(encoding="utf-8", newline="") as file:
        kernels = list(csv.DictReader(file))

    assert done.returncode == 0, done.stderr
    assert (found["status"], found["loop"], found["device"]) == ("ok", "accumulate_2", "cpu")
    assert Path(found["trace"]) == tmp_path / "trace.json.gz"
    assert [phase["phase"] for phase in found["profile"]["phases"]] == PHASES
    assert len(kernels) == sum(len(phase["costs"]) for phase in found["profile"]["phases"])


@pytest.mark.parametrize(
    ("loop", "says"),
    [
        ("raises_at_once", "tests/examples/misbehaving.py:30: ValueError: wrong from the start"),
        ("raises", "tests/examples/misbehaving.py:25: ValueError: the loop's own mistake"),
        ("exits", "SystemExit"),
        ("is_killed", "killed by SIGKILL"),
    ],
)
def test_a_loop_that_ends_badly_has_its_reason_and_status_1_and_leaves_no_file(
    loop: str, says: str, tmp_path: Path, here: Here
) -> None:
    many = ("--steps", "40")  # enough steps to fail on a slow machine too, where warm-up takes few steps
    done = here("trace", f"tests/examples/misbehaving.py:{loop}", *QUICK, *many, "--out", tmp_path / "out")

    assert done.returncode == 1
    assert says in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    assert not (tmp_path / "out").exists()


def test_a_loop_that_hangs_is_ended_at_the_limit(tmp_path: Path, here: Here) -> None:
    done = here(
        "trace", "tests/examples/misbehaving.py:hangs", *QUICK, "--steps", "40", "--limit", "3", "--out", tmp_path
    )

    assert done.returncode == 1
    assert "it timed out: gave no answer within 3 s and was ended; --limit allows more" in done.stdout


@pytest.mark.parametrize(
    ("loop", "says"),
    [
        ("cuda_graph", "cuda_graph needs a CUDA device"),
        ("checkpoint", "checkpoint needs a task that names its model's blocks"),
    ],
)
def test_a_loop_that_cannot_be_traced_here_has_status_4_and_the_reason(
    loop: str, says: str, tmp_path: Path, here: Here
) -> None:
    done = here("trace", loop, "--device", "cpu", "--out", tmp_path, *QUICK)

    assert done.returncode == 4
    assert f"{loop} cannot be traced here: {says}" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["tests/examples/misbehaving.py:yields_an_unknown_phase", *QUICK], "yields 3, which is no phase"),
        (["tests/examples/misbehaving.py:yields_nothing", *QUICK], "yields no phase"),
        (["ampp"], "no loop named 'ampp'; did you mean"),
        (["eager", "--workload", "resnett"], "did you mean 'resnet'"),
        (["nowhere.py:step"], "no file nowhere.py"),
        (["eager", "--steps", "0"], "--steps 0 makes no sense; give 1 to 100"),
        (["eager", "--steps", "101"], "--steps 101 makes no sense"),
        (["eager", "--device", "tpu"], "no device 'tpu'"),
        (["eager", "--limit", "0"], "--limit 0.0 makes no sense"),
        (["eager", "--out", "README.md"], "cannot write to README.md"),
        ([], "Missing argument"),
    ],
)
def test_bad_input_is_one_clear_line_and_status_2(arguments: list[str], says: str, here: Here) -> None:
    done = here("trace", *arguments)

    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1
    assert says in done.stderr


def test_the_folder_of_a_run_is_no_place_for_a_trace(tmp_path: Path, here: Here) -> None:
    (tmp_path / "run.json").write_text("{}")
    done = here("trace", "eager", "--out", tmp_path)

    assert done.returncode == 2
    assert "profiled steps never mix with measured ones" in done.stderr
