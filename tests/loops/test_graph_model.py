"""The graphed model on a fake ``make_graphed_callables``, warm-up included."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from loopmark.loops.catalog import WORKLOADS, find_loop
from loopmark.loops.loop import EAGER
from loopmark.loops.task import Task
from loopmark.loops.technique import Skip
from loopmark.loops.user_code import BadSpec
from tests.support.tiny import CPU, drive, losses_of, make_tiny_task, prepared

STEPS = 5


@dataclass
class Captures:
    """The captured sample inputs, and whether autocast's cache was on."""

    samples: list[Tensor] = field(default_factory=list)
    caches: list[bool] = field(default_factory=list)
    replays: int = 0


@pytest.fixture
def captures(monkeypatch: pytest.MonkeyPatch) -> Captures:
    seen = Captures()

    def make(model: nn.Module, args: tuple[Tensor], allow_unused_input: bool) -> nn.Module:
        seen.samples.append(args[0])
        seen.caches.append(torch.is_autocast_cache_enabled())
        forward: Callable[[Any], Any] = model.forward
        for _ in range(3):
            model(*args)

        def replayed(inputs: Any) -> Any:
            if model.training:
                seen.replays += 1
            return forward(inputs)

        model.forward = replayed
        return model

    monkeypatch.setattr(torch.cuda, "make_graphed_callables", make)
    return seen


def resnet() -> Task:
    return WORKLOADS["resnet"].make(CPU, "small", None, 0)


def test_the_first_batch_is_captured_once_and_every_batch_is_replayed(captures: Captures) -> None:
    task, step = prepared(find_loop("graph_model"), make_tiny_task())
    batch = task.next_batch()
    drive(task, step, batch)
    losses_of(task, step, STEPS)
    assert len(captures.samples) == 1
    assert torch.equal(captures.samples[0], batch[0])
    assert captures.samples[0].data_ptr() != batch[0].data_ptr()
    assert captures.replays == 1 + STEPS


@pytest.mark.usefixtures("captures")
def test_capturing_leaves_no_trace_in_running_statistics_and_takes_no_batch() -> None:
    with_graph, without = (prepared(find_loop(name), resnet()) for name in ("graph_model", "eager"))
    assert losses_of(*with_graph, STEPS) == losses_of(*without, STEPS)
    for one, other in zip(with_graph[0].plain_model.buffers(), without[0].plain_model.buffers(), strict=True):
        assert torch.equal(one, other)


def test_quality_before_the_first_step_captures_nothing_and_later_is_measured_of_the_model_itself(
    captures: Captures,
) -> None:
    task, step = prepared(find_loop("graph_model"), resnet())
    other, its_step = prepared(EAGER, resnet())
    assert task.goal is not None
    assert other.goal is not None
    assert task.goal.quality(task.plain_model) == other.goal.quality(other.plain_model)
    assert captures.samples == []
    losses_of(task, step, 2), losses_of(other, its_step, 2)
    replays = captures.replays
    assert task.goal.quality(task.plain_model) == other.goal.quality(other.plain_model)
    assert captures.replays == replays


def test_autocasts_cache_is_off_while_it_captures_and_on_again_afterwards(captures: Captures) -> None:
    losses_of(*prepared(find_loop("amp_bf16+graph_model"), make_tiny_task()), 1)
    assert captures.caches == [False]
    assert torch.is_autocast_cache_enabled()


@pytest.mark.usefixtures("captures")
def test_a_batch_of_another_shape_is_refused_rather_than_spread() -> None:
    task, step = prepared(find_loop("graph_model"), make_tiny_task())
    inputs, targets = task.next_batch()
    drive(task, step, (inputs, targets))
    with pytest.raises(Skip, match=r"one shape; after \(16, 3, 8, 8\) came \(1, 3, 8, 8\).* smaller batch"):
        drive(task, step, (inputs[:1], targets[:1]))


def zeroes(task: Task, inputs: Tensor, targets: Tensor) -> Iterator[str]:
    task.optimizer.zero_grad(set_to_none=False)
    yield "zero_grad"
    loss = task.loss_fn(task.model(inputs), targets)
    yield "forward"
    loss.backward()
    yield "backward"
    task.optimizer.step()
    yield "optimizer"
    task.last_loss = loss.detach()


@pytest.mark.usefixtures("captures")
def test_gradients_that_are_set_to_zero_are_refused_rather_than_counted_twice() -> None:
    task, _ = prepared(find_loop("graph_model"), make_tiny_task())
    drive(task, zeroes)
    with pytest.raises(Skip, match=r"call optimizer.zero_grad\(set_to_none=True\) first in the step"):
        drive(task, zeroes)


@pytest.mark.usefixtures("captures")
def test_a_model_with_hooks_of_its_own_is_skipped_with_the_reason() -> None:
    task, step = prepared(find_loop("graph_model"), make_tiny_task())
    task.model.register_forward_hook(lambda *_: None)
    with pytest.raises(Skip, match="a model without its own hooks"):
        drive(task, step)


@pytest.mark.parametrize("other", ["cuda_graph", "compile", "checkpoint", "accumulate_2"])
def test_it_does_not_go_with_what_would_graph_or_break_the_same_work(other: str) -> None:
    with pytest.raises(BadSpec, match="exclude each other"):
        find_loop(f"graph_model+{other}")
