"""The pieces of a training script, read without running it."""

from pathlib import Path

import pytest

from loopmark.bench.cli.script import Script


def read(tmp_path: Path, text: str) -> Script:
    (tmp_path / "train.py").write_text(text)
    return Script(tmp_path / "train.py")


def test_the_lines_of_its_pieces_are_found_by_number(tmp_path: Path) -> None:
    script = read(tmp_path, "x = 1\nself.optimizer = torch.optim.SGD(self.net.parameters())\nmodel = Net()\n")
    assert script.pieces() == (
        "self.optimizer = torch.optim.SGD(self.net.parameters())  # line 2\nmodel = Net()  # line 3\n"
    )
    assert script.missing() == ["a loss", "a loader"]


@pytest.mark.parametrize(
    "line",
    [
        "opt = build_optimizer(net, cfg)",
        "optimizer = model.configure_optimizers(0.1, lr)",
        "schedule = torch.optim.lr_scheduler.OneCycleLR(opt, 1.0, 10)",
        "lr_scheduler = get_linear_schedule_with_warmup(opt, 1, 10)",
        "self.criterion = nn.CrossEntropyLoss()",
        "loss = F.cross_entropy(model(x), y)",
        "train_loader, val_loader = make(args)",
        "rows = DataLoader(data)",
        "X, Y = get_batch('train')",
    ],
)
def test_each_piece_is_known_by_its_line(tmp_path: Path, line: str) -> None:
    assert read(tmp_path, f"def main():\n    {line}\n").pieces() == f"{line}  # line 2\n"


@pytest.mark.parametrize(
    ("clipping", "call"),
    [
        (
            "torch.nn.utils.clip_grad_norm_(m.parameters(), max_norm=2.5)",
            "clip_grad_norm_(task.model.parameters(), 2.5)",
        ),
        ("clip = 1e-1\nclip_grad_value_(m.parameters(), clip)", "clip_grad_value_(task.model.parameters(), 1e-1)"),
        ("clip_grad_norm_(model.parameters(), 5e-2)", "clip_grad_norm_(task.model.parameters(), 5e-2)"),
        (
            "p.add_argument('--max-norm', type=float, default=0.3)\nclip_grad_norm_(m.parameters(), args.max_norm)",
            "clip_grad_norm_(task.model.parameters(), 0.3)",
        ),
        ("clip = 0.0\nclip_grad_norm_(m.parameters(), clip)", ""),
        ("clip_grad_norm_(m.parameters(), limit())", "clip_grad_norm_(task.model.parameters(), 1.0)"),
        ("print('clip')", ""),
    ],
)
def test_the_clipping_has_the_scripts_limit(tmp_path: Path, clipping: str, call: str) -> None:
    assert read(tmp_path, clipping).clip() == call
