"""The causes of a departure: each is found on the numbers of a step that has it, and on no other."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from loopmark.loops import eager
from loopmark.loops.catalog import find_loop
from loopmark.loops.loop import Loop
from loopmark.loops.task import Task
from loopmark.loops.technique import Technique
from tests.measure.proof.models import noisy, perceptron, regressing, workload
from tests.measure.proof.proofs import MakeTask, judged, own
from tests.measure.proof.steps import scaled_loss
from tests.support.tiny import make_tiny_task

SGD = regressing(perceptron, make_optimizer=partial(torch.optim.SGD, lr=0.1))
HERE = "test_causes.py"


def causes(loop: Loop, make: MakeTask, **options: Any) -> str:
    found = judged(loop, make, 3, **options)
    assert found.verdict == "departs"
    return "; ".join(found.proof.causes)


def changed(change: Callable[[Task], object], phase: str = "backward") -> Callable[..., Iterator[str]]:
    """Eager's step with ``change`` after ``phase``."""

    def step(task: Task, inputs: Tensor, targets: Tensor) -> Iterator[str]:
        for name in eager.step(task, inputs, targets):
            if name == phase:
                change(task)
            yield name

    return step


def clip(task: Task) -> None:
    nn.utils.clip_grad_norm_(task.model.parameters(), 0.01)


def clip_each(task: Task) -> None:
    for parameter in task.model.parameters():
        assert parameter.grad is not None
        parameter.grad.data.clamp_(-1e-3, 1e-3)


def test_the_line_that_clips_is_named_with_its_factor() -> None:
    said = causes(own(changed(clip)), SGD)
    assert said.startswith("its gradients are eager's until ")
    assert f"{HERE}:{clip.__code__.co_firstlineno + 1} `nn.utils.clip_grad_norm_" in said
    assert " scales them by 0.0" in said


def test_a_line_that_changes_each_gradient_is_named_without_a_factor() -> None:
    said = causes(own(changed(clip_each)), SGD)
    assert said.endswith(
        f"{HERE}:{clip_each.__code__.co_firstlineno + 3} `parameter.grad.data.clamp_(-1e-3, 1e-3)` changes them"
    )


def test_clipping_with_dropout_departs_since_undoing_it_shows_the_same_random_numbers() -> None:
    assert " scales them by 0.0" in causes(own(changed(clip)), regressing(noisy))


def scales_by_itself(clips: Callable[[Task], object]) -> Callable[..., Iterator[str]]:
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)

    def step(task: Task, inputs: Tensor, targets: Tensor) -> Iterator[str]:
        task.optimizer.zero_grad(set_to_none=True)
        loss = task.loss_fn(task.model(inputs), targets)
        scaler.scale(loss).backward()
        yield "backward"
        clips(task)
        scaler.step(task.optimizer)
        scaler.update()
        yield "optimizer"
        task.last_loss = loss.detach()

    return step


def test_clipping_before_unscaling_is_told_with_the_scale() -> None:
    said = causes(own(scales_by_itself(clip)), SGD)
    assert f"{HERE}:{clip.__code__.co_firstlineno + 1} " in said
    assert said.endswith(" before they are unscaled by 1,024")


def test_gradients_that_leave_the_backward_pass_scaled_are_told_with_their_factor() -> None:
    assert causes(own(scaled_loss(0.5)), SGD) == "its gradients are eager's times 0.5"


def tagging(parts: tuple[int, ...]) -> Task:
    """Classes of words, of which ``parts`` count in each half of the batch."""
    torch.manual_seed(0)
    inputs, targets = torch.randn(8, 12, 5), torch.randint(0, 3, (8, 12))
    for half, counted in zip(targets.split(4), parts, strict=True):
        half.view(-1)[counted:] = -100
    loss = lambda scores, targets: F.cross_entropy(scores.flatten(0, 1), targets.flatten())  # noqa: E731
    return Task(nn.Linear(5, 3), loss, partial(torch.optim.SGD, lr=0.1), [(inputs, targets)])


def test_parts_with_unequal_targets_are_told_with_their_counts() -> None:
    said = causes(find_loop("accumulate_2"), partial(tagging, (37, 11)))
    assert said.startswith("each part's loss is a mean over its own targets (37 and 11): weighted by them, ")
    assert judged(find_loop("accumulate_2"), partial(tagging, (20, 20)), 3).verdict == "within rounding"


def test_parts_that_no_cross_entropy_counts_are_told_with_their_weights() -> None:
    def masked(predictions: Tensor, targets: Tensor) -> Tensor:
        mask = targets > 0
        return ((predictions - targets) ** 2 * mask).sum() / mask.sum()

    batch = (
        torch.randn(16, 10),
        torch.arange(16.0)[:, None] - 2,
    )  # 5 of the first eight targets count, and 8 of the others
    make = regressing(perceptron, loss_fn=masked, batches=[batch], make_optimizer=partial(torch.optim.SGD, lr=1e-3))
    assert (
        causes(find_loop("accumulate_2"), make) == "with its parts weighted by 0.77 and 1.2, its gradients are eager's"
    )


def test_batch_normalisation_over_parts_is_told() -> None:
    said = causes(find_loop("accumulate_2"), workload("resnet"))
    assert said == "by batch norm's running statistics its gradients are eager's; it normalises 2 parts apart"


def test_running_statistics_that_are_updated_twice_are_told() -> None:
    assert (
        causes(find_loop("checkpoint"), workload("resnet"))
        == "batch norm's running statistics are updated twice a step"
    )


def raise_rate(task: Task) -> None:
    task.optimizer.param_groups[0]["lr"] = 0.02


def shrink(task: Task) -> None:
    with torch.no_grad():
        for parameter in task.model.parameters():
            parameter.mul_(0.9)


def test_another_learning_rate_is_told_with_its_line() -> None:
    said = causes(own(changed(raise_rate)), make_tiny_task)
    assert said.startswith("its update has lr 0.02 (eager's 0.01)")


def test_a_line_that_changes_the_parameters_after_the_update_is_named() -> None:
    said = causes(own(changed(shrink, "optimizer")), make_tiny_task)
    assert said.endswith(f"{HERE}:{shrink.__code__.co_firstlineno + 3} `parameter.mul_(0.9)` changes the parameters")


def test_a_second_update_is_told() -> None:
    said = causes(own(changed(lambda task: task.optimizer.step(), "optimizer")), make_tiny_task)
    assert said == "its update is eager's until its optimizer steps again"


class Average:
    """As people have it: the weights are averaged by their names, made before the model is compiled."""

    def __init__(self, model: nn.Module) -> None:
        self.shadow = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}

    def update(self, model: nn.Module) -> None:
        for name, parameter in model.named_parameters():
            if name in self.shadow:
                self.shadow[name].lerp_(parameter.detach(), 0.1)


def averaging(task: Any, inputs: Tensor, targets: Tensor) -> Iterator[str]:
    yield from eager.step(task, inputs, targets)
    task.average.update(task.model)


def averaged() -> Task:
    task = make_tiny_task()
    vars(task)["average"] = Average(task.model)
    return task


class Wrapper(nn.Module):
    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, inputs: Tensor) -> Tensor:
        return self.module(inputs)


def test_an_average_that_a_wrappers_prefix_keeps_still_departs_and_the_prefix_is_told() -> None:
    wraps = Technique("wraps", "", rank=1, prepare=lambda task: setattr(task, "model", Wrapper(task.model)))
    base = Loop("base", averaging)
    assert judged(base, averaged, 3, base=base).verdict == "same"
    found = judged(Loop("wrapped", averaging, (wraps,)), averaged, 3, base=base)
    assert found.verdict == "departs"
    assert found.first is not None
    assert (found.first.kind, found.first.layer) == ("kept", "average.shadow.blocks.0.0.weight")
    prefixed = "moves only if the names of the model's parameters have no prefix `module.`"
    assert found.proof.causes == (f"average.shadow.blocks.0.0.weight {prefixed}",)


def test_where_no_cause_makes_the_step_eagers_none_is_told() -> None:
    def other_data(task: Task, inputs: Tensor, targets: Tensor) -> Iterator[str]:
        yield from eager.step(task, inputs + 0.3 * torch.randn_like(inputs), targets)

    assert causes(own(other_data), SGD) == ""
