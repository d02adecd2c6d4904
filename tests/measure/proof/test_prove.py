"""What trains as eager does is not said to depart, and a planted fault is found by its kind, its layer and its step."""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from bench.measure.clock import BadStep
from bench.measure.proof.prove import MOST_STEPS, prove
from loops import amp, eager
from loops.amp import CountingGradScaler
from loops.catalog import WORKLOADS, find_loop
from loops.errors import Skip
from loops.loop import EAGER
from loops.task import Batches, Task
from tests.loops.tiny import CPU, losses_of, make_tiny_task, prepared
from tests.measure.proof.proofs import MakeTask, StepFunction, judged, own, proven


def workload(name: str, seed: int = 0) -> MakeTask:
    return partial(WORKLOADS[name].make, CPU, "small", None, seed)


def regressing(model: Callable[[], nn.Module], seed: int = 0, **differences: Any) -> MakeTask:
    """A task of 10 numbers to 1 (N, 10) to (N, 1), trained by AdamW."""

    def make() -> Task:
        torch.manual_seed(seed)
        inputs = torch.randn(256, 10)
        targets = (2 * inputs[:, :1] - inputs[:, 1:2]).sin() + 0.1 * torch.randn(256, 1)
        usual: dict[str, Any] = {
            "loss_fn": F.mse_loss,
            "make_optimizer": partial(torch.optim.AdamW, lr=1e-2),
            "batches": Batches(inputs, targets, batch_size=32, seed=seed),
        }
        return Task(model(), **{**usual, **differences})

    return make


def perceptron() -> nn.Module:
    return nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 1))


# What trains as eager does.


@pytest.mark.parametrize("name", ["regression", "regression_mlp", "resnet", "gpt"])
def test_eager_is_the_same_to_the_last_bit_and_so_is_a_second_one(name: str) -> None:
    found = judged(EAGER, workload(name))
    assert found.verdict == "same"
    assert found.proof.same_steps == found.proof.steps == 8


UNCHANGED = ("foreach_optimizer", "deterministic", "checkpoint")
ROUNDED = (
    "channels_last", "fused_optimizer", "accumulate_2", "accumulate_4", "channels_last+checkpoint", "amp_bf16",
    "amp_fp16", "amp_fp16+fused_optimizer", "amp_bf16+accumulate_2", "amp_fp16+accumulate_2",
)  # fmt: skip


@pytest.mark.parametrize("name", UNCHANGED)
def test_the_same_kernels_give_the_same_bits(name: str) -> None:
    try:
        assert judged(find_loop(name), make_tiny_task).verdict == "same"
    finally:
        torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("name", ROUNDED)
def test_other_kernels_and_types_round_otherwise_and_no_more(name: str) -> None:
    found = judged(find_loop(name), make_tiny_task)
    assert found.verdict == "within rounding"
    assert found.furthest is not None
    assert found.proof.bits == {"amp_bf16": 8, "amp_fp16": 11}.get(name.split("+")[0], 24)


@pytest.mark.parametrize("name", ["amp_bf16", "fused_optimizer", "accumulate_2"])
def test_tied_weights_are_compared_like_any_others(name: str) -> None:
    assert judged(find_loop(name), workload("gpt"), steps=2).verdict == "within rounding"


@pytest.mark.parametrize("seed", [0, 1, 2, 5, 8])
def test_a_gradient_that_goes_over_a_kink_with_other_kernels_does_not_depart(seed: int) -> None:
    """Of ten seeds, those that in eight steps have an activation so near to a kink."""
    found = judged(find_loop("channels_last"), workload("resnet", seed), seed=seed)
    assert found.verdict == "within rounding", found


@pytest.mark.parametrize("name", ["amp_bf16", "amp_fp16", "amp_bf16+channels_last"])
def test_batch_normalisation_in_sixteen_bits_is_within_rounding(name: str) -> None:
    assert judged(find_loop(name), workload("resnet"), steps=4).verdict == "within rounding"


def test_momentum_that_rounds_otherwise_shows_in_the_step_in_which_it_does() -> None:
    """A fused update may leave eager's parameters and another momentum, which shows in parameters steps later."""
    found = judged(find_loop("fused_optimizer"), workload("resnet", 1), seed=1)
    assert found.verdict == "within rounding"
    assert found.proof.same_steps < found.proof.steps


@pytest.mark.parametrize(("name", "seed"), [("regression_mlp", 42), ("regression_mlp", 51), ("regression", 52)])
@pytest.mark.parametrize("loop", ["amp_bf16", "amp_fp16"])
def test_a_gradient_that_all_but_cancels_in_one_step_does_not_depart_there(name: str, seed: int, loop: str) -> None:
    """Seeds of which a step's bias gradient is so near to zero that rounding is as large; found by trying sixty."""
    assert judged(find_loop(loop), workload(name, seed), seed=seed).verdict == "within rounding"


class Partly(nn.Module):
    """Some parameters are frozen or never used; buffers are whole numbers, and numbers that never change."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(10, 32), nn.Linear(32, 1)
        self.first.bias.requires_grad_(False)
        self.unused = nn.Parameter(torch.ones(3))
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))
        self.register_buffer("mask", torch.ones(10))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.last(torch.relu(self.first(x * self.mask)))


class Insists(nn.Module):
    """On float32, so that no step of it can be taken in float64."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = perceptron()

    def forward(self, x: Tensor) -> Tensor:
        assert x.dtype == torch.float32
        return self.layers(x)


class Attends(nn.Module):
    """The bias of its keys has a gradient of nothing but rounding: it adds the same to every score."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value = nn.Linear(2, 8), nn.Linear(2, 8), nn.Linear(2, 8)
        self.out = nn.Linear(40, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = x.view(-1, 1, 5, 2)
        return self.out(F.scaled_dot_product_attention(self.query(x), self.key(x), self.value(x)).flatten(1))


class Sparse(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(20, 8, sparse=True)
        self.out = nn.Linear(8, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.table(x.mul(5).long().clamp(-9, 9) + 10).mean(1))


class Momentum(torch.optim.Optimizer):
    """An optimizer of a person's own."""

    def __init__(self, parameters: Any, lr: float = 0.01, betas: tuple[float, float] = (0.9, 0.99), eps: float = 1e-8):
        super().__init__(parameters, {"lr": lr, "betas": betas, "eps": eps})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                slot = self.state[parameter]
                if not slot:
                    slot |= {"mean": torch.zeros_like(parameter), "square": torch.zeros_like(parameter), "steps": 0}
                slot["steps"] += 1
                slot["mean"].lerp_(parameter.grad, 1 - group["betas"][0])
                slot["square"].lerp_(parameter.grad.square(), 1 - group["betas"][1])
                parameter.addcdiv_(slot["mean"], slot["square"].sqrt() + group["eps"], value=-group["lr"])


def ragged() -> DataLoader:
    """Its last batch has 2 rows, where the others have 16."""
    inputs = torch.randn(50, 10, generator=torch.Generator().manual_seed(0))
    return DataLoader(TensorDataset(inputs, inputs[:, :1]), batch_size=16)


def noisy() -> nn.Module:
    return nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Dropout(0.5), nn.Linear(32, 1))


def normalised() -> nn.Module:
    return nn.Sequential(nn.Linear(10, 16), nn.BatchNorm1d(16, momentum=None), nn.ReLU(), nn.Linear(16, 1))


DIFFICULT: dict[str, tuple[MakeTask, tuple[str, ...]]] = {
    "dropout": (regressing(noisy), ("amp_bf16", "fused_optimizer", "accumulate_2")),
    "frozen and unused parameters": (regressing(Partly), ("amp_bf16", "fused_optimizer", "accumulate_2")),
    "no float64": (regressing(Insists), ("amp_bf16", "fused_optimizer", "accumulate_2")),
    "a gradient of nothing but rounding": (regressing(Attends), ("amp_bf16", "amp_fp16", "accumulate_2")),
    "a bias before its normalisation": (regressing(normalised, 2), ("amp_bf16", "amp_fp16", "fused_optimizer")),
    "sparse gradients": (
        regressing(Sparse, make_optimizer=partial(torch.optim.SGD, lr=0.1)), ("amp_bf16", "accumulate_2"),
    ),
    "an own optimizer": (regressing(perceptron, make_optimizer=Momentum), ("amp_bf16", "accumulate_2")),
    "a smaller last batch": (regressing(perceptron, batches=ragged()), ("amp_bf16", "accumulate_2", "accumulate_4")),
    "a loss with tensors of its own": (
        regressing(
            lambda: nn.Sequential(nn.Linear(10, 32), nn.Tanh(), nn.Linear(32, 3)),
            loss_fn=nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 0.5])),
            batches=[(torch.randn(32, 10), torch.arange(32) % 3)],
        ),
        ("amp_bf16", "fused_optimizer"),
    ),
    "a rounding recurrence": (
        regressing(lambda: nn.Sequential(nn.Unflatten(1, (5, 2)), Last(), nn.Linear(8, 1))), ("amp_bf16",),
    ),
}  # fmt: skip


class Last(nn.Module):
    """A recurrent layer's last state."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.LSTM(2, 8, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.cell(x)[0][:, -1]


@pytest.mark.parametrize(("case", "name"), [(case, name) for case, (_, names) in DIFFICULT.items() for name in names])
def test_a_model_that_is_hard_to_compare_is_within_rounding_too(case: str, name: str) -> None:
    found = judged(find_loop(name), DIFFICULT[case][0])
    assert found.verdict == "within rounding", found


@pytest.mark.parametrize("case", DIFFICULT)
def test_and_eager_trains_it_the_same_to_the_last_bit(case: str) -> None:
    assert judged(EAGER, DIFFICULT[case][0]).verdict == "same"


def test_dropout_is_told_of_and_the_same_masks_are_drawn_for_eager() -> None:
    seen = proven(EAGER, regressing(noisy))
    assert seen.draws_at_random
    assert seen.same_steps == seen.steps
    assert not proven(EAGER, regressing(perceptron)).draws_at_random


def cast_by_hand(task: Task, inputs: Tensor, targets: Tensor, *, back: bool) -> Iterator[str]:
    task.optimizer.zero_grad(set_to_none=True)
    yield "zero_grad"
    with torch.autocast("cpu", dtype=torch.bfloat16):
        predictions = task.model(inputs)
    yield "forward"
    loss = task.loss_fn(predictions.float() if back else predictions, targets)
    yield "loss"
    loss.backward()
    yield "backward"
    task.optimizer.step()
    yield "optimizer"
    task.last_loss = loss.detach()


@pytest.mark.parametrize("back", [False, True])
@pytest.mark.parametrize("make", [make_tiny_task, regressing(perceptron, loss_fn=nn.MSELoss())])
def test_an_autocast_of_ones_own_is_seen_and_compared_as_such(make: MakeTask, back: bool) -> None:
    found = judged(own(partial(cast_by_hand, back=back)), make)
    assert found.proof.bits == 8
    assert found.verdict == "within rounding"


def test_a_step_may_ask_its_loss_for_more_than_the_loss() -> None:
    def asks(task: Task, inputs: Tensor, targets: Tensor) -> Iterator[str]:
        assert isinstance(task.loss_fn, nn.MSELoss)
        assert task.loss_fn.reduction == "mean"
        yield from eager.step(task, inputs, targets)

    assert judged(own(asks), regressing(perceptron, loss_fn=nn.MSELoss())).verdict == "same"


# What does not.


def changed(change: Callable[[Task], object], after: str, every: int = 1) -> StepFunction:
    """The canonical step with ``change`` made to the task just after a phase, in every so many steps."""
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


def scaled_loss(factor: float, told: bool = True) -> StepFunction:
    def step(task: Task, inputs: Tensor, targets: Tensor) -> Iterator[str]:
        task.optimizer.zero_grad(set_to_none=True)
        yield "zero_grad"
        predictions = task.model(inputs)
        yield "forward"
        loss = task.loss_fn(predictions, targets)
        yield "loss"
        (loss * factor).backward()
        yield "backward"
        task.optimizer.step()
        yield "optimizer"
        task.last_loss = loss.detach() * (factor if told else 1)

    return step


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
    found = judged(own(changed(change(layer), "backward")), workload("resnet"), steps=4)
    assert found.verdict == "departs"
    assert found.first is not None
    assert (found.first.kind, found.first.layer) == ("gradient", layer)


def test_a_gradient_that_is_half_too_large_in_every_other_step_departs_in_the_first_of_them() -> None:
    fault = changed(scales_gradient("stem.1.bias", 1.5), "backward", every=2)
    found = judged(own(fault), workload("resnet"))
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
    assert judged(find_loop(name), workload("resnet"), steps=4).verdict == "departs"


@pytest.mark.parametrize("name", ["checkpoint", "amp_bf16+checkpoint"])
def test_running_statistics_that_are_updated_twice_depart_by_their_name(name: str) -> None:
    found = judged(find_loop(name), workload("resnet"), steps=4)
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


# Skipped steps.


def fp16_from(scale: float) -> StepFunction:
    def step(task: Task, inputs: Tensor, targets: Tensor) -> Iterator[str]:
        if not task.scaler.is_enabled():
            task.scaler = CountingGradScaler(task.device)
            task.scaler._init_scale = scale
            task.autocast = torch.autocast("cpu", dtype=torch.float16)
        yield from amp.step(task, inputs, targets)

    return step


def test_steps_that_a_scaler_skips_until_it_has_found_its_scale_are_counted_and_not_compared() -> None:
    found = judged(own(fp16_from(2.0**32)), make_tiny_task)
    assert found.proof.skipped_steps > 3
    assert found.proof.steps == 8
    assert found.proof.bits == 11
    assert found.verdict == "within rounding"


def test_a_scaler_that_never_finds_its_scale_ends_the_comparison_without_a_verdict() -> None:
    found = judged(own(fp16_from(2.0**100)), make_tiny_task, steps=2)
    assert found.proof.steps == 0
    assert found.proof.skipped_steps == 2 * MOST_STEPS
    assert found.verdict is None
    assert found.why_not == "its gradient scaler skipped every step"


# What is asked of a step, and what is left behind.


@pytest.mark.parametrize("name", ["eager", "amp_fp16+accumulate_2", "channels_last+fused_optimizer"])
def test_a_loop_trains_while_it_is_compared_as_it_does_by_itself(name: str) -> None:
    loop, compared = find_loop(name), make_tiny_task()
    seen = prove(compared, loop, 4, 0)
    alone, step = prepared(loop, make_tiny_task())
    losses_of(alone, step, seen.steps + seen.skipped_steps)
    for one, other in zip(compared.model.parameters(), alone.model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_two_comparisons_of_one_loop_see_the_same_to_the_last_bit() -> None:
    loop = find_loop("channels_last")
    one, two = (proven(loop, make_tiny_task, seed=3) for _ in range(2))
    assert one.sha256 == two.sha256
    assert one.deviations == two.deviations


def test_the_deviations_of_a_step_come_in_the_order_in_which_they_come_about() -> None:
    seen = proven(find_loop("amp_bf16"), workload("resnet"), steps=1)
    kinds = [deviation.kind for deviation in seen.deviations]
    layers = [d.layer for d in seen.deviations if d.kind == "gradient"]
    assert list(dict.fromkeys(kinds)) == ["loss", "gradient", "buffer", "update"]
    assert layers[0] == "classifier.bias"
    assert layers[-1] == "stem.0.weight"


@pytest.mark.parametrize(("phases", "says"), [(["fwd"], "yields 'fwd', which is no phase"), ([], "yields no phase")])
def test_a_step_that_names_no_phase_is_a_bad_step(phases: list[str], says: str) -> None:
    def step(task: Task, inputs: Tensor, targets: Tensor) -> Iterator[str]:
        yield from phases

    with pytest.raises(BadStep, match=says):
        proven(own(step), make_tiny_task)


def test_what_a_loop_raises_is_its_own_and_so_is_a_skip() -> None:
    def raises(task: Task, inputs: Tensor, targets: Tensor) -> Iterator[str]:
        yield "zero_grad"
        raise ZeroDivisionError("its own mistake")

    with pytest.raises(ZeroDivisionError, match="its own mistake"):
        proven(own(raises), make_tiny_task)
    with pytest.raises(Skip, match="channels_last needs a model of images"):
        proven(find_loop("channels_last"), workload("regression"))


def test_an_optimizer_that_leaves_the_given_parameters_for_others_is_no_fault_of_the_loop() -> None:
    def make() -> Task:
        task = make_tiny_task()
        parameters = list(task.model.parameters())
        task.make_optimizer = lambda _, **options: torch.optim.SGD(parameters, lr=0.1, **options)
        return task

    seen = proven(EAGER, make)
    assert seen.why_not is not None
    assert "make_optimizer leaves the parameters that it is given for others" in seen.why_not
    assert seen.deviations == ()


def test_a_step_that_leaves_no_loss_is_compared_by_everything_else() -> None:
    def silent(fault: StepFunction) -> StepFunction:
        def step(task: Task, inputs: Tensor, targets: Tensor) -> Iterator[str]:
            yield from fault(task, inputs, targets)
            task.last_loss = None

        return step

    assert judged(own(silent(eager.step)), make_tiny_task).verdict == "same"
    found = judged(own(silent(scaled_loss(1.001))), make_tiny_task)
    assert found.verdict == "departs"
    assert found.first is not None
    assert found.first.kind == "gradient"


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


def test_a_scaler_of_ones_own_is_unscaled_before_it_is_compared() -> None:
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)

    def scales_by_itself(task: Task, inputs: Tensor, targets: Tensor) -> Iterator[str]:
        task.optimizer.zero_grad(set_to_none=True)
        yield "zero_grad"
        with torch.autocast("cpu", dtype=torch.float16):
            predictions = task.model(inputs)
        yield "forward"
        loss = task.loss_fn(predictions.float(), targets)
        yield "loss"
        scaler.scale(loss).backward()
        yield "backward"
        scaler.step(task.optimizer)
        scaler.update()
        yield "optimizer"
        task.last_loss = loss.detach()

    assert judged(own(scales_by_itself), regressing(perceptron)).verdict == "within rounding"


def test_where_a_model_draws_at_random_a_loop_that_draws_otherwise_gets_no_verdict() -> None:
    def without_dropout(task: Task, inputs: Tensor, targets: Tensor) -> Iterator[str]:
        for module in task.model.modules():
            if isinstance(module, nn.Dropout):
                module.eval()
        yield from eager.step(task, inputs, targets)

    found = judged(own(without_dropout), regressing(noisy))
    assert found.verdict is None
    assert "random numbers" in (found.why_not or "")
