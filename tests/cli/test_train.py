"""``loopmark train`` on the command line, in this process, so that its fork server starts once."""

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from loopmark.bench.records.store import folder_name
from tests.support.command import ROOT, Done, Here, called

EXAMPLES = ROOT / "tests" / "examples"

NO_TARGET = """
import torch
from loopmark.loops.task import Batches, Task


def make_task(device, batch_size, seed):
    data = torch.arange(32, dtype=torch.float32, device=device)[:, None]
    model = torch.nn.Linear(1, 1).to(device)
    return Task(model, torch.nn.functional.mse_loss, torch.optim.SGD, Batches(data, data, batch_size=8, seed=seed))
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Done, Path]:
    out = tmp_path_factory.mktemp("results")
    done = called(
        "train", "--workload", "regression", "--loop", "amp_bf16", "--loop", "cuda_graph", "--seeds", 2, "--threads", 1,
        "--out", out,
    )  # fmt: skip
    (folder,) = out.glob("*/*/")
    return done, folder


def test_a_training_ends_with_a_table_a_sentence_and_a_folder_that_holds_everything(trained) -> None:
    done, folder = trained
    assert done.returncode == 0, done.stderr
    assert "trained to R² of at least 0.45 on held-out data, 2 seeds" in done.stdout
    assert "On regression, amp_bf16 trains as eager does" in done.stdout
    assert "cuda_graph needs a CUDA device; this machine has none" in done.stdout
    assert {path.name for path in folder.iterdir()} == {
        "training.json", "evaluations.parquet", "training_losses.parquet", "deviations.parquet", "training.csv",
        "report.html", "report.md", "plots",
    }  # fmt: skip


def test_losses_of_every_step_and_quality_after_every_epoch_are_kept(trained) -> None:
    _, folder = trained
    training = json.loads((folder / "training.json").read_text(encoding="utf-8"))
    losses = pd.read_parquet(folder / "training_losses.parquet")
    evaluations = pd.read_parquet(folder / "evaluations.parquet")
    run = [i for i, trial in enumerate(training["trials"]) if trial["status"] == "ok"]
    assert training["name"] == folder.name == folder_name(training["started"])
    assert len(run) == 4
    for index in run:
        steps = training["trials"][index]["steps"]
        assert list(losses.query("trial == @index")["step"]) == list(range(steps))
        assert list(evaluations.query("trial == @index")["step"]) == list(range(0, steps + 1, 5))


def test_a_stored_training_is_drawn_again_without_torch(trained) -> None:
    done, folder = trained
    program = (
        "import sys\n"
        f"sys.argv = ['loopmark', 'report', {str(folder)!r}]\n"
        "from loopmark.bench.cli import main\n"
        "try:\n    main()\n"
        "finally:\n    assert 'torch' not in sys.modules, 'torch was imported'\n"
    )
    again = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=False)
    assert again.returncode == 0, again.stderr
    assert done.stdout.splitlines()[-1] in again.stdout


def test_the_same_command_twice_gives_the_same_losses_and_says_what_determinism_costs(
    here: Here, tmp_path: Path
) -> None:
    losses = []
    for name in ("one", "two"):
        done = here(
            "train", "--workload", "regression", "--loop", "fused_optimizer", "--deterministic", "--seeds", 1,
            "--out", tmp_path / name, "--json",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        summary = json.loads(done.stdout)
        assert [case["loop"] for case in summary["workloads"][0]["cases"]] == [
            "eager", "eager", "deterministic", "deterministic+fused_optimizer"
        ]  # fmt: skip
        losses.append(pd.read_parquet(Path(summary["folder"]) / "training_losses.parquet"))
    # A loop that converges on quality alone takes the same steps both times. Time has no influence within the budget.
    assert losses[0].equals(losses[1])


def test_an_own_workload_and_an_own_step_train_like_any_other(here: Here, tmp_path: Path) -> None:
    workload, step = f"{EXAMPLES / 'own_workload.py'}:make_task", f"{EXAMPLES / 'own_loop.py'}:step"
    done = here(
        "train", "--workload", workload, "--loop", step, "--seeds", 1, "--threads", 1, "--out", tmp_path, "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (workload,) = json.loads(done.stdout)["workloads"]
    cases = {case["loop"]: case for case in workload["cases"] if case["repeat"] == "no"}
    assert cases["eager"]["seeds_at_target"] == cases["own_loop:step"]["seeds_at_target"] == 1
    # Its gradients are clipped before the optimizer gets them.
    assert cases["own_loop:step"]["verdict"] == "departs"
    assert cases["own_loop:step"]["kind"] == "gradient"


def test_a_loop_that_fails_is_a_row_and_makes_the_status_1(here: Here, tmp_path: Path) -> None:
    done = here(
        "train", "--workload", "regression", "--loop", f"{EXAMPLES / 'misbehaving.py'}:raises_at_once", "--seeds", 1,
        "--out", tmp_path,
    )  # fmt: skip
    assert done.returncode == 1
    assert "failed: " in done.stdout
    assert "ValueError: wrong from the start" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            ["--loop", f"{EXAMPLES / 'misbehaving.py'}:yields_an_unknown_phase"],
            "the step yields 3, which is no phase",
        ),
        (["--loop", f"{EXAMPLES / 'misbehaving.py'}:yields_nothing"], "the step yields no phase"),
        (["--loop", "ampp"], "did you mean 'amp_bf16'"),
        (["--workload", "nowhere.py:make_task"], "no file nowhere.py"),
        (["--seeds", "0"], "--seeds 0 makes no sense; give 1 to 1000"),
        (["--seeds", "many"], "--seeds"),
        (["--budget", "nan"], "--budget nan makes no sense"),
        (["--budget", "-1"], "--budget -1.0 makes no sense"),
        (["--device", "cuda:99"], "--device"),
        (["--batch-size", "0"], "--batch-size 0 makes no sense"),
        (["--out", "/proc/none"], "--out"),
    ],
)
def test_bad_input_is_one_clear_line_and_status_2(here: Here, tmp_path: Path, arguments: list[str], says: str) -> None:
    done = here("train", "--workload", "regression", "--out", tmp_path, *arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert says in done.stderr.strip().splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.name != ".gitignore"]


def test_a_workload_without_a_target_is_one_clear_line_and_status_2(here: Here, tmp_path: Path) -> None:
    (tmp_path / "aimless.py").write_text(NO_TARGET)
    done = here("train", "--workload", f"{tmp_path / 'aimless.py'}:make_task", "--out", tmp_path / "results")
    assert done.returncode == 2
    assert done.stdout == ""
    assert (
        done.stderr.strip().splitlines()[-1].startswith("loopmark: aimless:make_task states no target; give its Task")
    )
    assert not list((tmp_path / "results").glob("*/*"))


@pytest.mark.usefixtures("brief_runs")
def test_a_run_trains_too_and_a_workload_without_a_target_is_only_compared(here: Here, tmp_path: Path) -> None:
    (tmp_path / "aimless.py").write_text(NO_TARGET)
    workloads = f"regression,{tmp_path / 'aimless.py'}:make_task"
    done = here(
        "run", "--workload", workloads, "--loop", "foreach_optimizer", "--budget", 0.2, "--launches", 1,
        "--threads", 1, "--out", tmp_path / "results", "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    regression, aimless = json.loads(done.stdout)["training"]["workloads"]
    assert {case["verdict"] for case in regression["cases"]} == {"same"}
    assert {case["verdict"] for case in aimless["cases"]} == {"same"}
    assert regression["cases"][0]["seeds_at_target"] == 1
    assert aimless["cases"][0]["seeds"] is None


@pytest.mark.usefixtures("brief_runs")
def test_a_run_that_is_not_to_train_does_not(here: Here, tmp_path: Path) -> None:
    done = here(
        "run", "--workload", "regression", "--loop", "eager", "--deterministic", "--no-train", "--budget", 0.2,
        "--launches", 1, "--threads", 1, "--out", tmp_path, "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["training"] is None
    cases = {case["loop"]: case for case in summary["workloads"][0]["cases"]}
    assert cases["deterministic"]["speedup"] > 0
    assert not list(tmp_path.rglob("training.json"))
