"""Batches of every shape: their parts, their tensors, their samples, and how they reach the model."""

from collections import UserDict, namedtuple
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_sequence
from torch.utils.data import DataLoader, Dataset

from loopmark.loops.batch import (
    BadBatch,
    cut,
    inputs_and_targets,
    layout_of,
    loss_in,
    mapped,
    moved,
    rows_of,
    tensors_in,
)
from loopmark.loops.catalog import find_loop
from loopmark.loops.task import Task
from tests.support.tiny import drive

META = torch.device("meta")
Pair = namedtuple("Pair", "images labels")


@dataclass(frozen=True)
class Frozen:
    pixels: Tensor
    name: str


class Holder:
    """As torch's documentation of custom batches has it: tensors in attributes, and no `.to`."""

    def __init__(self, pixels: Tensor) -> None:
        self.pixels = pixels


class Encoding(UserDict[str, Tensor]):
    def to(self, device: torch.device) -> "Encoding":
        self.data = {name: tensor.to(device) for name, tensor in self.data.items()}
        return self


def ones(*shape: int) -> Tensor:
    return torch.ones(*shape)


SHAPES: list[Any] = [
    {"a": ones(4, 2), "b": [ones(4), (ones(4), {"c": ones(4)})]},
    Pair(ones(4, 2), ones(4)),
    Frozen(ones(4, 2), "name"),
    Holder(ones(4, 2)),
    Encoding(a=ones(4, 2)),
    [Frozen(ones(4, 2), "one"), {"deep": Holder(ones(4))}],
    pack_sequence([ones(3, 2), ones(1, 2)]),
]


@pytest.mark.parametrize("tree", SHAPES, ids=lambda tree: type(tree).__name__)
def test_each_tensor_is_moved_and_nothing_else_changes(tree: Any) -> None:
    found = moved(mapped(Tensor.clone, tree), META, torch.contiguous_format)
    assert type(found) is type(tree)
    assert layout_of(found) == layout_of(tree)
    if not isinstance(tree, PackedSequence):  # its lengths stay on the CPU
        assert {tensor.device for tensor in tensors_in(found)} == {META}
    assert all(tensor.device.type == "cpu" for tensor in tensors_in(tree))


def test_only_images_take_the_image_format() -> None:
    batch = {"image": ones(2, 3, 4, 4), "box": ones(2, 4)}
    found = moved(batch, torch.device("cpu"), torch.channels_last)
    assert found["image"].is_contiguous(memory_format=torch.channels_last)
    assert found["box"].is_contiguous()


@pytest.mark.parametrize(
    ("batch", "has_loss_fn", "parts"),
    [
        (("x", "y"), True, ("x", "y")),
        (["x", "y"], False, ("x", "y")),
        (("x", "m", "y"), True, (("x", "m"), "y")),
        (("x", "m", "y"), False, (("x", "m", "y"), None)),
        (("x",), True, (("x",), None)),
        ({"k": "x"}, True, ({"k": "x"}, None)),
        ("x", True, ("x", None)),
    ],
)
def test_a_batch_is_inputs_and_targets(batch: Any, has_loss_fn: bool, parts: Any) -> None:
    x, m, y = ones(1), ones(2), ones(3)

    def made(tree: Any) -> Any:
        kinds = {"x": x, "m": m, "y": y}
        if isinstance(tree, str):
            return kinds[tree]
        if isinstance(tree, dict):
            return {key: made(value) for key, value in tree.items()}
        return tree if tree is None else type(tree)(made(part) for part in tree)

    inputs, targets = inputs_and_targets(made(batch), has_loss_fn)
    assert layout_of(inputs) == layout_of(made(parts[0]))
    assert layout_of(targets) == layout_of(made(parts[1]))


@pytest.mark.parametrize("batch", [3, None, "text", [], {}, (1, 2), {"ids": [1, 2]}])
def test_a_batch_without_tensors_is_named_with_the_code_that_made_it(batch: Any) -> None:
    task = Task(nn.Linear(1, 1), F.mse_loss, torch.optim.SGD, [batch])
    with pytest.raises(BadBatch, match=r"^tests/loops/test_batch.py:\d+: a batch must hold tensors; this one is a"):
        task.next_batch()


class Rows(Dataset[Any]):
    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return ones(2), index


def no_tensors(rows: list[Any]) -> list[int]:
    return [label for _, label in rows]


def test_a_collate_function_that_gives_no_tensors_is_named() -> None:
    task = Task(nn.Linear(1, 1), F.mse_loss, torch.optim.SGD, DataLoader(Rows(), 2, collate_fn=no_tensors))
    line = no_tensors.__code__.co_firstlineno
    with pytest.raises(BadBatch, match=f"test_batch.py:{line}: a batch must hold tensors; this one is a list of int"):
        task.next_batch()


@pytest.mark.parametrize(
    ("inputs", "targets", "rows"),
    [
        (ones(5, 2), ones(5), 5),
        (ones(4, 3, 8, 8), [{"boxes": ones(2, 4)}] * 4, 4),
        ({"ids": ones(3, 7), "mask": ones(3, 7), "labels": ones(3)}, None, 3),
        ({"size": (8, 8), "pixels": ones(2, 3), "labels": [{"boxes": ones(1, 4), "classes": ones(1)}] * 2}, None, 2),
        (pack_sequence([ones(3, 2), ones(1, 2)]), ones(2), 2),
        ({"scale": torch.tensor(1.0)}, None, None),
    ],
)
def test_samples_are_counted_by_the_targets_or_the_most_frequent_first_size(
    inputs: Any, targets: Any, rows: int | None
) -> None:
    assert rows_of(inputs, targets) == rows


def test_a_nested_batch_is_cut_row_by_row() -> None:
    tree = {"x": torch.arange(5), "boxes": [{"n": i} for i in range(5)], "scale": 2.0}
    first, second = cut(tree, rows=5, parts=2)
    assert first["x"].tolist() == [0, 1, 2] and [box["n"] for box in first["boxes"]] == [0, 1, 2]
    assert second["x"].tolist() == [3, 4] and [box["n"] for box in second["boxes"]] == [3, 4]
    assert first["scale"] == second["scale"] == 2.0


class Held:
    def __init__(self, tokens: torch.Tensor, lengths: list[int]) -> None:
        self.tokens, self.lengths, self.name = tokens, lengths, "all"


def test_an_object_is_cut_by_its_attributes() -> None:
    first, second = cut(Held(torch.arange(4), [1, 2, 3, 4]), rows=4, parts=2)
    assert (first.tokens.tolist(), first.lengths, first.name) == ([0, 1], [1, 2], "all")
    assert (second.tokens.tolist(), second.lengths, second.name) == ([2, 3], [3, 4], "all")


def test_a_list_with_a_tensor_for_each_sample_is_cut_between_them() -> None:
    images = [ones(3, 4 + i, 5) for i in range(4)]
    first, second = cut(images, rows=4, parts=2)
    assert [*map(id, (*first, *second))] == [*map(id, images)]


@pytest.mark.parametrize("batch", [Held(ones(9), []), nn.utils.rnn.pack_sequence([ones(3), ones(2)])])
def test_an_object_whose_tensors_have_other_rows_is_not_cut(batch: Any) -> None:
    with pytest.raises(ValueError, match=f"tensors of a {type(batch).__name__} do not each have a row"):
        cut(batch, rows=2, parts=2)


def test_a_batch_of_graphs_says_how_many_it_holds() -> None:
    batch = Held(ones(9), [])
    batch.num_graphs = 3  # type: ignore[attr-defined]
    assert rows_of(batch) == 3


TWO = torch.tensor(2.0)


class Output:
    loss = TWO


@pytest.mark.parametrize(
    "output",
    [TWO, torch.tensor([2.0]), {"loss": TWO, "logits": ones(3)}, Output(), (ones(3), TWO)],
)
def test_the_loss_is_found_in_the_models_output(output: Any) -> None:
    assert loss_in(output).shape == ()
    assert float(loss_in(output)) == 2.0


@pytest.mark.parametrize("output", [ones(3), {"logits": ones(3)}, (torch.tensor(1.0), torch.tensor(2.0)), None])
def test_an_output_without_one_loss_is_named_with_the_models_forward(output: Any) -> None:
    class Model(nn.Linear):
        def forward(self, _: Any) -> Any:
            return output

    task = Task(Model(1, 1), None, torch.optim.SGD, [(ones(2, 1), ones(2, 1))])
    with pytest.raises(BadBatch, match=r"test_batch.py:\d+: loss_fn is None, and the model's output holds no loss"):
        drive(task, find_loop("eager").prepare(task))


class TwoInputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 1)

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        found: Tensor = self.layer(left + right)
        return found


SGD = partial(torch.optim.SGD, lr=0.1)
PARTS = {"left": ones(4, 2), "right": ones(4, 2)}


@pytest.mark.parametrize("loop", ["eager", "amp_bf16", "accumulate_2", "compile"])
@pytest.mark.parametrize("inputs", [PARTS, (*PARTS.values(),), [*PARTS.values()]], ids=["dict", "tuple", "list"])
def test_inputs_reach_the_model_by_keyword_or_position(inputs: Any, loop: str) -> None:
    torch.compiler.reset()
    task = Task(TwoInputs(), F.mse_loss, SGD, [(inputs, ones(4, 1))])
    with torch.compiler.set_stance("force_eager"):
        assert drive(task, find_loop(loop).prepare(task)).isfinite()


def test_arguments_that_the_model_does_not_take_are_named_with_its_forward() -> None:
    task = Task(TwoInputs(), F.mse_loss, SGD, [({"left": ones(4, 2), "wrong": ones(4)}, ones(4, 1))])
    step = find_loop("eager").prepare(task)
    with pytest.raises(BadBatch, match=r"test_batch.py:\d+: forward does not take a batch with the keys left, wrong"):
        drive(task, step)


def test_call_gets_the_targets_of_the_part_that_it_predicts() -> None:
    seen = []

    def call(model: nn.Module, inputs: Tensor, targets: Tensor) -> Any:
        seen.append((inputs[:, 0].tolist(), targets[:, 0].tolist()))
        return F.mse_loss(model(inputs), targets)

    rows = torch.arange(4.0)[:, None]
    task = Task(nn.Linear(1, 1), None, SGD, [(rows, rows)], call=call)
    drive(task, find_loop("accumulate_2").prepare(task))
    assert seen == [([0.0, 1.0], [0.0, 1.0]), ([2.0, 3.0], [2.0, 3.0])]


def test_the_loss_phase_is_absent_where_the_model_computes_the_loss() -> None:
    task = Task(TwoInputs(), None, SGD, [PARTS], call=lambda model, inputs, _: model(**inputs).mean())
    step = find_loop("eager").prepare(task)
    assert [*step(task, *task.next_batch())] == ["zero_grad", "forward", "backward", "optimizer"]


def test_attributes_of_the_model_are_found_through_its_adapter() -> None:
    task = Task(TwoInputs(), F.mse_loss, SGD, [(PARTS, ones(4, 1))])
    task.next_batch()
    assert task.model.layer is task.plain_model.layer
    assert task.model.training


def test_several_optimizers_step_as_one_and_keep_their_names() -> None:
    def make_optimizer(model: nn.Module) -> dict[str, torch.optim.Optimizer]:
        weight, bias = model.parameters()
        return {"weight": torch.optim.SGD([weight], lr=0.1), "bias": torch.optim.AdamW([bias], lr=0.1)}

    task = Task(nn.Linear(2, 1), F.mse_loss, make_optimizer, [(ones(4, 2), ones(4, 1))])
    before = [parameter.detach().clone() for parameter in task.model.parameters()]
    drive(task, find_loop("amp_bf16").prepare(task))
    assert [*task.optimizers] == ["weight", "bias"]
    assert not any(torch.equal(a, b) for a, b in zip(before, task.model.parameters(), strict=True))
    assert set(task.optimizer.state) == {*task.model.parameters()} - {task.plain_model.weight}


def rates(make_scheduler: Any, steps: int) -> list[float]:
    """The learning rates of the first ``steps`` updates, and the one after them."""
    task = Task(nn.Linear(2, 1), F.mse_loss, SGD, [(ones(4, 2), ones(4, 1))], make_scheduler=make_scheduler)
    step = find_loop("eager").prepare(task)
    seen = [task.optimizer.param_groups[0]["lr"]]
    for _ in range(steps):
        drive(task, step)
        seen.append(task.optimizer.param_groups[0]["lr"])
    return seen


def test_a_schedule_is_stepped_after_each_update_only() -> None:
    assert rates(partial(torch.optim.lr_scheduler.StepLR, step_size=1, gamma=0.5), 2) == [0.1, 0.05, 0.025]


def test_a_schedule_of_some_steps_keeps_its_last_rate_after_them() -> None:
    seen = rates(partial(torch.optim.lr_scheduler.OneCycleLR, max_lr=1.0, total_steps=4), 7)
    assert seen[3] != seen[4] == seen[5] == seen[7]


def test_a_compiled_update_keeps_its_hooks_and_can_be_scheduled() -> None:
    task = Task(nn.Linear(2, 1), F.mse_loss, SGD, [(ones(4, 2), ones(4, 1))])
    with torch.compiler.set_stance("force_eager"):
        step = find_loop("compile_optimizer").prepare(task)
        schedule = torch.optim.lr_scheduler.OneCycleLR(task.optimizer, max_lr=1.0, total_steps=10)
        called = []
        task.optimizer.register_step_post_hook(lambda *_: called.append(1))
        drive(task, step)
        schedule.step()
    assert called == [1]


def test_an_optimizer_that_needs_a_closure_is_skipped_with_the_way_out() -> None:
    from loopmark.loops.technique import Skip

    task = Task(nn.Linear(2, 1), F.mse_loss, torch.optim.LBFGS, [(ones(4, 2), ones(4, 1))])
    with pytest.raises(Skip, match=r"LBFGS needs a closure.*--loop FILE.py:step --baseline FILE.py:step"):
        find_loop("amp_bf16").prepare(task)


def test_a_model_of_torchs_own_without_a_loss_is_named_by_the_line_of_its_task() -> None:
    task = Task(nn.Linear(2, 1), None, SGD, [ones(4, 2)])
    with pytest.raises(BadBatch, match=r"test_batch\.py:\d+: loss_fn is None.*shape \(4, 1\)"):
        drive(task, find_loop("eager").prepare(task))
