"""A training script, read without running it, and the task that its own statements make."""

import ast
from pathlib import Path

import pytest

from loopmark.bench.cli.script import task_of
from loopmark.bench.cli.statements import NotPlain, Script

PLAIN = """
import torch
from torch import nn

WIDTH = 4
LOSS = nn.MSELoss()


class Net(nn.Linear):
    pass


def main(limit=1.0):
    torch.manual_seed(0)
    net = Net(WIDTH, 1)
    print(net)
    loader = [(torch.ones(2, WIDTH), torch.ones(2, 1))]
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for x, y in loader:
        loss = LOSS(net(x), y)
        loss.backward()
        optimizer.step()


if __name__ == "__main__":
    main()
"""
SGD = "optimizer = torch.optim.SGD(net.parameters(), lr=0.1)"
LOSS = "loss = LOSS(net(x), y)"
USUAL = "return Task(net.to(device), LOSS, make_optimizer, loader)"


def read(tmp_path: Path, text: str) -> Script:
    (tmp_path / "train.py").write_text(text)
    return Script(tmp_path / "train.py")


def task(tmp_path: Path, text: str = PLAIN, *changes: tuple[str, str]) -> str:
    """The body of the task of a script with changed lines, in lines of one form."""
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return ast.unparse(ast.parse(task_of(read(tmp_path, text), "train")[0]))


def test_the_task_of_a_plain_script_has_its_lines_and_imports_its_names(tmp_path: Path) -> None:
    assert (
        task_of(read(tmp_path, PLAIN), "train")[0].partition('"""\n\n')[2]
        == """import torch

from loopmark import Task
from train import LOSS, Net, WIDTH


def make_task(device, batch_size=64, seed=0):
    net = Net(WIDTH, 1)
    loader = [(torch.ones(2, WIDTH), torch.ones(2, 1))]

    def make_optimizer(model, **options):
        net = model
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1, **options)
        return optimizer

    # Loopmark moves the model and the batches, and steps the schedule after each update.
    return Task(net.to(device), LOSS, make_optimizer, loader)
"""
    )


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("x, y in loader:", "i, (x, y) in enumerate(tqdm(loader)):", USUAL),
        (LOSS, "x = x.to(device)\n        out = net(x)\n        loss = LOSS(out, y.float())", USUAL),
        (LOSS, "with torch.autocast('cpu'):\n            loss = LOSS(net(x), y)", USUAL),
        (LOSS, "loss = net(x, y).loss", "def call(net, inputs, targets):\n        x, y = (inputs, targets)"),
        ("x, y in loader:\n", "b in loader:\n        x, y = b\n", "b = inputs if targets is None else (inputs, "),
        ("    loader =", "    net = torch.compile(net)\n    loader =", "    net = Net(WIDTH, 1)\n    loader"),
        ("lr=0.1", "lr=limit", "limit = 1.0\n"),
        (SGD, "parts = [*net.parameters()]\n    optimizer = SGD(parts)", "net = model\n        parts = [*net.par"),
        (SGD, f"{SGD}  # as others do", f"{SGD[:-1]}, **options)\n"),
        (SGD, f"{SGD}\n    optimizer.zero_grad()", f"{SGD[:-1]}, **options)\n        return"),
        (SGD, SGD.replace(", lr=0.1)", ",\n        lr=0.1,  # tuned\n    )"), f"{SGD[:-1]}, **options)\n      "),
        (SGD, f"{SGD}; optimizer.param_groups[0]['lr'] = 0.5", "optimizer.param_groups[0]['lr'] = 0.5\n        return"),
        (SGD, f"{SGD}\n    for g in optimizer.param_groups:\n        g['lr'] = 0.5", "    g['lr'] = 0.5\n      "),
        ("    loader =", "    for p in net.parameters():\n        p.fixed = False\n    loader =", "p.fixed = False"),
        ("    loader =", "    net.bias = None; net.x = 1\n    loader =", "    net.bias = None\n    net.x = 1\n"),
        (LOSS, f"{LOSS}\n        loss += net.weight.sum()", "loss += net.weight.sum()\n        return loss"),
        (LOSS, f"x[0] = 0\n        {LOSS}", "        x[0] = 0\n        loss = LOSS(net(x), y)\n        return loss"),
        (SGD, "optimizer = build(net)", "optimizer = build(net)\n        return"),
        ("loss.backward()", "scaler.scale(loss / 2).backward()\n        scaler.step(optimizer)", USUAL),
        ("optimizer.step()", "optimizer.step()\n        sched.step()", USUAL),
    ],
)  # fmt: skip
def test_a_script_of_another_form_gives_the_same_pieces(tmp_path: Path, old: str, new: str, line: str) -> None:
    assert line in task(tmp_path, PLAIN, (old, new))


def test_a_schedule_of_each_update_becomes_the_tasks(tmp_path: Path) -> None:
    text = task(
        tmp_path,
        PLAIN,
        ("    for x", "    warm = LinearLR(optimizer)\n    sched = SequentialLR(optimizer, [warm])\n    for x"),
        ("optimizer.step()", "optimizer.step()\n        sched.step()"),
    )
    assert "def make_scheduler(optimizer):\n        warm = LinearLR(optimizer)\n        sched =" in text
    assert "loader, make_scheduler=make_scheduler)" in text


def test_the_parameters_of_functions_get_what_their_callers_pass(tmp_path: Path) -> None:
    text = task(
        tmp_path,
        PLAIN,
        ("def main(limit=1.0)", "def main(lr, limit=1.0)"),
        ("main()\n", "main(0.5)\n"),
        ("lr=0.1", "lr=lr"),
    )
    assert "lr = 0.5\n" in text


def test_the_batch_size_is_the_tasks_and_its_default_the_scripts(tmp_path: Path) -> None:
    for given in ("batch_size=32", "batch_size=args.batch_size", "**{'batch_size': 32}"):
        option = "args = parse('--batch-size', default=32)\n    loader = DataLoader(data, " + given + ")"
        text = task(tmp_path, PLAIN, ("loader = [(torch.ones(2, WIDTH), torch.ones(2, 1))]", option))
        assert "make_task(device, batch_size=32, seed=0)" in text
        assert "batch_size=batch_size" in text or "'batch_size': batch_size" in text


@pytest.mark.parametrize(
    ("given", "size", "text"),
    [
        ("batch_size=bs", 16, "batch_size=batch_size"),
        ("batch_size=args.batch_size", 32, "batch_size=batch_size"),
        ("batch_size=min(64, 9)", 32, "batch_size=min(64, 9)"),
    ],
)
def test_the_batch_size_is_found_by_its_own_name(tmp_path: Path, given: str, size: int, text: str) -> None:
    options = (
        "bs = 16\n    args = parse('--test-batch-size', default=1000, x=1)\n    parse('--batch-size', default=32)\n"
    )
    made = f"{options}    loader = DataLoader(data, {given})"
    found = task(tmp_path, PLAIN, ("loader = [(torch.ones(2, WIDTH), torch.ones(2, 1))]", made))
    assert f"make_task(device, batch_size={size}, seed=0)" in found
    assert text in found


@pytest.mark.parametrize("end", ["try:\n    main()\nexcept KeyboardInterrupt:\n    pass", "history = main()"])
def test_a_script_that_trains_in_another_statement_is_copied_too(tmp_path: Path, end: str) -> None:
    assert "from train" not in task(tmp_path, PLAIN, ('if __name__ == "__main__":\n    main()', end))


def test_a_string_of_several_lines_keeps_its_text(tmp_path: Path) -> None:
    text = task_of(read(tmp_path, PLAIN.replace("net = Net(WIDTH, 1)", 'net = Net(len("""a\nb\n"""), 1)')), "train")[0]
    assert "Net(len('a\\nb\\n'), 1)" in text


def test_options_of_the_command_line_have_their_defaults(tmp_path: Path) -> None:
    text = task(
        tmp_path,
        PLAIN,
        ("WIDTH, 1)\n", "WIDTH, parse_args().out)\n"),
        ("WIDTH =", "from options import parse_args\nWIDTH ="),
    )
    assert "import sys\n" in text
    assert "    sys.argv[1:] = []\n" in text


def test_a_script_that_trains_when_imported_is_copied_with_what_its_classes_need(tmp_path: Path) -> None:
    before, _, after = PLAIN.partition("def main(limit=1.0):\n")
    text = task(
        tmp_path,
        (before + "\n".join(line[4:] for line in after.splitlines()[:-3])).replace("    pass", "    width = WIDTH"),
    )
    assert "from train" not in text
    assert (
        text.index("WIDTH = 4")
        < text.index("class Net")
        < text.index("def make_task")
        < text.index("LOSS = nn.MSELoss()")
    )


def test_a_function_that_gives_batches_is_called_for_each(tmp_path: Path) -> None:
    text = task(tmp_path, PLAIN, ("for x, y in loader:", "for _ in range(9):\n        x, y = get_batch('train')"))
    assert "iter(lambda: get_batch('train'), None))" in text


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("loss.backward()", "pass", "it has no loop with a call of backward"),
        ("for x, y in loader:", "while True:\n        x, y = next(it)", "its loop is over no batches"),
        ("LOSS(net(x), y)", "LOSS(net(WIDTH), WIDTH)", "its loss does not depend on the batch"),
        ("def main(limit=1.0)", "def main(limit)", "it does not show the limit of main"),
        ("def main(limit=1.0)", "def main(self)", "its training is a method"),
        ("def main(limit=1.0)", "async def main(limit=1.0)", "its training is asynchronous"),
        ("optimizer.step()", "model.update()", "its loop over batches shows no optimizer"),
    ],
)
def test_a_script_that_is_no_plain_loop_says_what_is_not(tmp_path: Path, old: str, new: str, says: str) -> None:
    with pytest.raises(NotPlain, match=says):
        task(tmp_path, PLAIN, (old, new))


def test_two_of_a_kind_are_no_plain_loop(tmp_path: Path) -> None:
    other = (
        ("    for x", "    other = SGD(net)\n    for x"),
        ("optimizer.step()", "optimizer.step()\n        other.step()"),
    )
    with pytest.raises(NotPlain, match="shows more than one optimizer"):
        task(tmp_path, PLAIN, *other)
    head = (
        ("    optimizer =", "    head = Net()\n    optimizer ="),
        ("lr=0.1", "lr=head.parameters()"),
        ("net(x)", "head(net(x))"),
    )
    with pytest.raises(NotPlain, match="shows more than one model"):
        task(tmp_path, PLAIN, *head)


@pytest.mark.parametrize(
    ("clipping", "call"),
    [
        (
            "torch.nn.utils.clip_grad_norm_(m.parameters(), max_norm=2.5)",
            "clip_grad_norm_(task.model.parameters(), 2.5)",
        ),
        ("clip = 1e-1\nclip_grad_value_(m.parameters(), clip)", "clip_grad_value_(task.model.parameters(), 1e-1)"),
        ("clip_grad_norm_(model.parameters(), 5e-2)", "clip_grad_norm_(task.model.parameters(), 0.05)"),
        (
            "p.add_argument('--max-norm', type=float, default=0.3)\nclip_grad_norm_(m.parameters(), args.max_norm)",
            "clip_grad_norm_(task.model.parameters(), 0.3)",
        ),
        ("clip = 0.0\nclip_grad_norm_(m.parameters(), clip)", ""),
        ("clip_grad_norm_(m.parameters(), limit())", ""),
        ("print('clip')", ""),
        ("# clip_grad_norm_(m.parameters(), 0.5)", ""),
        ("clip = 1-eps\nclip_grad_norm_(m.parameters(), clip)", "clip_grad_norm_(task.model.parameters(), 1)"),
    ],
)
def test_the_clipping_has_the_scripts_limit(tmp_path: Path, clipping: str, call: str) -> None:
    assert read(tmp_path, clipping).clip() == call
