"""The choice of compared steps, the checks on them, and the state left afterwards."""

import re
from collections.abc import Callable, Iterator
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from loopmark.bench.judge.equivalence import LEAST
from loopmark.bench.measure.clock import BadStep
from loopmark.bench.measure.proof.prove import MOST_STEPS, prove
from loopmark.bench.measure.proof.steps import NOTHING, relative
from loopmark.loops import amp, eager
from loopmark.loops.amp import CountingGradScaler
from loopmark.loops.catalog import find_loop
from loopmark.loops.loop import EAGER
from loopmark.loops.task import Task
from loopmark.loops.technique import Skip
from tests.measure.proof.models import noisy, perceptron, regressing, workload
from tests.measure.proof.proofs import StepFunction, judged, own, proven
from tests.measure.proof.steps import scaled_loss
from tests.support.tiny import losses_of, make_tiny_task, prepared


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
    assert found.why_not == "every step skipped: by its gradient scaler"


@pytest.mark.parametrize("name", ["eager", "amp_fp16+accumulate_2", "channels_last+fused_optimizer"])
def test_a_loop_trains_while_it_is_compared_as_it_does_by_itself(name: str) -> None:
    loop, compared = find_loop(name), make_tiny_task()
    seen = prove(compared, loop, 4, 0)
    alone, step = prepared(loop, make_tiny_task())
    losses_of(alone, step, seen.steps + seen.skipped_steps)
    for one, other in zip(compared.model.parameters(), alone.model.parameters(), strict=True):
        assert torch.equal(one, other)


class Slow:
    """A clock that advances ``seconds`` at every reading."""

    def __init__(self, seconds: float) -> None:
        self._seconds, self._now = seconds, 0.0

    def __call__(self) -> float:
        self._now += self._seconds
        return self._now


@pytest.mark.parametrize(("seconds", "compared"), [(1000.0, 2), (0.75, 5), (0.001, 8)])
def test_steps_that_take_long_are_fewer_and_at_least_two(seconds: float, compared: int) -> None:
    seen = prove(make_tiny_task(), find_loop("amp_bf16"), 8, 0, Slow(seconds))
    assert seen.steps == compared
    assert {d.step for d in seen.deviations} == set(range(compared))
    assert seen.sha256 == prove(make_tiny_task(), find_loop("amp_bf16"), 8, 0, Slow(0.0)).sha256


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


@pytest.mark.parametrize(("phases", "says"), [(["a\nb"], "which is no phase"), ([], "yields no phase")])
def test_a_step_that_names_no_phase_is_a_bad_step(phases: list[str], says: str) -> None:
    def step(task: Task, inputs: Tensor, targets: Tensor) -> Iterator[str]:
        yield from phases

    with pytest.raises(BadStep, match=says):
        proven(own(step), make_tiny_task)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda task: setattr(task, "last_loss", torch.ones(3)), r"leaves a loss of shape \(3,\)"),
        (
            lambda task: task.model.add_module("late", nn.Linear(1, 1)),
            "adds or removes parameters of the model: late.bias",
        ),
    ],
)
def test_a_step_that_spoils_what_is_to_be_compared_is_a_bad_step(spoil: Callable[[Task], None], says: str) -> None:
    def step(task: Task, inputs: Tensor, targets: Tensor) -> Iterator[str]:
        yield from eager.step(task, inputs, targets)
        spoil(task)

    with pytest.raises(BadStep, match=says):
        proven(own(step), make_tiny_task)


def test_a_loss_that_is_left_as_a_plain_number_is_compared_too() -> None:
    def step(task: Task, inputs: Tensor, targets: Tensor) -> Iterator[str]:
        yield from eager.step(task, inputs, targets)
        task.last_loss = float(task.last_loss)  # type: ignore[arg-type, assignment]

    assert judged(own(step), make_tiny_task).verdict == "same"


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
    assert "make_optimizer trains parameters that are not the model's" in seen.why_not
    assert seen.deviations == ()


def test_a_gradient_that_is_zero_but_for_rounding_is_measured_against_all() -> None:
    exact = {"weight": torch.ones(4, dtype=torch.float64), "bias": torch.full((1,), 1e-17, dtype=torch.float64)}

    def error(bias: float) -> float:
        return relative("gradient", {**exact, "bias": torch.tensor([bias])}, exact, NOTHING)["gradient", "bias"]

    assert error(1e-6) < LEAST < error(1e-4)
    assert relative("update", {"bias": torch.tensor([1e-6])}, {"bias": exact["bias"]})["update", "bias"] > 1


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
    assert found.why_not_briefly == "random numbers"


class Drops(nn.Linear):
    """Dropout in its code, which no setting of a module shows."""

    def forward(self, input: Tensor) -> Tensor:
        return nn.functional.dropout(super().forward(input), 0.5, training=True)


@pytest.mark.parametrize(("model", "draws"), [(partial(Drops, 10, 1), True), (perceptron, False)])
def test_compiled_code_leaves_the_drawing_to_eagers_kernels_where_the_step_draws(
    model: Callable[[], nn.Module], draws: bool
) -> None:
    seen = set[bool]()

    def notes(task: Task, inputs: Tensor, targets: Tensor) -> Iterator[str]:
        seen.add(torch._inductor.config.fallback_random)
        yield from eager.step(task, inputs, targets)

    assert judged(own(notes), regressing(model), steps=2).verdict == "same"
    assert seen == {draws}


class Uncopied(nn.Linear):
    def __deepcopy__(self, memo: object) -> "Uncopied":
        raise TypeError("it holds a file")


@pytest.mark.parametrize(
    ("again", "why"),
    [
        (None, "model not copied: .*it holds a file$"),
        (lambda made: made, "model not copied: .*gives the same model each time"),
        (lambda made: 1 / 0, "model not copied: .*nor can it be made again: .*ZeroDivisionError"),
    ],
)
def test_a_model_that_can_neither_be_copied_nor_made_again_is_trained_without_a_proof(
    again: Callable[[Task], Task] | None, why: str
) -> None:
    task = regressing(partial(Uncopied, 10, 1))()
    seen = prove(task, EAGER, 2, 0, make_task=None if again is None else lambda: again(task))
    assert re.search(why, seen.why_not or "")
    assert seen.steps == 0
