"""A training watched from within: a loop of one's own, and the Trainers of Lightning and transformers."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from loopmark import load
from loopmark.bench.measure.watching.loopmark_hooks import FOLDER
from loopmark.integrations import watching

PASSES = {"forward", "backward", "optimizer"}


def train(steps: int) -> None:
    model = torch.nn.Linear(8, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.randn(4, 8)).pow(2).mean().backward()
        optimizer.step()


def hooks() -> list[object]:
    optim = sys.modules["torch.optim.optimizer"]
    return [
        torch.autograd.backward,
        torch.save,
        torch.optim.Optimizer.zero_grad,
        torch.utils.data.DataLoader.__iter__,
        dict(optim._global_optimizer_pre_hooks),
        dict(optim._global_optimizer_post_hooks),
    ]


def phases_of(folder: Path) -> set[str]:
    return set(load(folder).phases["phase"])


def test_a_loop_of_ones_own_is_kept_in_a_run_folder_and_leaves_torch_as_it_was(tmp_path: Path) -> None:
    before = hooks()

    with watching(tmp_path) as watch:
        train(300)

    assert hooks() == before
    assert watch.folder is not None
    assert (watch.folder / "report.html").exists()
    assert phases_of(watch.folder) > {*PASSES, "zero_grad", "loss"}


def test_the_steps_before_an_error_are_kept_and_the_error_is_raised(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), watching(tmp_path) as watch:
        train(100)
        raise ZeroDivisionError
    assert watch.folder is not None


def test_nothing_is_kept_of_a_loop_without_steps(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with watching(tmp_path / "results"):
        pass
    assert "nothing to report: no optimizer took a step" in capsys.readouterr().err
    assert not (tmp_path / "results").exists()


def test_a_script_that_loopmark_watches_is_not_hooked_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FOLDER, str(tmp_path))
    before = hooks()
    with watching(tmp_path) as watch:
        assert hooks() == before
    assert watch.folder is None


LIGHTNING = """
import torch, pytorch_lightning as lightning
from torch.utils.data import DataLoader, TensorDataset
from loopmark.integrations import LightningWatch

class Model(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = torch.nn.Linear(8, 1)
    def training_step(self, batch, _):
        return (self.net(batch[0]) ** 2).mean()
    def validation_step(self, batch, _):
        self.net(batch[0])
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=1e-3)

loader = DataLoader(TensorDataset(torch.randn(400, 8)), batch_size=4)
quiet = dict(logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False)
watch = LightningWatch("results")
lightning.Trainer(max_epochs=2, accelerator="cpu", callbacks=[watch], **quiet).fit(Model(), loader, loader)
print(watch.folder)
"""

TRANSFORMERS = """
import torch
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments
from loopmark.integrations import TransformersWatch

sizes = dict(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, vocab_size=50)
data = [{"input_ids": torch.randint(0, 50, (8,)), "labels": n % 2} for n in range(400)]
plan = dict(gradient_accumulation_steps=2, report_to=[], save_strategy="no", use_cpu=True, disable_tqdm=True)
watch = TransformersWatch("results")
model = BertForSequenceClassification(BertConfig(**sizes))
Trainer(model, TrainingArguments("out", num_train_epochs=1, per_device_train_batch_size=2, **plan),
        train_dataset=data, callbacks=[watch]).train()
print(watch.folder)
"""


@pytest.mark.parametrize(
    ("trainer", "program", "more"),
    [("pytorch_lightning", LIGHTNING, {"data"}), ("accelerate", TRANSFORMERS, {"data", "loss"})],
)
def test_a_trainer_is_watched_by_its_callback(tmp_path: Path, trainer: str, program: str, more: set[str]) -> None:
    pytest.importorskip(trainer)
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert phases_of(tmp_path / done.stdout.splitlines()[-1]) >= PASSES | more
