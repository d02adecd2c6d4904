"""A worker gets its assignment, its environment, and only code of the revision to measure."""

import json
import os
import pickle
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import torch

from loopmark.bench.measure.assignment import Assignment, Tree
from loopmark.bench.measure.entry import refuse_strangers
from loopmark.bench.measure.launcher import SPIN_COUNT, ForkServer, apart, side_environment
from loopmark.bench.measure.pool import WorkerProcess
from loopmark.loops.user_code import BadSpec
from tests.support.command import ROOT


def assignment(tree: Tree | None) -> Assignment:
    return Assignment(
        workload="resnet", loop="eager", device="cpu", size="small", batch_size=None, seed=0, threads=1, cores=(0,),
        compile_cache=Path("/a"), neighbours=1, log=Path("/b"), tree=tree,
    )  # fmt: skip


def cuda_cannot_be_used() -> bool:
    return torch.cuda._is_in_bad_fork()


def how_inductor_was_imported() -> tuple[bool, str]:
    return "torch._inductor.compile_fx" in sys.modules, torch.cuda.is_available.__module__


@pytest.mark.skipif(not torch.backends.cuda.is_built(), reason="needs a torch built for CUDA: make test-cuda-build")
def test_a_forked_process_can_use_cuda_since_the_fork_server_did_not() -> None:
    assert not apart(cuda_cannot_be_used)


def test_a_forked_process_has_inductor_and_asks_for_devices_as_torch_does() -> None:
    assert apart(how_inductor_was_imported) == (True, "torch.cuda")


@pytest.mark.parametrize("tree", [None, Tree(Path("/c"), Path("/d")), Tree(Path("/c"), Path("/d"), Path("/e"))])
def test_an_assignment_arrives_whole_and_names_no_class_that_another_python_lacks(tree: Tree | None) -> None:
    sent = pickle.dumps(assignment(tree))
    assert pickle.loads(sent) == assignment(tree)
    assert b"pathlib" not in sent


def test_a_side_that_says_how_idle_threads_wait_is_taken_at_its_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    monkeypatch.setenv("GOMP_SPINCOUNT", SPIN_COUNT)  # as this process sets it for its own workers
    assert side_environment({})["GOMP_SPINCOUNT"] == SPIN_COUNT
    assert "GOMP_SPINCOUNT" not in side_environment({"OMP_WAIT_POLICY": "ACTIVE"})
    assert side_environment({"OMP_WAIT_POLICY": "ACTIVE", "GOMP_SPINCOUNT": "7"})["GOMP_SPINCOUNT"] == "7"
    monkeypatch.setenv("GOMP_SPINCOUNT", "99")
    assert side_environment({"OMP_WAIT_POLICY": "ACTIVE"})["GOMP_SPINCOUNT"] == "99"  # a user's own value


def test_an_older_revision_of_loopmark_is_measured_by_todays_harness(tmp_path: Path) -> None:
    git = ["git", "-C", str(ROOT)]
    added = [*git, "log", "--diff-filter=A", "--format=%H", "--", "loops/batch.py"]
    newer = subprocess.run(added, capture_output=True, text=True).stdout.strip()
    archive = subprocess.run([*git, "archive", f"{newer}^", "loopmark", "loops"], capture_output=True).stdout
    if not newer or not archive:
        pytest.skip("this checkout lacks the revision before loops/batch.py")
    subprocess.run(["tar", "--extract", "--directory", str(tmp_path)], input=archive, check=True)
    tree = Tree(tmp_path, tmp_path)
    own = replace(assignment(tree), workload="regression", compile_cache=tmp_path, log=tmp_path / "log")
    with closing(WorkerProcess(ForkServer(own_loops=False), own)) as process:
        ready = process.within(120).set_up(with_hash=False)
        process.within(120).warm(ceiling_seconds=0.0)
        turn = process.within(120).take_turn(order=(True, False), steps=1, own_processes=1)
        finished = process.within(120).finish()
    assert (ready.parameters, len(turn.blocks)) == (11, 2)
    assert finished.steps >= 2


@pytest.mark.parametrize(
    ("file", "refused"),
    [
        ("checkout/pkg/train.py", True),
        ("worktree/pkg/train.py", False),
        ("checkout/.venv/lib/site-packages/pkg/train.py", False),
        ("elsewhere/train.py", False),
    ],
)
def test_a_module_of_the_checkout_is_not_measured_in_a_revisions_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, refused: bool
) -> None:
    for name, place in (("own", "worktree/own.py"), ("stranger", file)):
        module = ModuleType(name)
        module.__file__ = str(tmp_path / place)
        monkeypatch.setitem(sys.modules, name, module)
    tree = Tree(tmp_path / "worktree", tmp_path / "worktree", tmp_path / "checkout")
    if refused:
        with pytest.raises(BadSpec, match="stranger was imported from"):
            refuse_strangers(tree)
    else:
        refuse_strangers(tree)


FRESH_SERVER = """
import json, os, signal
from multiprocessing import forkserver

before = dict(os.environ)
from loopmark.bench.measure.launcher import ForkServer, apart

if __name__ == "__main__":
    ForkServer()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    os.kill(forkserver._forkserver._forkserver_pid, signal.SIGINT)
    names = ("PYTHONSAFEPATH", "PYTHONPATH", "LOOPMARK_RESTORE")
    kept = {name: apart(os.getenv, name) == before.get(name) == os.environ.get(name) for name in names}
    print(json.dumps([apart(abs, -4), kept]))
"""


@pytest.fixture(scope="module")
def fresh_server() -> "subprocess.CompletedProcess[str]":
    """A process whose fork server gets Ctrl-C while it imports torch, and then answers requests."""
    program = [sys.executable, "-c", FRESH_SERVER]
    return subprocess.run(program, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True)


def test_ctrl_c_while_the_server_imports_torch_is_the_parents_alone(
    fresh_server: "subprocess.CompletedProcess[str]",
) -> None:
    assert (json.loads(fresh_server.stdout)[0], fresh_server.stderr) == (4, "")


def test_what_the_fork_server_was_given_is_gone_from_the_environment(
    fresh_server: "subprocess.CompletedProcess[str]",
) -> None:
    kept = json.loads(fresh_server.stdout)[1]
    assert kept == {"PYTHONSAFEPATH": True, "PYTHONPATH": True, "LOOPMARK_RESTORE": True}


def test_what_is_asked_apart_comes_back_raises_or_says_that_nobody_answered() -> None:
    assert apart(divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        apart(divmod, 7, 0)
    with pytest.raises(ChildProcessError, match="the process that ran _exit ended without an answer"):
        apart(os._exit, 3)
