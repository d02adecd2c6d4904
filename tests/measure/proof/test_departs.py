"""Loops that train differently depart, and the difference is found by kind, layer and step."""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from loopmark.loops import eager
from loopmark.loops.catalog import find_loop
from loopmark.loops.task import Task
from tests.measure.proof.models import (
    Partly,
    perceptron,
    regressing,
    workload,
)
from tests.measure.proof.proofs import StepFunction, judged, own
from tests.measure.proof.steps import cast_by_hand, scaled_loss
from tests.support.tiny import make_tiny_task


def changed(change: Callable[[Task], object], after: str, every: int = 1) -> StepFunction:
    """The canonical step, with ``change`` made to the task just after a phase in every n-th step."""
    steps = count()

    def step(task: Task, inputs: Tensor, targets: Tensor) -> Iterator[str]:
        now = next(steps) % every == 0
        for phase in eager.step(task, inputs, targets):
            if phase == after and now:
                change(task)
            yield phase

    return step


def forgets_zero_grad(task: Task, inputs: Tensor, targets: Tensor) -> Iterator[str]:
    yield "zero_grad"
    loss = task.loss_fn(task.model(inputs), targets)
    yield "forward"
    yield "loss"
    loss.backward()
    yield "backward"
    task.optimizer.step()
    yield "optimizer"
    task.last_loss = loss.detach()


def on_other_data(change: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]) -> StepFunction:
    return lambda task, inputs, targets: eager.step(task, *change(inputs, targets))


def one_label_wrong(inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    return inputs, torch.cat([(targets[:1] + 1) % 10, targets[1:]])


def scales_gradient(layer: str, factor: float) -> Callable[[Task], object]:
    def change(task: Task) -> None:
        gradient = dict(task.plain_model.named_parameters())[layer].grad
        assert gradient is not None
        gradient.mul_(factor)

    return change


def detaches(layer: str) -> Callable[[Task], object]:
    return lambda task: setattr(dict(task.plain_model.named_parameters())[layer], "grad", None)


def settings(**values: Any) -> Callable[[Task], object]:
    return lambda task: [group.update(values) for group in task.optimizer.param_groups]


def clips(most: float) -> Callable[[Task], object]:
    return lambda task: nn.utils.clip_grad_norm_(task.model.parameters(), most)


def clips_before_the_update(most: float) -> StepFunction:
    def step(task: Task, inputs: Tensor, targets: Tensor) -> Iterator[str]:
        for phase in eager.step(task, inputs, targets):
            yield phase
            if phase == "backward":
                clips(most)(task)

    return step


def only_in_every_other(fault: StepFunction) -> StepFunction:
    steps = count()
    return lambda task, inputs, targets: (fault if next(steps) % 2 else eager.step)(task, inputs, targets)


LAYERS = [name for name, _ in make_tiny_task().model.named_parameters()]
LAST, DEEPEST = LAYERS[-1], LAYERS[0]


@pytest.mark.parametrize(
    ("fault", "kind", "layer", "step"),
    [
        pytest.param(forgets_zero_grad, "gradient", LAST, 1, id="forgets zero_grad"),
        pytest.param(changed(lambda t: t.optimizer.step(), "optimizer"), "update", DEEPEST, 0, id="steps twice"),
        pytest.param(changed(settings(lr=1.01e-2), "zero_grad"), "update", DEEPEST, 0, id="learning rate 1 % larger"),
        pytest.param(changed(settings(weight_decay=0), "zero_grad"), "update", DEEPEST, 0, id="no weight decay"),
        pytest.param(
            changed(settings(betas=(0.9, 0.99)), "zero_grad"),
            "update",
            f"exp_avg_sq of {DEEPEST}",
            0,
            id="another beta",
        ),
        pytest.param(changed(clips(0.01), "backward"), "gradient", LAST, 0, id="clips in backward"),
        pytest.param(scaled_loss(1.0001), "loss", "", 0, id="loss scaled"),
        pytest.param(scaled_loss(1.0001, told=False), "gradient", LAST, 0, id="loss scaled and not told"),
        pytest.param(on_other_data(one_label_wrong), "loss", "", 0, id="a label wrong"),
        pytest.param(on_other_data(lambda x, y: (x[:8], y[:8])), "loss", "", 0, id="half the batch"),
        pytest.param(on_other_data(lambda x, y: (x + 0.3 * torch.randn_like(x), y)), "loss", "", 0, id="noise"),
        pytest.param(only_in_every_other(forgets_zero_grad), "gradient", LAST, 1, id="forgets every other zero_grad"),
        pytest.param(only_in_every_other(scaled_loss(1.0001)), "loss", "", 1, id="loss scaled every other time"),
        pytest.param(
            changed(lambda t: t.optimizer.step(), "optimizer", every=8), "update", DEEPEST, 0, id="steps twice once"
        ),
    ],
)
def test_a_planted_fault_departs_and_is_found_where_it_was_planted(
    fault: StepFunction, kind: str, layer: str, step: int
) -> None:
    found = judged(own(fault), make_tiny_task)
    assert found.verdict == "departs"
    assert found.first is not None
    assert (found.first.kind, found.first.layer, found.first.step) == (kind, layer, step)


@pytest.mark.parametrize("layer", LAYERS)
def test_the_one_layer_whose_gradient_is_a_thousandth_too_large_is_named(layer: str) -> None:
    found = judged(own(changed(scales_gradient(layer, 1.001), "backward")), make_tiny_task)
    assert found.verdict == "departs"
    assert found.first is not None
    assert (found.first.kind, found.first.layer) == ("gradient", layer)
    assert found.first.error == pytest.approx(1e-3, rel=0.05)


@pytest.mark.parametrize("layer", ["blocks.1.body.0.weight", "blocks.2.shortcut.1.bias", "classifier.weight"])
@pytest.mark.parametrize("change", [detaches, partial(scales_gradient, factor=1.2)])
def test_so_is_one_of_many_layers_that_is_detached_or_a_fifth_too_large(
    layer: str, change: Callable[[str], Callable[[Task], object]]
) -> None:
    found = judged(own(changed(change(layer), "backward")), workload("resnet"), steps=2)
    assert found.verdict == "departs"
    assert found.first is not None
    assert (found.first.kind, found.first.layer) == ("gradient", layer)


def test_a_gradient_that_is_half_too_large_in_every_other_step_departs_in_the_first_of_them() -> None:
    fault = changed(scales_gradient("stem.1.bias", 1.5), "backward", every=2)
    found = judged(own(fault), workload("resnet"), steps=2)
    assert found.verdict == "departs"
    assert found.first is not None
    assert (found.first.kind, found.first.layer, found.first.step) == ("gradient", "stem.1.bias", 0)


def test_a_gradient_in_half_precision_is_still_seen_to_be_half_too_large() -> None:
    def fault(task: Task, inputs: Tensor, targets: Tensor) -> Iterator[str]:
        for phase in cast_by_hand(task, inputs, targets, back=False):
            if phase == "backward":
                scales_gradient("blocks.1.0.weight", 1.5)(task)
            yield phase

    found = judged(own(fault), make_tiny_task)
    assert found.verdict == "departs"
    assert found.first is not None
    assert (found.first.kind, found.first.layer) == ("gradient", "blocks.1.0.weight")


def test_an_optimizer_that_forgets_what_it_keeps_departs_in_the_first_step_that_it_does() -> None:
    def forgets(task: Task, inputs: Tensor, targets: Tensor) -> Iterator[str]:
        yield from eager.step(task, inputs, targets)
        task.optimizer.state.clear()

    found = judged(own(forgets), workload("resnet"), steps=3)
    assert found.verdict == "departs"
    assert found.first is not None
    assert (found.first.kind, found.first.step) == ("update", 0)
    assert found.first.layer == "momentum_buffer of stem.0.weight"


@pytest.mark.parametrize(("most", "verdict"), [(0.01, "departs"), (1e6, "same")])
def test_clipping_departs_where_it_bites_and_only_there(most: float, verdict: str) -> None:
    make = regressing(perceptron, make_optimizer=partial(torch.optim.SGD, lr=0.1))
    found = judged(own(clips_before_the_update(most)), make)
    assert found.verdict == verdict
    assert found.first is None or found.first.kind == "gradient"


@pytest.mark.parametrize("name", ["accumulate_2", "accumulate_4", "amp_bf16+accumulate_2", "amp_fp16+accumulate_2"])
def test_batch_normalisation_over_parts_departs_in_any_precision(name: str) -> None:
    assert judged(find_loop(name), workload("resnet"), steps=2).verdict == "departs"


@pytest.mark.parametrize("name", ["checkpoint", "amp_bf16+checkpoint"])
def test_running_statistics_that_are_updated_twice_depart_by_their_name(name: str) -> None:
    found = judged(find_loop(name), workload("resnet"), steps=2)
    assert found.verdict == "departs"
    assert found.first is not None
    assert (found.first.kind, found.first.step) == ("buffer", 0)
    assert found.first.layer == "blocks.0.body.1.running_mean"


def test_a_loss_that_is_lost_departs_at_its_step_and_nothing_is_compared_from_there_on() -> None:
    steps = count()

    def loses(task: Task, inputs: Tensor, targets: Tensor) -> Iterator[str]:
        yield from eager.step(task, inputs, targets)
        assert task.last_loss is not None
        if next(steps) >= 3:
            task.last_loss = task.last_loss * torch.nan

    found = judged(own(loses), make_tiny_task)
    assert found.verdict == "departs"
    assert (found.proof.lost_at_step, found.proof.steps) == (3, 3)


def test_a_loop_that_trains_what_eager_leaves_alone_departs() -> None:
    def unfreezes(task: Task, inputs: Tensor, targets: Tensor) -> Iterator[str]:
        for parameter in task.model.parameters():
            parameter.requires_grad_(True)
        yield from eager.step(task, inputs, targets)

    found = judged(own(unfreezes), regressing(Partly))
    assert found.verdict == "departs"
    assert found.first is not None
    assert found.first.kind == "gradient"


def test_a_loop_that_skips_batches_ends_elsewhere_though_each_step_is_eagers() -> None:
    def skips_every_other_batch(task: Task, inputs: Tensor, targets: Tensor) -> Iterator[str]:
        task.next_batch()
        yield from eager.step(task, inputs, targets)

    found = judged(own(skips_every_other_batch), regressing(perceptron))
    assert found.proof.same_steps == found.proof.steps
    assert found.verdict == "departs"
