"""``loopmark memory`` on the command line."""

import json
from pathlib import Path

import pytest

from tests.support.command import ROOT, Here

QUICK = ("--workload", "regression_mlp", "--threads", 1)
BAD = ROOT / "tests" / "examples" / "misbehaving.py"


def test_a_step_is_shown_phase_by_phase_and_kept_with_a_plot(here: Here, tmp_path: Path) -> None:
    done = here("memory", "eager", "tests/examples/own_loop.py:step", "cuda_graph", *QUICK, "--out", tmp_path)
    (folder,) = tmp_path.glob("*/2*")

    assert done.returncode == 0, done.stderr
    assert "regression_mlp, eager: the step peaks at " in done.stdout
    assert "regression_mlp, own_loop:step: the step peaks at " in done.stdout
    assert "regression_mlp, cuda_graph: skipped: cuda_graph needs a CUDA device" in done.stdout
    assert {path.name for path in folder.iterdir()} == {"memory.json", "memory.csv", "plots"}
    assert len(list((folder / "plots").glob("*.png"))) == 2


def test_json_is_all_that_standard_output_gets_and_a_loop_that_fails_makes_the_status_1(
    here: Here, tmp_path: Path
) -> None:
    done = here("memory", "eager", f"{BAD}:raises_at_once", "--json", *QUICK, "--out", tmp_path)
    eager, raises = json.loads(done.stdout)["loops"]

    assert done.returncode == 1
    assert [phase["phase"] for phase in eager["phases"]][:2] == ["data", "zero_grad"]
    assert raises["status"] == "failed"
    assert "wrong from the start" in raises["reason"]


def test_status_4_where_none_of_them_can_be_looked_at(here: Here, tmp_path: Path) -> None:
    assert here("memory", "cuda_graph", "--device", "cpu", *QUICK, "--out", tmp_path).returncode == 4


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "Missing argument"),
        (["ampp"], "no loop named 'ampp'"),
        (["eager", "--workload", "resnett"], "did you mean 'resnet'"),
        (["eager", "--out", "/dev/null/x"], "choose another --out"),
        ([f"{BAD}:yields_an_unknown_phase", *QUICK], "yields 3, which is no phase"),
    ],
)
def test_bad_input_is_one_clear_line_and_status_2(here: Here, arguments: list[str], says: str, tmp_path: Path) -> None:
    done = here("memory", *(["--out", tmp_path] if "--out" not in arguments else []), *arguments)

    assert done.returncode == 2
    assert done.stdout == ""
    assert says in done.stderr.strip().splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} <= {".gitignore"}
