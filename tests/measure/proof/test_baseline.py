"""The proof against a step of the user's own: schedules, clipping, averages, closures, several optimizers."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from loopmark.bench.judge.equivalence import Equivalence
from loopmark.loops.catalog import TECHNIQUES
from loopmark.loops.loop import EAGER, Loop, of_function
from loopmark.loops.task import Batches, Task
from tests.measure.proof import proofs
from tests.support.tiny import make_tiny_task


def clipped(task: Any, inputs: Tensor, targets: Tensor, limit: float = 0.5) -> Iterator[str]:
    """As people have it: a schedule that warms up, clipping, and a moving average, all kept on the task."""
    if not hasattr(task, "schedule"):
        task.schedule = torch.optim.lr_scheduler.OneCycleLR(task.optimizer, max_lr=1e-2, total_steps=100)
        task.average = [p.detach().clone() for p in task.model.parameters()]
    task.optimizer.zero_grad(set_to_none=True)
    yield "zero_grad"
    with task.autocast:
        predictions = task.model(inputs)
    yield "forward"
    with task.autocast:
        loss = task.loss_fn(predictions, targets)
    yield "loss"
    loss.backward()
    yield "backward"
    nn.utils.clip_grad_norm_(task.model.parameters(), limit)
    yield "clip"
    task.optimizer.step()
    task.schedule.step()
    for mean, parameter in zip(task.average, task.model.parameters(), strict=True):
        mean.lerp_(parameter.detach(), 0.01)
    yield "optimizer"
    task.last_loss = loss.detach()


def with_closure(task: Any, inputs: Tensor, targets: Tensor) -> Tensor:
    def closure() -> Tensor:
        task.optimizer.zero_grad()
        loss = task.loss_fn(task.model(inputs), targets)
        loss.backward()
        return loss

    return task.optimizer.step(closure)


def two_updates(task: Any, inputs: Tensor, targets: Tensor) -> Tensor:
    """As a GAN or SAM: two passes and two updates in a step."""
    for name in task.optimizers:
        task.optimizer.zero_grad()
        loss = task.loss_fn(task.model(inputs), targets)
        loss.backward()
        task.optimizers[name].step()
    return loss


def perceptron(make_optimizer: Callable[..., Any], **options: Any) -> Task:
    torch.manual_seed(0)
    inputs = torch.randn(64, 8)
    model = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 1))
    batches = Batches(inputs, inputs.sin().sum(1, keepdim=True), batch_size=16, seed=0)
    return Task(model, F.mse_loss, make_optimizer, batches, **options)


LBFGS = partial(torch.optim.LBFGS, max_iter=3)


def in_two(model: nn.Sequential, **options: Any) -> dict[str, torch.optim.Optimizer]:
    return {
        "first": torch.optim.AdamW(model[0].parameters(), lr=1e-2, **options),
        "last": torch.optim.AdamW(model[2].parameters(), lr=1e-3, **options),
    }


def judged(step: Any, techniques: str, base: Any, make_task: Callable[[], Task]) -> Equivalence:
    named = [TECHNIQUES[name] for name in techniques.split("+") if name]
    found = proofs.judged(Loop("loop", step, tuple(named)), make_task, 6, base=Loop("base", base))
    assert found.why_not is None
    return found


@pytest.mark.parametrize(
    ("techniques", "verdict"),
    [("", "same"), ("fused_optimizer", "within rounding"), ("amp_bf16", "within rounding"), ("deterministic", "same")],
)
def test_a_step_that_clips_and_schedules_trains_as_itself_with_any_technique(techniques: str, verdict: str) -> None:
    assert judged(clipped, techniques, clipped, make_tiny_task).verdict == verdict


def test_another_limit_of_clipping_departs_from_the_step() -> None:
    found = judged(partial(clipped, limit=0.05), "", clipped, make_tiny_task)
    assert found.verdict == "departs"
    assert found.first is not None
    assert found.first.kind == "gradient"


def test_another_learning_rate_departs_from_the_step_in_the_update_only() -> None:
    def doubled(task: Any, inputs: Tensor, targets: Tensor) -> Iterator[str]:
        for phase in clipped(task, inputs, targets):
            if phase == "clip":
                task.optimizer.param_groups[0]["lr"] *= 2
            yield phase

    found = judged(doubled, "", clipped, make_tiny_task)
    assert found.verdict == "departs"
    assert found.first is not None
    assert found.first.kind == "update"


def test_eager_departs_from_a_step_that_clips() -> None:
    assert judged(EAGER.base, "", clipped, make_tiny_task).verdict == "departs"


CLOSURE, TWICE = of_function(with_closure), of_function(two_updates)


def test_a_closure_is_compared_by_the_whole_step() -> None:
    assert judged(CLOSURE, "", CLOSURE, lambda: perceptron(LBFGS)).verdict == "same"

    def other(task: Any, inputs: Tensor, targets: Tensor) -> Tensor:
        return with_closure(task, inputs, targets * 1.001)

    assert judged(of_function(other), "", CLOSURE, lambda: perceptron(LBFGS)).verdict == "departs"


def test_against_eager_a_closure_has_no_proof_by_the_optimizers_own_need() -> None:
    seen = proofs.proven(Loop("own", CLOSURE), lambda: perceptron(LBFGS), 2, 0)
    assert seen.why_not == "eager cannot run: LBFGS needs a closure, which the canonical step does not pass"


def test_several_updates_in_a_step_are_compared_by_the_whole_step() -> None:
    assert judged(TWICE, "", TWICE, lambda: perceptron(in_two)).verdict == "same"
    assert judged(TWICE, "fused_optimizer", TWICE, lambda: perceptron(in_two)).verdict == "within rounding"


def test_a_function_that_clears_the_gradients_while_it_makes_the_optimizer_is_no_departure() -> None:
    def clearing(model: nn.Sequential) -> torch.optim.Optimizer:
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
        optimizer.zero_grad()
        return optimizer

    assert judged(EAGER.base, "", EAGER.base, lambda: perceptron(clearing)).verdict == "same"


def test_several_optimizers_of_the_canonical_step_are_proved() -> None:
    assert judged(EAGER.base, "", EAGER.base, lambda: perceptron(in_two)).verdict == "same"
    assert judged(EAGER.base, "fused_optimizer", EAGER.base, lambda: perceptron(in_two)).verdict == "within rounding"


def test_the_tasks_schedule_belongs_to_the_canonical_step() -> None:
    def scheduled() -> Task:
        return perceptron(
            partial(torch.optim.AdamW, lr=1e-2),
            make_scheduler=lambda optimizer: torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5),
        )

    assert judged(EAGER.base, "", EAGER.base, scheduled).verdict == "same"
    assert judged(EAGER.base, "fused_optimizer", EAGER.base, scheduled).verdict == "within rounding"


def test_a_step_of_ones_own_moves_the_tasks_schedule_and_average_once_a_step() -> None:
    def scheduled() -> Task:
        task = perceptron(
            partial(torch.optim.AdamW, lr=1e-2),
            make_scheduler=lambda optimizer: torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5),
        )
        vars(task)["rates"] = [1.0]
        return task

    def shrinking(task: Any, inputs: Tensor, targets: Tensor) -> Tensor:
        loss = task.loss_fn(task.model(inputs), targets) * task.rates[0]
        task.optimizer.zero_grad()
        loss.backward()
        task.optimizer.step()
        task.rates[0] *= 0.9
        return loss

    step = of_function(shrinking)
    assert judged(step, "", step, scheduled).verdict == "same"
    assert judged(step, "fused_optimizer", step, scheduled).verdict == "within rounding"


def test_a_schedule_that_warms_up_from_zero_begins_below_the_optimizers_rate() -> None:
    def warmed() -> Task:
        return perceptron(
            partial(torch.optim.AdamW, lr=1e-2),
            make_scheduler=lambda optimizer: torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: step / 100),
        )

    assert judged(EAGER.base, "", EAGER.base, warmed).verdict == "same"
    assert judged(EAGER.base, "fused_optimizer", EAGER.base, warmed).verdict == "within rounding"


def test_a_model_that_cannot_be_copied_is_made_again() -> None:
    def normed() -> Task:
        torch.manual_seed(0)
        model = nn.utils.weight_norm(nn.Linear(4, 2))
        model(torch.ones(1, 4))  # its weight is now the result of a computation, which cannot be copied
        inputs = torch.randn(16, 4)
        return Task(model, F.mse_loss, partial(torch.optim.SGD, lr=0.1), [(inputs, inputs[:, :2])])

    assert judged(EAGER.base, "", EAGER.base, normed).verdict == "same"


def test_batches_of_mappings_are_proved() -> None:
    class Scored(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 2)

        def forward(self, values: Tensor, labels: Tensor) -> dict[str, Tensor]:
            return {"loss": F.cross_entropy(self.layer(values), labels)}

    def scored() -> Task:
        torch.manual_seed(0)
        batch = {"values": torch.randn(8, 4), "labels": torch.arange(8) % 2}
        return Task(Scored(), None, partial(torch.optim.AdamW, lr=0.1), [batch])

    assert judged(EAGER.base, "", EAGER.base, scored).verdict == "same"
    assert judged(TECHNIQUES["amp_bf16"].step, "amp_bf16", EAGER.base, scored).verdict == "within rounding"
