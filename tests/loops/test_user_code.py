"""A user's own steps, techniques and workloads; each mistake gives one line with its file and line number."""

import inspect
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from torch.utils.data import DataLoader, Dataset

from loopmark.loops import batch
from loopmark.loops.catalog import find_loop, find_workload
from loopmark.loops.user_code import BadSpec, described, is_spec, place_among
from tests.support.tiny import CPU, losses_of, make_tiny_task, prepared

STEP = """
from collections.abc import Iterator

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
    yield "optimizer"
    task.last_loss = loss.detach()
"""
TECHNIQUE = """
from loopmark.loops.technique import Technique

def _prepare(task):
    task.optimizer_options["lr"] = 0.0

frozen = Technique("frozen", "learns nothing", rank=5, prepare=_prepare)
"""
WORKLOAD = """
from tests.support.tiny import make_tiny_task

def make_task(device, batch_size=24, seed=0):
    return make_tiny_task(device, batch_size, seed)
"""

Write = Callable[[str, str], str]


@pytest.fixture(autouse=True)
def _imports_are_undone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setattr(sys, "path", sys.path.copy())
    yield
    for name, module in list(sys.modules.items()):
        # Keep a library that a test imported first: some load only once.
        if tmp_path in Path(getattr(module, "__file__", None) or "/").parents:
            del sys.modules[name]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Write a file in the current folder, and return its path as a user would type it."""
    monkeypatch.chdir(tmp_path)

    def write(path: str, text: str) -> str:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(text)
        return path

    return write


def refusal(find: Callable[[str], object], spec: str) -> str:
    with pytest.raises(BadSpec) as refused:
        find(spec)
    text = str(refused.value)
    assert text.isprintable()
    return text


def test_own_step_by_file_trains_like_eager(write: Write) -> None:
    loop = find_loop(write("mine.py", STEP) + ":step")
    assert loop.name == "mine:step"
    assert losses_of(*prepared(loop, make_tiny_task()), 3) == losses_of(
        *prepared(find_loop("eager"), make_tiny_task()), 3
    )


@pytest.mark.parametrize("rest", ["channels_last", "eager+channels_last", " channels_last "])
def test_own_step_takes_a_technique_that_lies_before_it(write: Write, rest: str) -> None:
    loop = find_loop(f"{write('mine.py', STEP)}:step+{rest}")
    assert loop.name == "mine:step+channels_last"
    assert [t.name for t in loop.techniques] == ["channels_last"]


def test_own_step_plus_eager_is_own_step(write: Write) -> None:
    assert find_loop(f"{write('mine.py', STEP)}:step+eager").name == "mine:step"


@pytest.mark.parametrize("technique", ["accumulate_4"])
def test_own_step_refuses_a_technique_that_would_replace_it(write: Write, technique: str) -> None:
    text = refusal(find_loop, f"{write('mine.py', STEP)}:step+{technique}")
    assert f"{technique} has its own step, which would replace yours" in text


def test_own_step_by_module(write: Write) -> None:
    write("package_of_mine/__init__.py", "")
    write("package_of_mine/steps.py", STEP)
    assert find_loop("package_of_mine.steps:step").name == "package_of_mine.steps:step"


def test_own_technique_by_file_composes_with_the_others(write: Write) -> None:
    spec = write("mine.py", TECHNIQUE) + ":frozen"
    loop = find_loop(f"{spec}+amp_bf16")
    assert loop.name == "mine:frozen+amp_bf16"
    assert [t.name for t in loop.techniques] == ["frozen", "amp_bf16"]
    task, step = prepared(find_loop(spec), make_tiny_task())
    batch = task.next_batch()
    assert [list(step(task, *batch)) and float(task.last_loss) for _ in range(3)] == [float(task.last_loss)] * 3


def test_own_workload_by_file_has_its_own_batch_size(write: Write) -> None:
    workload = find_workload(write("mine.py", WORKLOAD) + ":make_task")
    assert workload.name == "mine:make_task"
    for size in ("small", "large"):
        assert len(workload.make(CPU, size, None, 0).next_batch()[1]) == 24
        assert len(workload.make(CPU, size, 8, 0).next_batch()[1]) == 8


def test_own_workload_by_module(write: Write) -> None:
    write("package_of_mine/__init__.py", "")
    write("package_of_mine/tasks.py", WORKLOAD)
    assert find_workload("package_of_mine.tasks:make_task").name == "package_of_mine.tasks:make_task"


def test_own_workload_object_is_taken_as_it_is(write: Write) -> None:
    own = "own = Workload('own', 'mine', {'small': (make_task, 4), 'large': (make_task, 8)})\n"
    spec = write("mine.py", f"{WORKLOAD}\nfrom loopmark.loops.workload import Workload\n{own}") + ":own"
    assert find_workload(spec).name == "own"


def test_a_workload_that_returns_no_task_is_refused_with_its_place(write: Write) -> None:
    spec = write("mine.py", "def make_task(device, batch_size, seed):\n    return 3\n") + ":make_task"
    text = refusal(lambda s: find_workload(s).make(CPU, "small", None, 0), spec)
    assert "mine.py:1: mine:make_task returned a int; return a loopmark.Task" in text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "def step(task, batch):\n    yield 'forward'\n",
            "(task, batch) cannot be called as step(task, inputs, targets)",
        ),
        ("def step():\n    yield 'forward'\n", "() cannot be called as step(task, inputs, targets)"),
        ("step = 3\n", "step is a int; give a step, a function of task, inputs and targets"),
        ("class step:\n    pass\n", "step is a class; give a step, a function of task, inputs and targets"),
        ("def other():\n    pass\n", "has no 'step' for a loop; it has: other"),
        ("", "has no 'step' for a loop; it has: no functions"),
    ],
)
def test_what_is_no_step_is_refused(write: Write, text: str, said: str) -> None:
    assert said in refusal(find_loop, write("mine.py", text) + ":step")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def make_task(device):\n    pass\n", "(device) cannot be called as make_task(device, batch_size, seed)"),
        ("def make_task(device, *, batch_size, seed):\n    pass\n", "cannot be called as make_task(device, batch"),
        ("make_task = 3\n", "is a int; give a function of device, batch_size and seed"),
        ("make_task = max\n", "does not show its parameters"),
        ("def other():\n    pass\n", "has no 'make_task' for a workload; it has: other"),
    ],
)
def test_what_makes_no_task_is_refused(write: Write, text: str, said: str) -> None:
    assert said in refusal(find_workload, write("mine.py", text) + ":make_task")


def test_a_module_of_many_names_is_not_listed_whole(write: Write) -> None:
    text = refusal(find_loop, write("mine.py", "".join(f"def f{i}(): pass\n" for i in range(100))) + ":step")
    assert text.endswith("it has: f0, f1, f2, f3, f4, f5, f6, f7, …")


def test_a_missing_file_is_named_with_the_folder_it_was_sought_from(write: Write, tmp_path: Path) -> None:
    write("mine.py", STEP)
    text = refusal(find_loop, "mime.py:step")
    assert text == f"no file mime.py for a loop; give path/to/file.py:name, relative to {tmp_path}"


def test_a_missing_module_is_named(write: Write) -> None:
    write("package_of_mine/__init__.py", "")
    for name in ("no_such_module_at_all", "package_of_mine.no_such_part"):
        assert refusal(find_loop, f"{name}:step").startswith(f"no module '{name}' for a loop; give package.module:name")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = 1\ndef step(:\n", "mine.py:2: SyntaxError: "),
        ("def step():\nx = 1\n", "mine.py:2: IndentationError: "),
        (
            "x = 1\n\nimport no_such_module_at_all\n",
            "mine.py:3: ModuleNotFoundError: No module named 'no_such_module_at",
        ),
        ("from os import no_such_name\n", "mine.py:1: ImportError: cannot import name 'no_such_name'"),
        ("x = 1\ny = x / 0\n", "mine.py:2: ZeroDivisionError: division by zero"),
        ("import sys\nsys.exit('usage: …')\n", "mine.py:2: SystemExit: usage: …"),
        ("raise ValueError('two\\nlines')\n", "mine.py:1: ValueError: two lines"),
        ("assert False\n", "mine.py:1: AssertionError"),
        ("raise SyntaxError\n", "SyntaxError"),
        ("import torch\ntorch.zeros(2).view(3)\n", "mine.py:2: RuntimeError: "),
        ("raise ValueError('x' * 1000)\n", "…"),
    ],
)
@pytest.mark.parametrize("find", [find_loop, find_workload])
def test_an_error_at_import_names_its_file_and_line(
    write: Write, find: Callable[[str], object], text: str, said: str
) -> None:
    told = refusal(find, write("mine.py", text) + ":step")
    assert told.startswith("cannot load mine.py: ")
    assert said in told
    assert len(told) < 400


def test_an_error_in_a_module_names_its_file_and_line(write: Write) -> None:
    write("package_of_mine/__init__.py", "")
    write("package_of_mine/broken.py", "x = 1\ny = x / 0\n")
    write("package_of_mine/needy.py", "import no_such_module_at_all\n")
    broken = refusal(find_loop, "package_of_mine.broken:step")
    assert (
        broken
        == "cannot import package_of_mine.broken: package_of_mine/broken.py:2: ZeroDivisionError: division by zero"
    )
    needy = refusal(find_loop, "package_of_mine.needy:step")
    assert "package_of_mine/needy.py:1: ModuleNotFoundError: No module named 'no_such_module_at_all'" in needy


def test_a_file_that_failed_can_be_mended_and_loaded_again(write: Write) -> None:
    spec = write("mine.py", "import no_such_module_at_all\n") + ":step"
    refusal(find_loop, spec)
    write("mine.py", STEP + "# mended\n")
    assert find_loop(spec).name == "mine:step"


def test_a_file_imports_its_neighbour_at_the_top_and_while_it_runs(write: Write) -> None:
    write("folder/neighbour_of_mine.py", STEP)
    write("folder/late_neighbour_of_mine.py", "NAME = 'forward'\n")
    text = "from neighbour_of_mine import step\n\ndef late(task, inputs, targets):\n"
    text += "    from late_neighbour_of_mine import NAME\n    yield NAME\n"
    mine = write("folder/mine.py", text)
    assert find_loop(f"{mine}:step").name == "mine:step"
    assert list(find_loop(f"{mine}:late").base(None, None, None)) == ["forward"]


def test_an_error_in_a_neighbour_names_the_neighbour(write: Write) -> None:
    write("folder/neighbour_of_mine.py", "x = 1\nx / 0\n")
    mine = write("folder/mine.py", "import neighbour_of_mine\n")
    assert "folder/neighbour_of_mine.py:2: ZeroDivisionError" in refusal(find_loop, f"{mine}:step")


def test_two_files_of_one_name_and_their_neighbours_of_one_name_do_not_collide(write: Write) -> None:
    for folder in ("a", "b"):
        write(f"{folder}/neighbour_of_mine.py", f"NAME = '{folder}'\n")
        text = "from neighbour_of_mine import NAME\n\ndef step(task, inputs, targets):\n    yield NAME\n"
        write(f"{folder}/mine.py", text)
    steps = [find_loop(f"{folder}/mine.py:step").base for folder in ("a", "b", "a")]
    assert [list(step(None, None, None)) for step in steps] == [["a"], ["b"], ["a"]]


def test_a_neighbour_hides_no_module_of_the_standard_library(write: Write) -> None:
    write("folder/this.py", "raise RuntimeError('not me')\n")
    find_loop(write("folder/mine.py", STEP) + ":step")
    import this  # after the file was loaded, its folder is the last on the path

    assert hasattr(this, "s")


def test_one_file_is_loaded_once(write: Write) -> None:
    spec = write("mine.py", STEP) + ":step"
    assert find_loop(spec).base is find_loop(f"./{spec}").base


def test_a_file_that_tidies_the_path_itself_loads(write: Write) -> None:
    assert find_loop(write("mine.py", "import sys\nsys.path.pop(0)\n" + STEP) + ":step").name == "mine:step"


def test_a_dataclass_in_a_file_finds_its_module(write: Write) -> None:
    text = "from __future__ import annotations\nfrom dataclasses import dataclass\n\n"
    text += "@dataclass\nclass Options:\n    x: int = 1\n"
    assert find_loop(write("mine.py", text + STEP) + ":step").name == "mine:step"


@pytest.mark.parametrize(("text", "answer"), [("a.py:f", True), ("a.b:f", True), ("eager", False), ("a:1", False)])
def test_a_spec_is_a_place_and_a_name(text: str, answer: bool) -> None:
    assert is_spec(text) is answer


def test_an_error_that_was_never_raised_is_described_too() -> None:
    assert described(ValueError("no")) == "unknown place: ValueError: no"


class Rows(Dataset[Any]):
    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> Any:
        raise ValueError(f"row {index} has no label")


def test_an_error_in_a_loaders_worker_process_is_at_the_line_that_raised_it() -> None:
    loader = DataLoader(Rows(), num_workers=1, multiprocessing_context="fork")
    with pytest.raises(ValueError, match="Caught") as caught:
        next(iter(loader))
    number = inspect.getsourcelines(Rows.__getitem__)[1] + 1
    assert described(caught.value) == f"tests/loops/test_user_code.py:{number}: ValueError: row 0 has no label"


def test_the_line_that_cannot_be_compiled_is_named_without_torchs_advice() -> None:
    said = (
        "It failed\n  Explanation: because\n  Hint: do otherwise\n\nfrom user code:\n"
        '   File "/home/me/mine.py", line 42, in forward\n    return self.b(h)\n'
    )
    assert described(RuntimeError(said)) == "/home/me/mine.py:42: RuntimeError: It failed Explanation: because"


def test_a_long_message_keeps_both_of_its_ends() -> None:
    told = described(ValueError(f"the beginning {'x' * 1000} the point"))
    assert "the beginning" in told
    assert told.endswith("the point")


@pytest.mark.parametrize(
    ("inner", "named"),
    [
        (["train.py", "{packages}/transformers/masking.py", "{packages}/torch/_tensor.py"], "train.py"),
        (["{packages}/transformers/masking.py", "{packages}/torch/_tensor.py"], "{packages}/transformers/masking.py"),
        (["{packages}/torch/_tensor.py", "<string>", inspect.__file__], batch.__file__),
    ],
)
def test_a_place_is_the_users_own_line_else_that_of_the_package_that_the_loop_calls(
    inner: list[str], named: str
) -> None:
    files = ["/env/site-packages/typer/main.py", batch.__file__, *inner]
    lines = [(file.format(packages="/env/site-packages"), number) for number, file in enumerate(files)]
    assert place_among(lines).rpartition(":")[0].endswith(named.format(packages="").rpartition("/")[2])
