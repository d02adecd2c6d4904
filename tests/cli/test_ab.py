"""``loopmark ab`` for real, on a small workload: every exit status, and no leftovers."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from datetime import datetime
from pathlib import Path

import pytest

from tests.support.command import Here

pytestmark = pytest.mark.usefixtures("brief_pairs")

SMALL = ("--workload", "regression", "--device", "cpu", "--threads", "1")
LONG = ("--loop", "loop.py:step", *SMALL, "--budget", "600", "--false-alarms", "30%")
"""A certain verdict ends a comparison far sooner, except on a busy machine."""
SLOW_LOOP = """
import time

def step(task, inputs, targets):
    task.optimizer.zero_grad(set_to_none=True)
    yield "zero_grad"
    predictions = task.model(inputs)
    yield "forward"
    loss = task.loss_fn(predictions, targets)
    yield "loss"
    loss.backward()
    yield "backward"
    task.optimizer.step()
    {pause}
    yield "optimizer"
    task.last_loss = loss.detach()
"""


def left_behind(cwd: Path) -> list[str]:
    """Files that Loopmark left in the temporary folder."""
    return [path.name for path in (cwd / "tmp").iterdir() if path.name.startswith("loopmark-")]


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), "-c", "user.name=A", "-c", "user.email=a@b", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A user's own repository whose loop has become much slower since the tag ``quick``."""
    git(tmp_path, "init", "--quiet", "--initial-branch=main")
    for tag, pause in (("quick", "pass"), ("slow", "time.sleep(0.002)")):
        (tmp_path / "loop.py").write_text(SLOW_LOOP.format(pause=pause))
        git(tmp_path, "add", "loop.py")
        git(tmp_path, "commit", "--quiet", "-m", tag)
        git(tmp_path, "tag", tag)
    return tmp_path


def test_a_slower_revision_is_a_regression_and_the_way_back_is_none(
    repository: Path, elsewhere: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = ("--junit", "junit.xml", "--markdown", "summary.md")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(repository / "step.md"))
    found = elsewhere("ab", "--base", "rev=quick", "--head", "rev=slow", *LONG, *files, "--json")
    assert found.returncode == 1, found.stderr
    told = json.loads(found.stdout)
    assert told["outcome"] == "regression"
    step = next(finding for finding in told["findings"] if finding["metric"] == "step")
    assert step["verdict"] == "slower"
    assert "slow" in told["head"]
    assert "<failure" in (repository / "junit.xml").read_text()
    assert (repository / "step.md").read_text() == (repository / "summary.md").read_text()
    assert list(repository.glob("results/*/*/comparison.json"))
    back = elsewhere("ab", "--base", "rev=slow", "--head", "rev=quick", *LONG)
    assert back.returncode == 0, back.stderr
    assert "faster" in back.stdout
    assert left_behind(repository) == []
    assert len(git(repository, "worktree", "list").splitlines()) == 1


def test_a_budget_too_small_for_a_verdict_is_inconclusive_and_may_be_made_to_pass(
    elsewhere: Here, tmp_path: Path
) -> None:
    brief = (*SMALL, "--budget", "0.1")
    assert elsewhere("ab", *brief).returncode == 3
    (path,) = tmp_path.glob("results/*/*/comparison.json")
    kept, end = json.loads(path.read_text()), path.stat().st_mtime
    assert end - datetime.fromisoformat(kept["started"]).timestamp() == pytest.approx(kept["seconds"], abs=2)
    assert elsewhere("ab", *brief, "--inconclusive", "pass").returncode == 0
    assert elsewhere("ab", *brief, "--inconclusive", "fail").returncode == 1
    assert left_behind(tmp_path) == []


def test_sides_with_different_environments_have_a_server_each_and_only_their_processes_import_the_loop(
    elsewhere: Here, tmp_path: Path
) -> None:
    (tmp_path / "mode.py").write_text("import os\nMODE = os.environ['MODE']\n" + SLOW_LOOP.format(pause="pass"))
    base = "env=MODE=a,env=LOOPMARK_TEST=1"
    head = f"python={sys.executable},env=MODE=b,env=OMP_NUM_THREADS=1"
    sides = ("--base", base, "--head", head, "--loop", "mode.py:step")
    found = elsewhere("ab", *sides, *SMALL, "--budget", "0.1", "--json")
    assert found.returncode == 3, found.stderr
    told = json.loads(found.stdout)
    assert {"env MODE a → b", "env LOOPMARK_TEST 1 → as it is"} <= set(told["differences"])
    (kept,) = tmp_path.glob("results/*/*/comparison.json")
    comparison = json.loads(kept.read_text())
    assert comparison["shared_server"] is False
    assert comparison["head"]["environment"]["threads"] == 1


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("--head", "rev=nosuch"), 2, "git work tree"),
        (("--head", "loop=ampp"), 2, "did you mean 'amp_bf16'"),
        (("--head", "workload=resnt"), 2, "did you mean 'resnet'"),
        (("--head", "loop=cuda_graph", "--device", "cpu"), 4, "cuda_graph needs a CUDA device"),
        (("--head", f"loop=cuda_graph,python={sys.executable}", "--device", "cpu"), 4, "head: cuda_graph needs a CUDA"),
        (("--base", "workload=resnet", "--head", "workload=gpt"), 4, "different batch sizes"),
        (("--base", "workload=resnet", "--head", "workload=gpt", "--batch-size", "8"), 4, "different data"),
        (("--head", "loop=crash.py:step"), 2, "head: crash.py"),
        (("--head", "loop=dies.py:step"), 2, "head: the process exited with code 7"),
        (("--head", "python={bare}"), 2, "head: the process"),
        (("--false-alarms", "0"), 2, "--false-alarms"),
        (("--margin", "nan"), 2, "--margin"),
        (("--budget", "0"), 2, "--budget"),
        (("--junit", "no/such/folder/junit.xml"), 2, "junit.xml"),
        (("extra",), 2, "extra"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing_behind(
    elsewhere: Here, tmp_path: Path, arguments: tuple[str, ...], status: int, said: str
) -> None:
    (tmp_path / "crash.py").write_text(SLOW_LOOP.format(pause="raise ValueError('no')"))
    (tmp_path / "dies.py").write_text(
        SLOW_LOOP.format(pause="import os, sys; print('Error', file=sys.stderr); os._exit(7)")
    )
    bare = tmp_path / "bare"  # an interpreter without torch
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S -E "$@"\n')
    bare.chmod(0o755)
    given = [argument.format(bare=bare) for argument in arguments]
    found = elsewhere("ab", "--threads", "1", *given)
    assert found.returncode == status, found.stderr
    lines = [line for line in found.stderr.splitlines() if line.startswith("loopmark: ")]
    assert len(lines) == 1
    assert said in lines[0]
    assert "Traceback" not in found.stderr
    assert not (tmp_path / "results").exists()
    logs = [Path(place) for place in re.findall(r"; log: (\S+)", lines[0])]
    assert left_behind(tmp_path) == [log.parent.name for log in logs]
    assert all("Error" in log.read_text() for log in logs)


def test_uncommitted_changes_can_be_compared_with_what_they_change(elsewhere: Here, tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet", "--initial-branch=main")
    (tmp_path / "loop.py").write_text(SLOW_LOOP.format(pause="pass"))
    git(tmp_path, "add", "loop.py")
    git(tmp_path, "commit", "--quiet", "-m", "one")
    (tmp_path / "loop.py").write_text(SLOW_LOOP.format(pause="time.sleep(0.002)"))
    found = elsewhere("ab", "--base", "rev=HEAD", *LONG)
    assert found.returncode == 1, found.stderr
    both = elsewhere("ab", "--base", "rev=HEAD", "--head", "rev=main", "--loop", "loop.py:step", *SMALL)
    assert both.returncode == 2
    assert "have uncommitted changes" in both.stderr


def test_a_head_that_no_longer_trains_is_a_regression_and_such_a_base_is_not_comparable(
    elsewhere: Here, tmp_path: Path
) -> None:
    (tmp_path / "nan.py").write_text(SLOW_LOOP.format(pause="loss = loss * float('nan')"))
    found = elsewhere("ab", "--head", "loop=nan.py:step", *SMALL, "--json")
    assert found.returncode == 1, found.stderr
    step = next(finding for finding in json.loads(found.stdout)["findings"] if finding["metric"] == "step")
    assert (step["verdict"], step["broken"], step["head"]) == ("slower", True, None)
    assert "loss was NaN or infinite at step 0" in step["note"]
    back = elsewhere("ab", "--base", "loop=nan.py:step", *SMALL)
    assert back.returncode == 4
    assert "base: its loss was NaN or infinite" in back.stdout + back.stderr


def test_ctrl_c_gives_the_verdict_on_what_there_is_and_cleans_up(
    repository: Path, elsewhere: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    def tell(self: object, doing: str, *_: object) -> None:
        if doing.startswith("launch pair 3"):  # two have been measured, and the signal comes while the third one runs
            threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGTERM)).start()

    monkeypatch.setattr("loopmark.bench.progress.RunProgress.tell", tell)
    same = ("--base", "rev=quick", "--head", "rev=quick", "--loop", "loop.py:step")
    done = elsewhere("ab", *same, *SMALL, "--margin", "0.0001", "--budget", "600")
    assert done.returncode in (0, 3), done.stderr
    assert "interrupted" in done.stdout
    assert len(list(repository.glob("results/*/*/comparison.json"))) == 1
    assert left_behind(repository) == []
    assert len(git(repository, "worktree", "list").splitlines()) == 1
    time.sleep(0.5)
    assert (
        str(repository) not in subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=False).stdout
    )


@pytest.mark.parametrize("given", [["--baseline", ""], ["--baseline", "eager", "--base", "loop=amp_bf16"]])
def test_a_baseline_without_a_name_or_beside_a_base_loop_is_refused_by_its_own_name(
    here: Here, given: list[str]
) -> None:
    done = here("ab", *given)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "--baseline names the base's loop" in done.stderr


SCRIPT = """
import sys, torch
model = torch.nn.Linear(8, 8)
optimizer = torch.optim.SGD(model.parameters(), lr=float(sys.argv[1]))
open("log.txt", "w").close()
while True:
    optimizer.zero_grad()
    model(torch.ones(4, 8)).square().mean().backward()
    optimizer.step()
"""


def test_two_ways_of_starting_a_script_are_compared_as_loops_are(elsewhere: Here, tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(SCRIPT)
    command = f"cmd={sys.executable} train.py"
    found = elsewhere("ab", "--base", f"{command} 0.1", "--head", f"{command} nan", "--budget", "0.1", "--json")
    assert found.returncode == 1, found.stderr
    told = json.loads(found.stdout)
    step = next(finding for finding in told["findings"] if finding["metric"] == "step")
    assert (step["workload"], step["loop"], step["broken"]) == ("train.py", "script", True)
    assert any("log.txt" in warning for warning in told["warnings"])
    (kept,) = tmp_path.glob("results/*/*/comparison.json")
    comparison = json.loads(kept.read_text())
    assert comparison["head"]["given"] == {"cmd": f"{sys.executable} train.py nan"}
    assert (comparison["base"]["parameters"], comparison["base"]["batch_size"]) == (72, 4)
    assert left_behind(tmp_path) == []


def test_launches_can_run_one_after_the_other(elsewhere: Here) -> None:
    found = elsewhere("ab", "--sequential", *SMALL, "--budget", "0.1")
    assert found.returncode == 3, found.stderr
    assert "1 launch pair" in found.stdout
    assert "they do not share the moment" in found.stdout
