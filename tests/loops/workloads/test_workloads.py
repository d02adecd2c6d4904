import math
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from loopmark.loops.catalog import WORKLOADS
from loopmark.loops.goal import at_the_end
from loopmark.loops.loop import EAGER
from loopmark.loops.task import Batches, Task
from loopmark.loops.workloads.gpt import GPT, GPT2_SMALL, HELD_OUT, SMALL, next_byte_loss, text_windows
from loopmark.loops.workloads.regression import make_mlp_task, standardised_diabetes
from loopmark.loops.workloads.resnet import digits, resnet50, small_resnet
from tests.support.tiny import CPU, drive, losses_of, prepared


def make(name: str, seed: int = 0) -> Task:
    return WORKLOADS[name].make(CPU, "small", None, seed)


def size_of(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def standardised(values: Tensor) -> bool:
    mean, deviation = values.mean(0), values.std(0)
    return torch.allclose(mean, torch.zeros_like(mean), atol=1e-5) and torch.allclose(
        deviation, torch.ones_like(deviation), atol=1e-4
    )


def test_the_diabetes_data_is_standardised_column_by_column() -> None:
    data = standardised_diabetes()
    assert data.inputs.shape == (354, 10)
    assert data.targets.shape == (354, 1)
    assert data.inputs.dtype == data.held_targets.dtype == torch.float32
    assert standardised(data.inputs)
    assert standardised(data.targets)


def test_the_digits_are_standardised_as_a_whole() -> None:
    data = digits()
    assert data.inputs.shape == (1438, 1, 8, 8)
    assert data.inputs.dtype == torch.float32
    assert data.targets.dtype == torch.int64
    assert torch.equal(data.held_targets.unique(), torch.arange(10))
    assert standardised(data.inputs.flatten())


@pytest.mark.parametrize("context", [8, 64])
def test_a_text_windows_target_is_the_next_byte(context: int) -> None:
    inputs, targets = text_windows(context)
    assert inputs.shape == targets.shape == (len(inputs), context)
    assert inputs.dtype == targets.dtype == torch.int64
    assert int(inputs.min()) >= 0
    assert int(inputs.max()) < 256
    assert torch.equal(inputs[:, 1:], targets[:, :-1])
    assert torch.equal(inputs[1:, 0], targets[:-1, -1])  # windows are consecutive, and no byte is left out


def test_the_text_is_enough_to_train_on() -> None:
    assert len(text_windows(SMALL.context)[0]) > 5000
    assert len(text_windows(GPT2_SMALL.context)[0]) > 300


@pytest.mark.parametrize(("name", "parameters"), [("regression", 11), ("regression_mlp", 68_865), ("resnet", 77_754)])
def test_the_small_models_have_their_size(name: str, parameters: int) -> None:
    assert size_of(make(name).model) == parameters


def test_the_small_transformer_is_small_and_its_embedding_is_its_output_layer() -> None:
    model = make("gpt").model
    assert isinstance(model, GPT)
    assert model.output.weight is model.bytes.weight
    assert 100_000 < size_of(model) < 150_000


def test_resnet_50_has_its_size_and_its_shapes() -> None:
    with torch.device("meta"):
        model = resnet50()
        shapes: list[tuple[int, ...]] = []
        for block in model.blocks:
            block.register_forward_hook(lambda _module, _inputs, output: shapes.append(tuple(output.shape)))
        assert model(torch.empty(2, 3, 224, 224)).shape == (2, 10)
    assert size_of(model) == 23_528_522
    assert [shapes[i] for i in (0, 3, 7, 13)] == [
        (2, 256, 56, 56),
        (2, 512, 28, 28),
        (2, 1024, 14, 14),
        (2, 2048, 7, 7),
    ]
    assert len(shapes) == 16


def test_the_large_transformer_has_gpt2_smalls_shape() -> None:
    with torch.device("meta"):
        model = GPT(GPT2_SMALL)
        assert model(torch.empty(1, 16, dtype=torch.int64)).shape == (1, 16, 50304)
    assert size_of(model) == pytest.approx(124.4e6, rel=1e-3)


def test_the_large_perceptron_is_wide() -> None:
    assert size_of(make_mlp_task(CPU, 354, 0, width=4096).model) == pytest.approx(16.8e6, rel=0.01)


def test_the_transformer_sees_no_byte_that_comes_later() -> None:
    model = make("gpt").model
    text = text_windows(SMALL.context)[0][:1]
    changed = text.clone()
    changed[0, 40:] = 0
    before, after = model(text), model(changed)
    torch.testing.assert_close(before[:, :40], after[:, :40])
    assert not torch.allclose(before[:, 40:], after[:, 40:])


def test_the_next_bytes_loss_is_the_mean_over_all_bytes() -> None:
    logits = torch.zeros(2, 3, 256)
    assert float(next_byte_loss(logits, torch.zeros(2, 3, dtype=torch.int64))) == pytest.approx(math.log(256))


def test_the_transformers_residual_branches_start_smaller() -> None:
    torch.manual_seed(0)
    block = GPT(SMALL).blocks[0]
    assert float(block.qkv.weight.detach().std()) == pytest.approx(0.02, rel=0.1)
    assert float(block.projection.weight.detach().std()) == pytest.approx(0.01, rel=0.1)


@pytest.mark.parametrize(
    ("name", "share_of_borders"),
    [("regression", 0), ("regression_mlp", 0), ("resnet", 0), ("gpt", 0.03)],  # borders of tables recur in a text
)
def test_no_held_out_row_is_trained_on_and_every_seed_holds_out_the_same(name: str, share_of_borders: float) -> None:
    def rows(tensor: Tensor) -> set[bytes]:
        return {row.numpy().tobytes() for row in tensor}

    def held_out(seed: int) -> Tensor:
        task = make(name, seed)
        seen: list[Tensor] = []
        hook = task.model.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        assert task.goal is not None
        task.goal.quality(task.model)
        hook.remove()
        assert isinstance(task.batches, Batches)
        trained_on, held = rows(task.batches.inputs), rows(torch.cat(seen))
        assert len(trained_on & held) <= share_of_borders * len(held)
        assert len(trained_on) > 3 * len(held) > 200
        return torch.cat(seen)

    assert torch.equal(held_out(0), held_out(1))


@pytest.mark.parametrize("name", WORKLOADS)
def test_an_untrained_model_is_far_from_the_target(name: str) -> None:
    task = make(name)
    assert task.goal is not None
    quality = task.goal.quality(task.model)
    assert quality < task.goal.target - 0.2 if task.goal.higher_is_better else quality > task.goal.target + 2


@pytest.mark.parametrize(("name", "loss", "tolerance"), [("resnet", math.log(10), 0.5), ("gpt", math.log(256), 0.1)])
def test_an_untrained_classifier_knows_nothing(name: str, loss: float, tolerance: float) -> None:
    for seed in (0, 1):
        assert float(drive(*prepared(EAGER, make(name, seed)))) == pytest.approx(loss, abs=tolerance)


@pytest.mark.parametrize(
    ("name", "share"), [("regression", 0.8), ("regression_mlp", 0.85), ("resnet", 0.2), ("gpt", 0.75)]
)
def test_the_loss_falls_within_sixty_steps(name: str, share: float) -> None:
    losses = losses_of(*prepared(EAGER, make(name)), 60)
    assert sum(losses[-5:]) < share * sum(losses[:5])


@pytest.mark.parametrize("name", WORKLOADS)
def test_a_seed_decides_weights_and_batches(name: str) -> None:
    def first(seed: int) -> list[Tensor]:
        task = make(name, seed)
        return [*task.next_batch(), *(parameter.detach() for parameter in task.model.parameters())]

    same = [torch.equal(a, b) for a, b in zip(first(0), first(0), strict=True)]
    assert all(same)
    assert not torch.equal(first(0)[0], first(1)[0])
    assert not torch.equal(first(0)[2], first(1)[2])


@pytest.mark.parametrize("name", WORKLOADS)
def test_a_workload_has_a_batch_size_for_each_size_and_its_data_has_a_hash(name: str) -> None:
    assert WORKLOADS[name].sizes.keys() == {"small", "large"}
    task = make(name)
    assert isinstance(task.batches, Batches)
    assert task.batches.batch_size == WORKLOADS[name].sizes["small"][1]
    assert task.batches.data_sha256() == make(name, seed=1).batches.data_sha256()


def test_the_small_resnet_takes_any_image_size() -> None:
    model = partial(small_resnet().eval())
    assert model(torch.zeros(2, 1, 8, 8)).shape == model(torch.zeros(2, 1, 16, 16)).shape == (2, 10)


def test_hardly_any_held_out_text_stands_in_the_text_that_is_trained_on() -> None:
    inputs, _ = text_windows(SMALL.context)
    split = at_the_end(inputs, inputs, HELD_OUT)
    trained_on, held_out = (part.to(torch.uint8).numpy().tobytes() for part in (split.inputs, split.held_inputs))
    windows = [held_out[at : at + SMALL.context] for at in range(0, len(held_out), SMALL.context)]
    assert sum(window in trained_on for window in windows) < 0.03 * len(windows)  # borders of tables
