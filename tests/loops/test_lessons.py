"""Every loop keeps what the canonical step teaches; planted faults prove that each check can fail."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from loops import eager
from loops.catalog import TECHNIQUES, find_loop
from loops.loop import EAGER, Loop
from loops.phases import PHASES
from loops.task import Task
from loops.technique import Step
from tests.loops.lessons import (
    autocast_is_on_in_the_driver,
    gradients_leak,
    losses_by_seed,
    phases_that_move_parameters,
    updates_in_one_step,
)
from tests.loops.tiny import CPU, drive, losses_of, make_tiny_task, prepared

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
STEPS = 5

TOLERANCE = {"amp_bf16": 0.03, "amp_fp16": 0.01}
"""Relative, of a loss after a few steps; 16 bits keep two to three digits."""
FLOAT32_TOLERANCE = 1e-4


@dataclass
class Trial:
    """One loop that has taken its first steps."""

    loop: Loop
    task: Task
    step: Step
    losses: list[float]
    graphs: int
    """Graphs that torch.compile made of it."""


@pytest.fixture(scope="module", params=LOOPS)
def trial(request: pytest.FixtureRequest) -> Iterator[Trial]:
    loop = find_loop(request.param)
    if reason := loop.lacks(CPU):
        pytest.skip(reason)
    torch.compiler.reset()
    counters = torch._dynamo.utils.counters
    counters.clear()
    task, step = prepared(loop, make_tiny_task())
    losses = losses_of(task, step, STEPS)
    yield Trial(loop, task, step, losses, counters["stats"]["unique_graphs"])
    torch.compiler.reset()


@pytest.fixture(scope="module")
def losses_of_eager() -> list[float]:
    return losses_of(*prepared(EAGER, make_tiny_task()), STEPS)


def test_gradients_do_not_leak_from_one_step_into_the_next(trial: Trial) -> None:
    assert not gradients_leak(trial.task, trial.step)


def test_only_the_optimizer_phase_moves_parameters(trial: Trial) -> None:
    assert phases_that_move_parameters(trial.task, trial.step) == ["optimizer"]


def test_one_step_is_one_update(trial: Trial) -> None:
    assert updates_in_one_step(trial.task, trial.step) == 1


def test_the_same_seed_gives_the_same_losses_bit_for_bit_and_another_seed_others(trial: Trial) -> None:
    again, other = losses_by_seed(lambda seed: make_tiny_task(seed=seed), trial.loop, (0, 1), STEPS)
    assert again == trial.losses
    assert other != trial.losses


def test_it_trains_like_eager(trial: Trial, losses_of_eager: list[float]) -> None:
    loose = [TOLERANCE[t.name] for t in trial.loop.techniques if t.name in TOLERANCE]
    assert trial.losses == pytest.approx(losses_of_eager, rel=max(loose, default=FLOAT32_TOLERANCE))


def test_autocast_is_off_in_the_driver(trial: Trial) -> None:
    assert not autocast_is_on_in_the_driver(trial.task, trial.step)


def test_it_yields_phases_that_exist_in_their_order(trial: Trial) -> None:
    phases = list(trial.step(trial.task, *trial.task.next_batch()))
    assert tuple(dict.fromkeys(phases)) == PHASES[1:]


def test_a_loss_leaves_no_graph_behind(trial: Trial) -> None:
    assert not drive(trial.task, trial.step).requires_grad


def test_a_compiled_loop_is_really_compiled_and_another_is_not(trial: Trial) -> None:
    assert (trial.graphs > 0) == ("compile" in trial.loop.name)


def forgets_zero_grad(task: Task, inputs: Tensor, targets: Tensor) -> Iterator[str]:
    loss = task.loss_fn(task.model(inputs), targets)
    loss.backward()
    yield "backward"
    task.optimizer.step()
    yield "optimizer"
    task.last_loss = loss.detach()


def moves_parameters_in_forward(task: Task, inputs: Tensor, targets: Tensor) -> Iterator[str]:
    with torch.no_grad():
        next(task.model.parameters()).mul_(1.05)
    yield from eager.step(task, inputs, targets)


def moves_parameters_after_the_last_yield(task: Task, inputs: Tensor, targets: Tensor) -> Iterator[str]:
    yield from eager.step(task, inputs, targets)
    task.optimizer.step()


def steps_twice(task: Task, inputs: Tensor, targets: Tensor) -> Iterator[str]:
    for phase in eager.step(task, inputs, targets):
        if phase == "optimizer":
            task.optimizer.step()
        yield phase


def draws_without_the_seed(task: Task, inputs: Tensor, targets: Tensor) -> Iterator[str]:
    unseeded = torch.Generator()
    unseeded.seed()
    yield from eager.step(task, inputs + torch.randn(inputs.shape, generator=unseeded), targets)


def leaves_autocast_on(task: Task, inputs: Tensor, targets: Tensor) -> Iterator[str]:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        yield from eager.step(task, inputs, targets)


def planted(step: Step) -> tuple[Task, Step]:
    task, own = prepared(Loop("planted", step), make_tiny_task())
    drive(task, own)
    return task, step


def test_a_step_that_forgets_zero_grad_is_seen_to_leak() -> None:
    assert gradients_leak(*planted(forgets_zero_grad))


@pytest.mark.parametrize(
    ("step", "moved"),
    [
        (moves_parameters_in_forward, ["zero_grad", "optimizer"]),
        (moves_parameters_after_the_last_yield, ["optimizer", ""]),
    ],
)
def test_a_step_that_moves_parameters_outside_the_optimizer_phase_is_seen(step: Step, moved: list[str]) -> None:
    assert phases_that_move_parameters(*planted(step)) == moved


def test_a_step_that_steps_twice_is_seen_to_update_twice() -> None:
    assert updates_in_one_step(*planted(steps_twice)) == 2


def test_a_step_that_draws_without_the_seed_is_seen_to_differ() -> None:
    first, second = losses_by_seed(
        lambda seed: make_tiny_task(seed=seed), Loop("planted", draws_without_the_seed), (0, 0)
    )
    assert first != second


def test_a_task_that_ignores_its_seed_is_seen_to_repeat_itself() -> None:
    def deaf(_: int) -> Task:
        return make_tiny_task(seed=7)

    first, second = losses_by_seed(deaf, EAGER, (0, 1))
    assert first == second


def test_a_step_that_leaves_autocast_on_is_seen() -> None:
    assert autocast_is_on_in_the_driver(*planted(leaves_autocast_on))


@pytest.mark.parametrize("fault", [steps_twice, moves_parameters_in_forward, draws_without_the_seed])
def test_a_faulty_step_is_seen_not_to_train_like_eager(
    fault: Callable[..., Iterator[str]], losses_of_eager: list[float]
) -> None:
    task, step = prepared(Loop("planted", fault), make_tiny_task())
    assert losses_of(task, step, STEPS) != pytest.approx(losses_of_eager, rel=FLOAT32_TOLERANCE)
