"""``loopmark init``: what it writes into a repository, and what it leaves alone."""

import json
import re
import shlex
import sys
import tomllib
from pathlib import Path

import pytest

from loopmark.bench.judge.settings import Thresholds, load_settings
from loopmark.loops.user_code import forget, load
from tests.docs.pages import fences
from tests.support.command import ROOT, Here

INIT = sys.modules["loopmark.bench.cli.init"]  # its command has the same name
WORKFLOW = Path(".github/workflows/loopmark.yml")
WRITTEN = ("loopmark_task.py", "pyproject.toml", str(WORKFLOW))
SCRIPT = """
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def main():
    inputs = torch.randn(64, 8)
    loader = DataLoader(TensorDataset(inputs, inputs.sum(1, keepdim=True)), batch_size=16)
    model = nn.Linear(8, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for batch, targets in loader:
        loss = nn.functional.mse_loss(model(batch), targets)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.25)
        optimizer.step()


if __name__ == "__main__":
    main()
"""
FAILED = "loopmark_task.py:9: FileNotFoundError: no data"


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts that were tried, without taking a step of each."""
    texts: list[str] = []

    def takes_a_step(task: Path) -> tuple[list[str], str]:
        texts.append(task.read_text())
        return ["eager", "fused_optimizer"], ""

    monkeypatch.setattr(INIT, "_tried", takes_a_step)
    return texts


def test_the_printed_command_measures_the_task(elsewhere: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("train.py").write_text(SCRIPT)
    done = elsewhere("init")
    assert done.returncode == 0, done.stderr
    assert "wrote loopmark_task.py: the training of train.py\n" in done.stdout

    asked: dict[str, object] = {}
    monkeypatch.setattr("loopmark.bench.cli.measure.Invocation", lambda *_, **options: asked.update(options) or 1 / 0)
    command = shlex.split(done.stdout.rpartition("Next: loopmark ")[2])
    assert elsewhere(*command).returncode == 70  # stopped before it measures
    assert asked["workloads"] == ("loopmark_task.py:make_task",)
    own = "loopmark_task.py:step"
    assert asked["loops"] == (own, f"{own}+fused_optimizer", f"{own}+amp_bf16")


@pytest.mark.usefixtures("tried")
def test_what_exists_is_kept_and_named_and_force_writes_another(elsewhere: Here) -> None:
    WORKFLOW.parent.mkdir(parents=True)
    for name in (WRITTEN[0], WRITTEN[2]):
        Path(name).write_bytes(b"# mine\r\n")
    kept = elsewhere("init")

    assert kept.returncode == 0
    for name in (WRITTEN[0], WRITTEN[2]):
        assert Path(name).read_bytes() == b"# mine\r\n"
        assert f"kept {name}: it exists; --force writes another" in kept.stdout
    project = Path("pyproject.toml").read_bytes()

    assert elsewhere("init", "--force").returncode == 0
    assert b"# mine" not in Path(WRITTEN[0]).read_bytes() + WORKFLOW.read_bytes()
    assert Path("pyproject.toml").read_bytes() == project


@pytest.mark.usefixtures("tried")
@pytest.mark.parametrize(
    "old", [b"", b'[project]\nname = "x"', b'[project]\r\nname = "x"\r\n', b"# comment\n[[tool.x.y]]\nz = 1\n\n"]
)
def test_pyproject_keeps_each_byte_and_gets_limits_that_check_reads(elsewhere: Here, old: bytes) -> None:
    Path("pyproject.toml").write_bytes(old)
    elsewhere("init")
    new = Path("pyproject.toml").read_bytes()

    assert new.startswith(old)
    assert (b"\n" in new.replace(b"\r\n", b"")) != (b"\r\n" in old)
    assert tomllib.loads(new.decode()).keys() >= tomllib.loads(old.decode()).keys()
    assert load_settings(Path.cwd()).thresholds == Thresholds()  # the defaults, to be changed


@pytest.mark.usefixtures("tried")
def test_a_table_of_loopmark_is_left_as_it_is(elsewhere: Here) -> None:
    Path("pyproject.toml").write_text('[tool.loopmark.check]\ninconclusive = "pass"\n')
    assert "kept pyproject.toml" in elsewhere("init").stdout
    assert Path("pyproject.toml").read_text() == '[tool.loopmark.check]\ninconclusive = "pass"\n'


@pytest.mark.usefixtures("tried")
def test_in_a_folder_of_a_git_repository_the_workflow_goes_to_its_root(
    elsewhere: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path(".git").mkdir()
    Path("a b").mkdir()
    monkeypatch.chdir("a b")
    done = elsewhere("init")
    text = (Path("..") / WORKFLOW).read_text()
    (sides,) = re.findall(r"\|\| '(\[.*\])'", text)

    assert json.loads(sides) == [{"workload": "a b/loopmark_task.py:make_task", "loop": "eager"}]
    assert "loopmark/phases.py" not in text
    assert Path("../pyproject.toml").is_file()
    assert done.stdout.endswith("--workload loopmark_task.py:make_task --loop eager,fused_optimizer\n")


def test_the_task_lies_beside_its_script(elsewhere: Here, tried: list[str]) -> None:
    Path("my scripts").mkdir()
    Path("my scripts/fit.py").write_text(SCRIPT)
    done = elsewhere("init", "my scripts/fit.py")

    assert "from fit.py" not in done.stdout
    assert "--workload 'my scripts/loopmark_task.py:make_task'" in done.stdout
    assert Path("my scripts/loopmark_task.py").read_text() == tried[-1]


def test_the_tutorial_shows_the_task_that_its_script_gives(elsewhere: Here, tried: list[str]) -> None:
    shown = [text for kind, text in fences(Path("docs/tutorial.md")) if kind == "python"]
    Path("train.py").write_text(shown[0])
    elsewhere("init")

    assert tried[-1] == shown[1].removeprefix("# loopmark_task.py\n")


def test_a_script_that_is_no_plain_loop_gives_its_clipping_to_a_small_task(elsewhere: Here, tried: list[str]) -> None:
    Path("train.py").write_text(SCRIPT.replace("loss.backward()", "fit(loss)"))
    done = elsewhere("init")

    why = "train.py could not be read as a task: it has no loop with a call of backward"
    assert done.stdout.startswith(f"wrote loopmark_task.py: a small task to edit; {why}\n")
    assert "clip_grad_norm_(task.model.parameters(), 0.25)  # as train.py does" in tried[-1]
    forget("loopmark_task.py:make_task")
    assert load("loopmark_task.py:make_task", "workload")("cpu").batches.batch_size == 64


def test_a_second_script_gets_a_task_of_another_name(elsewhere: Here, tried: list[str]) -> None:
    Path("train.py").write_text(SCRIPT)
    Path("fit.py").write_text(SCRIPT)
    elsewhere("init")
    done = elsewhere("init", "fit.py", "--task", "fit_task.py")

    assert "wrote fit_task.py: the training of fit.py\n" in done.stdout
    assert "--workload fit_task.py:make_task" in done.stdout
    assert "The training of train.py" in Path("loopmark_task.py").read_text()
    assert len(tried) == 2


@pytest.mark.usefixtures("tried")
def test_what_the_task_leaves_out_is_said_with_the_technique_that_does_it(elsewhere: Here) -> None:
    step = "if i % 4 == 0:\n            optimizer.step()"
    script = SCRIPT.replace("optimizer.step()", step).replace("model(batch), targets)", "model(batch), targets) / 4")
    Path("train.py").write_text(
        script.replace("0.25)", "limit)").replace("for batch", "net = torch.compile(model)\n    for batch")
    )
    done = elsewhere("init")

    left_out = "gradient accumulation (+accumulate_K), torch.compile (+compile) and clipping (its limit is no number)"
    assert f"the training of train.py, without its {left_out}\n" in done.stdout
    text = Path("loopmark_task.py").read_text()
    assert "/ 4" not in text
    assert "def step" not in text


def test_a_script_whose_lines_do_not_run_gives_a_small_task(elsewhere: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    results = iter([([], FAILED), (["eager"], "")])
    monkeypatch.setattr(INIT, "_tried", lambda _: next(results))
    Path("train.py").write_text(SCRIPT)
    done = elsewhere("init")

    said = f"a small task to edit; train.py's own lines did not run ({FAILED}); mend that, and repeat with --force"
    assert done.stdout.startswith(f"wrote loopmark_task.py: {said}\n")
    assert "return Task(\n        model=nn.Sequential" in Path("loopmark_task.py").read_text()


def test_a_task_that_does_not_run_is_no_success(elsewhere: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(INIT, "_tried", lambda _: ([], FAILED))
    done = elsewhere("init")

    assert done.returncode == 2
    assert FAILED in done.stderr
    assert not WORKFLOW.exists()


@pytest.mark.usefixtures("tried")
@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("gone.py", None, "no file gone.py; give a training script"),
        (".", None, "no file .; give a training script"),
        ("cut.py", b"x = (\n", "cut.py is not Python: '(' was never closed"),
        ("image.py", b"\x89PNG\0\xff", "image.py is not Python: "),
        ("README.md", b"# Title\n\nSome words.\n", "README.md is not Python: "),
    ],
)
def test_a_script_that_cannot_be_read_is_one_line_and_nothing_is_written(
    elsewhere: Here, name: str, content: bytes | None, says: str
) -> None:
    if content is not None:
        Path(name).write_bytes(content)
    done = elsewhere("init", name)

    assert done.returncode == 2
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not any(Path(written).exists() for written in WRITTEN)


@pytest.mark.usefixtures("tried")
@pytest.mark.parametrize("old", ["[tool", "tool = 1\n", "tool.x = 1\n[tool.y]\n[tool]\n"])
def test_a_pyproject_that_cannot_take_a_table_stops_it_before_anything_is_written(elsewhere: Here, old: str) -> None:
    Path("pyproject.toml").write_text(old)
    done = elsewhere("init")

    assert done.returncode == 2
    assert "cannot add a table to " in done.stderr
    assert Path("pyproject.toml").read_text() == old
    assert not Path("loopmark_task.py").exists()


def test_its_workflow_is_loopmarks_own_but_for_what_is_compared(elsewhere: Here, tried: list[str]) -> None:
    elsewhere("init")
    ours = (ROOT / ".github" / "workflows" / "bench.yml").read_text().splitlines()
    theirs = WORKFLOW.read_text().splitlines()

    assert len(tried) == 1
    assert len([line for line in ours if line not in theirs]) == 3
