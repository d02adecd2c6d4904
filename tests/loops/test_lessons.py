"""Every loop keeps the canonical step's properties. Planted faults, in tests/measure/properties, test each check."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from loopmark.bench.measure.proof.precision import Switches
from loopmark.bench.measure.properties.examination import PROPERTIES, checked
from loopmark.bench.measure.properties.step_trace import WATCHED_STEPS, LoopUnderTest
from loopmark.loops import eager
from loopmark.loops.catalog import TECHNIQUES, find_loop
from loopmark.loops.loop import EAGER, Loop
from loopmark.loops.task import Task
from tests.support.tiny import CPU, losses_of, make_tiny_task, prepared

COMBINATIONS = (
    "accumulate_4",
    "amp_fp16+accumulate_4",
    "amp_fp16+fused_optimizer",
    "amp_bf16+fused_optimizer",
    "channels_last+checkpoint",
    "checkpoint+accumulate_2",
    "amp_bf16+channels_last+checkpoint+foreach_optimizer",
    "compile+compile_optimizer",
    "checkpoint+compile",
    "amp_bf16+compile+accumulate_4",
    "amp_bf16+cuda_graph",
)
LOOPS = ("eager", *TECHNIQUES, *COMBINATIONS)
STEPS = WATCHED_STEPS

TOLERANCE = {"amp_bf16": 0.03, "amp_fp16": 0.01}
"""Relative tolerance of a loss after a few steps; 16 bits keep two to three digits."""
FLOAT32_TOLERANCE = 1e-4


@dataclass
class Examined:
    """One loop with records of its first steps."""

    loop: Loop
    subject: LoopUnderTest
    losses: list[float | None]
    graphs: int
    """The number of graphs that torch.compile made."""


@pytest.fixture(scope="module", params=LOOPS)
def examined(request: pytest.FixtureRequest) -> Iterator[Examined]:
    loop = find_loop(request.param)
    if reason := loop.lacks(CPU):
        pytest.skip(reason)
    torch.compiler.reset()
    counters = torch._dynamo.utils.counters
    counters.clear()
    with Switches.now().restored():  # a loop turns some for its whole process
        subject = LoopUnderTest(lambda seed: make_tiny_task(seed=seed), lambda: loop)
        losses = [trace.loss_value for trace in subject.traces]
        yield Examined(loop, subject, losses, counters["stats"]["unique_graphs"])
    torch.compiler.reset()


@pytest.fixture(scope="module")
def losses_of_eager() -> list[float]:
    return losses_of(*prepared(EAGER, make_tiny_task()), STEPS)


@pytest.mark.parametrize("name", PROPERTIES)
def test_it_keeps_the_property(examined: Examined, name: str) -> None:
    found = checked(examined.subject, PROPERTIES[name]).outcomes
    assert [(outcome.status, outcome.explanation) for outcome in found] == [("holds", "")]


def test_it_trains_like_eager(examined: Examined, losses_of_eager: list[float]) -> None:
    loose = [TOLERANCE[t.name] for t in examined.loop.techniques if t.name in TOLERANCE]
    assert examined.losses == pytest.approx(losses_of_eager, rel=max(loose, default=FLOAT32_TOLERANCE))


def test_a_compiled_loop_is_really_compiled_and_another_is_not(examined: Examined) -> None:
    assert (examined.graphs > 0) == ("compile" in examined.loop.name)


def moves_parameters_in_forward(task: Task, inputs: Tensor, targets: Tensor) -> Iterator[str]:
    with torch.no_grad():
        next(task.model.parameters()).mul_(1.05)
    yield from eager.step(task, inputs, targets)


def steps_twice(task: Task, inputs: Tensor, targets: Tensor) -> Iterator[str]:
    for phase in eager.step(task, inputs, targets):
        if phase == "optimizer":
            task.optimizer.step()
        yield phase


def draws_without_the_seed(task: Task, inputs: Tensor, targets: Tensor) -> Iterator[str]:
    unseeded = torch.Generator()
    unseeded.seed()
    yield from eager.step(task, inputs + torch.randn(inputs.shape, generator=unseeded), targets)


@pytest.mark.parametrize("fault", [steps_twice, moves_parameters_in_forward, draws_without_the_seed])
def test_a_faulty_step_is_seen_not_to_train_like_eager(
    fault: Callable[..., Iterator[str]], losses_of_eager: list[float]
) -> None:
    task, step = prepared(Loop("planted", fault), make_tiny_task())
    assert losses_of(task, step, STEPS) != pytest.approx(losses_of_eager, rel=FLOAT32_TOLERANCE)
