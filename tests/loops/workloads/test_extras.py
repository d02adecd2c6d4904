"""Workloads of packages that an extra installs: their batches, losses and units, and the errors that name a remedy."""

import importlib
import importlib.util
from typing import Any

import pytest
import torch
from torch import nn

from loopmark.loops.catalog import find_loop, find_workload
from loopmark.loops.loop import EAGER
from loopmark.loops.task import Task
from loopmark.loops.user_code import BadSpec
from loopmark.loops.workloads import extras
from loopmark.loops.workloads.extras import lacks, repeated_blocks
from tests.support.tiny import CPU, losses_of, prepared

TEXT, IMAGE = ("input_ids", "labels"), ("labels", "pixel_values")


def needs(prefix: str) -> None:
    """Skip a test where the extra's package is missing, or does not work with this torch."""
    if reason := lacks(prefix):
        pytest.skip(f"{prefix}: {reason}")
    try:
        importlib.import_module(f"{extras.__package__}.{extras.EXTRAS[prefix][0]}_models")
    except Exception as error:
        pytest.skip(f"{prefix}: {extras.EXTRAS[prefix][0]} cannot be imported: {error}")


def make(name: str, seed: int = 0) -> Task:
    needs(name.partition(":")[0])
    return find_workload(name).make(CPU, "small", 4, seed)


@pytest.mark.parametrize(
    ("name", "keys", "tokens_a_batch"),
    [
        ("hf:bert", TEXT, 4 * 32),
        ("hf:gpt2", TEXT, 4 * 32),
        ("hf:llama", TEXT, 4 * 32),
        ("hf:t5", TEXT, 4 * (32 + 32)),  # read and written
        ("hf:whisper", ("input_features", "labels"), 4 * 32),
        ("hf:vit", IMAGE, None),
        ("hf:resnet", IMAGE, None),
        ("hf:BertForQuestionAnswering", ("end_positions", "input_ids", "start_positions"), 4 * 32),
    ],
)
def test_a_model_of_transformers_trains_by_its_own_loss_on_its_own_keys(
    name: str, keys: tuple[str, ...], tokens_a_batch: int | None
) -> None:
    task = make(name)
    batch: Any = task.batches[0]  # type: ignore[index]
    assert tuple(sorted(batch)) == keys
    assert {len(tensor) for tensor in batch.values()} == {4}
    assert {unit: count(batch) for unit, count in (task.counts or {}).items()} == (
        {"tokens": tokens_a_batch} if tokens_a_batch else {}
    )
    assert not task.has_loss_fn
    assert len(task.blocks) >= 2
    assert all(torch.isfinite(torch.tensor(losses_of(*prepared(EAGER, task), 2))))


def test_a_masked_model_predicts_the_same_share_of_each_row() -> None:
    batch: Any = make("hf:bert").batches[0]  # type: ignore[index]
    predicted = batch["labels"] != -100  # (N, T)
    assert predicted.sum(1).unique().tolist() == [round(0.15 * 32)]
    assert batch["input_ids"][predicted].unique().tolist() == [9]
    assert (batch["input_ids"][~predicted] != 9).all()


def test_annotated_images_are_counted_and_split_by_image() -> None:
    task = make("hf:yolos")
    assert len(task.batches[0]["labels"]) == 4  # type: ignore[index]
    assert all(torch.isfinite(torch.tensor(losses_of(*prepared(find_loop("accumulate_2"), task), 1))))


def test_the_loss_of_a_model_of_transformers_falls() -> None:
    losses = losses_of(*prepared(EAGER, make("hf:gpt2")), 30)
    assert sum(losses[-4:]) < 0.9 * sum(losses[:4])


def test_a_seed_decides_the_weights_and_batches_of_a_model_of_transformers() -> None:
    def first(seed: int) -> list[torch.Tensor]:
        task = make("hf:vit", seed)
        return [task.batches[0]["pixel_values"], next(task.model.parameters()).detach()]  # type: ignore[index]

    assert all(map(torch.equal, first(0), first(0)))
    assert not any(map(torch.equal, first(0), first(1)))


@pytest.mark.parametrize(
    ("name", "alike"), [("hf:brt", "'hf:bert'"), ("hf:LamaForCausalLM", "'hf:LlamaForCausalLM'"), ("hf:BertConfig", "")]
)
def test_an_unknown_model_of_transformers_names_similar_ones(name: str, alike: str) -> None:
    needs("hf")
    with pytest.raises(BadSpec, match=f"no workload named '{name}'.*{alike}"):
        find_workload(name)


def test_a_class_without_a_head_names_one_with_a_head() -> None:
    with pytest.raises(
        BadSpec, match=r"BertModel computes no loss from made-up .*such as hf:BertForMaskedLM, or write"
    ):
        make("hf:BertModel")


def test_a_class_that_needs_other_arguments_lists_those_that_it_takes() -> None:
    with pytest.raises(BadSpec, match=r"no loss from made-up pixel_values; .*takes: pixel_values, bool_masked_pos"):
        make("hf:ViTForMaskedImageModeling")


@pytest.mark.parametrize(
    ("name", "remedy"),
    [("hf:none", r"pip install 'loopmark\[hf\]'"), ("timm:none", rf"\[timm\]' torch=={torch.__version__[:4]}")],
)
def test_a_missing_package_comes_with_its_command(monkeypatch: pytest.MonkeyPatch, name: str, remedy: str) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda package: None)
    package = extras.EXTRAS[name.partition(":")[0]][0]
    with pytest.raises(BadSpec, match=f"{name} needs {package}: .*{remedy}"):
        find_workload(name)


def test_a_package_that_cannot_be_imported_names_the_first_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> None:
        cause = RuntimeError("operator torchvision::nms does not exist")
        raise ImportError("a lazy import failed") from cause

    monkeypatch.setattr(importlib.util, "find_spec", lambda package: True)
    monkeypatch.setattr(importlib, "import_module", fail)
    with pytest.raises(
        BadSpec, match=r"timm cannot be imported: RuntimeError: .*nms.*; this torchvision was not built"
    ):
        find_workload("timm:none")


@pytest.mark.parametrize("name", ["timm:resnet18", "timm:vit_tiny_patch16_224"])
def test_a_model_of_timm_classifies_images(name: str) -> None:
    task = make(name)
    images, classes = task.next_batch()
    assert (images.shape[:2], classes.shape) == ((4, 3), (4,))
    assert all(torch.isfinite(torch.tensor(losses_of(*prepared(EAGER, task), 2))))


def test_an_unknown_model_of_timm_names_similar_ones() -> None:
    needs("timm")
    with pytest.raises(BadSpec, match=r"no workload named 'timm:resnet81'.*'timm:resnet18'"):
        find_workload("timm:resnet81")


def test_a_models_layers_are_the_outermost_lists_of_a_class_of_its_own() -> None:
    class Layer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.ModuleList([nn.Linear(1, 1), nn.Linear(1, 1)])

    layers = [Layer(), Layer()]
    model = nn.Sequential(nn.Sequential(*layers), nn.Sequential(nn.ReLU(), nn.ReLU()))
    assert repeated_blocks(model) == tuple(layers)
