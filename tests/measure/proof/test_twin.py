import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from loopmark.bench.measure.proof.steps import (
    Layers,
    buffers_of,
    changes,
    gradients_of,
    parameters_of,
    slots_of,
    state_of,
)
from loopmark.bench.measure.proof.twin import Twin
from loopmark.loops.catalog import WORKLOADS, find_loop
from loopmark.loops.loop import EAGER
from loopmark.loops.task import Batches, Task
from tests.support.tiny import CPU, drive, make_tiny_task, prepared


def equal(some: Layers, others: Layers) -> bool:
    return some.keys() == others.keys() and all(torch.equal(some[name], others[name]) for name in some)


def decays_matrices_only(parameters: Any, **options: Any) -> torch.optim.Optimizer:
    every = list(parameters)
    groups = [
        {"params": [p for p in every if p.dim() < 2], "weight_decay": 0.0},
        {"params": [p for p in every if p.dim() >= 2]},
    ]
    return torch.optim.AdamW(groups, lr=1e-2, betas=(0.8, 0.9), eps=1e-6, **options)


OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "sgd": partial(torch.optim.SGD, lr=0.1),
    "momentum": partial(torch.optim.SGD, lr=0.1, momentum=0.9, weight_decay=1e-3, nesterov=True),
    "adamw": partial(torch.optim.AdamW, lr=2e-2, betas=(0.7, 0.8), eps=1e-3),
    "amsgrad": partial(torch.optim.Adam, lr=1e-2, amsgrad=True),
    "rmsprop": partial(torch.optim.RMSprop, lr=1e-2, momentum=0.9, centered=True),
    "groups": decays_matrices_only,
    "a tensor's learning rate": lambda p, **options: torch.optim.AdamW(p, lr=torch.tensor(1e-2), **options),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_update_from_any_state_is_the_optimizers_own_to_the_last_bit(name: str) -> None:
    task = make_tiny_task()
    task.make_optimizer = OPTIMIZERS[name]
    twin = Twin(task)
    task, step = prepared(EAGER, task)
    for _ in range(3):
        before = state_of(task)
        drive(task, step)
        updated = twin.update(before, gradients_of(task.model))
        assert equal(updated.parameters, parameters_of(task.model))
        assert equal(updated.slots, slots_of(task.model, task.optimizer))


@pytest.mark.parametrize("workload", ["regression_mlp", "resnet", "gpt"])
def test_a_step_from_any_state_is_eagers_own_to_the_last_bit(workload: str) -> None:
    task = WORKLOADS[workload].make(CPU, "small", None, 0)
    twin = Twin(task)
    task, step = prepared(EAGER, task)
    for _ in range(3):
        before, batch = state_of(task), task.next_batch()
        taken = twin.take(before, batch)
        loss = drive(task, step, batch)
        assert torch.equal(taken.loss, loss)
        assert equal(taken.gradients, gradients_of(task.model))
        assert equal(taken.buffers, buffers_of(task.model))


def test_steps_of_a_twin_leave_the_task_alone() -> None:
    task = WORKLOADS["resnet"].make(CPU, "small", None, 0)
    twin = Twin(task)
    task, step = prepared(EAGER, task)
    batch = task.next_batch()
    drive(task, step, batch)
    kept = copy.deepcopy((task.model.state_dict(), task.optimizer.state_dict()["state"]))
    gradients = gradients_of(task.model)
    twin.take(state_of(task), batch)
    twin.update(state_of(task), gradients)
    assert equal(kept[0], task.model.state_dict())
    assert all(equal(slot, task.optimizer.state_dict()["state"][i]) for i, slot in kept[1].items())
    assert equal(gradients, gradients_of(task.model))


def test_a_state_is_a_copy_that_later_steps_leave_alone() -> None:
    task, step = prepared(EAGER, make_tiny_task())
    drive(task, step)
    before = state_of(task)
    kept = copy.deepcopy(before)
    drive(task, step)
    assert equal(before.layers, kept.layers)
    assert all(
        equal(slot, kept.optimizers["optimizer"][index]) for index, slot in before.optimizers["optimizer"].items()
    )
    assert not equal(before.layers, state_of(task).layers)


def test_a_twin_does_not_remember_the_state_that_it_was_given_before() -> None:
    task, step = prepared(EAGER, WORKLOADS["resnet"].make(CPU, "small", None, 0))
    twin, first, batch = Twin(task), state_of(task), task.next_batch()
    one = twin.take(first, batch)
    drive(task, step)
    twin.take(state_of(task), batch)
    again = twin.take(first, batch)
    assert torch.equal(one.loss, again.loss)
    assert equal(one.gradients, again.gradients)
    assert equal(one.buffers, again.buffers)


def test_the_exact_twin_computes_in_float64_and_eager_is_near_it() -> None:
    task = WORKLOADS["resnet"].make(CPU, "small", None, 0)
    eager, exact = Twin(task), Twin(task, exact=True)
    task, _ = prepared(EAGER, task)
    state, batch = state_of(task), task.next_batch()
    near, truth = eager.take(state, batch), exact.take(state, batch)
    assert truth.loss.dtype == torch.float64
    assert {gradient.dtype for gradient in truth.gradients.values()} == {torch.float64}
    for name, gradient in truth.gradients.items():
        error = float((near.gradients[name].double() - gradient).norm() / gradient.norm())
        assert 0 < error < 1e-3, name
    updated = exact.update(state, near.gradients)
    assert {parameter.dtype for parameter in updated.parameters.values()} == {torch.float64}


def test_tied_weights_are_one_layer_in_the_twin_too() -> None:
    task = WORKLOADS["gpt"].make(CPU, "small", None, 0)
    twin = Twin(task)
    assert twin.model.output.weight is twin.model.bytes.weight
    assert twin.model.output.weight is not task.model.output.weight
    assert "output.weight" not in parameters_of(twin.model)


def test_a_losss_own_tensors_are_copied_with_it() -> None:
    model = nn.Linear(2, 3)
    data, labels = torch.randn(8, 2), torch.randint(0, 3, (8,))
    loss_fn = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 0.5]))
    task = Task(model, loss_fn, torch.optim.SGD, Batches(data, labels, batch_size=8, seed=0))
    exact = Twin(task, exact=True)
    task, _ = prepared(EAGER, task)
    batch = task.next_batch()
    expected = F.cross_entropy(model(batch[0]), batch[1], weight=loss_fn.weight)
    assert float(exact.take(state_of(task), batch).loss) == pytest.approx(float(expected.detach()))
    assert loss_fn.weight.dtype == torch.float32


def test_parameters_that_are_frozen_or_never_used_have_no_gradient_and_do_not_move() -> None:
    class Partly(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.unused = nn.Linear(2, 1), nn.Parameter(torch.ones(3))
            self.used.bias.requires_grad_(False)

        def forward(self, x: Tensor) -> Tensor:
            return self.used(x)

    data = torch.randn(8, 2)
    task = Task(
        Partly(), F.mse_loss, partial(torch.optim.AdamW, lr=0.1), Batches(data, data[:, :1], batch_size=4, seed=0)
    )
    twin = Twin(task)
    task, _ = prepared(EAGER, task)
    state = state_of(task)
    taken = twin.take(state, task.next_batch())
    assert taken.gradients.keys() == {"used.weight"}
    updated = twin.update(state, taken.gradients)
    moved = {name for name, after in updated.parameters.items() if not torch.equal(after, state.layers[name])}
    assert moved == {"used.weight"}


def test_a_nudge_changes_every_setting_of_the_optimizer_and_nothing_else() -> None:
    task = make_tiny_task()
    task.make_optimizer = OPTIMIZERS["adamw"]
    twin = Twin(task)
    task, step = prepared(EAGER, task)
    before = state_of(task)
    drive(task, step)
    seen: list[float] = []

    def nudge(value: float) -> float:
        seen.append(value)
        return value * (2 if value == 2e-2 else 1)

    plain = changes(before.layers, twin.update(before, gradients_of(task.model)).parameters)
    doubled = changes(before.layers, twin.update(before, gradients_of(task.model), nudge).parameters)
    assert {2e-2, 0.7, 0.8, 1e-3, 1e-2} == set(seen)  # learning rate, both betas, epsilon, weight decay by default
    for name, change in plain.items():
        torch.testing.assert_close(doubled[name], 2 * change, rtol=1e-3, atol=1e-8)


def test_a_technique_that_turns_torchs_switches_does_not_turn_them_for_the_twin() -> None:
    task = make_tiny_task()
    twin = Twin(task)
    seen: list[bool] = []
    twin.model.register_forward_pre_hook(lambda *_: seen.append(torch.are_deterministic_algorithms_enabled()))
    task, _ = prepared(find_loop("deterministic"), task)
    twin.take(state_of(task), task.next_batch())
    assert seen == [False]
    assert torch.are_deterministic_algorithms_enabled()
