import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from loopmark.loops.goal import ROWS_AT_ONCE, Goal, accuracy, bits_per_byte, r_squared
from loopmark.loops.user_code import BadSpec
from loopmark.loops.workloads.gpt import GPT, SMALL, next_byte_loss, text_windows


class Given(nn.Module):
    """Predicts its input, and records each call's rows and modes."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.rows: list[int] = []
        self.modes: set[tuple[bool, bool]] = set()

    def forward(self, x: Tensor) -> Tensor:
        self.rows.append(len(x))
        self.modes.add((self.training, torch.is_grad_enabled()))
        return x * self.weight


LOGITS = torch.tensor([[2.0, 1.0, 0.0], [0.0, 2.0, 1.0], [0.0, 1.0, 2.0], [2.0, 1.0, 0.0]])


@pytest.mark.parametrize(("labels", "share"), [([0, 1, 2, 0], 1.0), ([0, 1, 2, 1], 0.75), ([1, 0, 0, 2], 0.0)])
def test_accuracy_is_the_share_of_highest_logits_at_the_label(labels: list[int], share: float) -> None:
    assert accuracy(LOGITS, torch.tensor(labels), 0.9).quality(Given()) == share


def test_r_squared_is_one_for_the_truth_zero_for_the_mean_and_below_for_worse() -> None:
    values = torch.tensor([[1.0], [2.0], [6.0]])
    for predictions, quality in [(values, 1.0), (torch.full((3, 1), 3.0), 0.0), (-values, 1 - 4 * 41 / 14)]:
        assert r_squared(predictions, values, 0.5).quality(Given()) == pytest.approx(quality)


def test_r_squared_is_scikit_learns() -> None:
    from sklearn.metrics import r2_score

    torch.manual_seed(0)
    predictions, values = torch.randn(ROWS_AT_ONCE + 44, 1), torch.randn(ROWS_AT_ONCE + 44, 1)
    expected = r2_score(values.numpy(), predictions.numpy())
    assert r_squared(predictions, values, 0.5).quality(Given()) == pytest.approx(expected)


def test_a_model_that_knows_nothing_needs_eight_bits_a_byte_and_less_is_better() -> None:
    following = torch.randint(0, 256, (5, 7))
    goal = bits_per_byte(torch.zeros(5, 7, 256), following, 3.8)
    assert goal.quality(Given()) == pytest.approx(8.0)
    assert not goal.higher_is_better


def test_bits_per_byte_are_the_loss_in_bits_over_all_rows_at_once() -> None:
    torch.manual_seed(0)
    model = GPT(SMALL)
    inputs, following = (part[:130] for part in text_windows(SMALL.context))  # 130: the last part is smaller
    with torch.no_grad():
        expected = float(next_byte_loss(model(inputs), following)) / math.log(2)
    assert bits_per_byte(inputs, following, 3.8).quality(model) == pytest.approx(expected, rel=1e-6)


def test_every_held_out_row_counts_once_however_many_are_taken_at_a_time() -> None:
    model = Given()
    labels = torch.cat([torch.zeros(ROWS_AT_ONCE, dtype=torch.int64), torch.ones(10, dtype=torch.int64)])
    assert accuracy(torch.eye(3)[labels], 1 - labels, 0.9).quality(model) == 0
    assert model.rows == [ROWS_AT_ONCE, 10]


@pytest.mark.parametrize("training", [True, False])
def test_quality_is_measured_in_evaluation_mode_without_gradients_and_the_mode_is_put_back(training: bool) -> None:
    model = Given().train(training)
    accuracy(LOGITS, torch.zeros(4, dtype=torch.int64), 0.9).quality(model)
    assert model.modes == {(False, False)}
    assert model.training is training
    assert torch.is_grad_enabled()


def test_a_part_that_is_kept_in_evaluation_mode_while_the_others_train_stays_there() -> None:
    model = nn.Sequential(nn.BatchNorm1d(3), nn.Dropout(0.5))
    model[0].eval()
    accuracy(LOGITS, torch.zeros(4, dtype=torch.int64), 0.9).quality(model)
    assert [module.training for module in model.modules()] == [True, False, True]


def test_measuring_changes_nothing_that_was_learnt() -> None:
    model = nn.Sequential(nn.BatchNorm1d(3), nn.Dropout(0.5))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    random_state = torch.get_rng_state()
    goal = accuracy(LOGITS, torch.tensor([0, 1, 2, 0]), 0.9)
    assert goal.quality(model) == goal.quality(model)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random_state)


def test_a_measure_that_fails_leaves_the_model_in_its_mode() -> None:
    def fails(_: nn.Module) -> float:
        raise ValueError("no quality today")

    model = nn.Linear(1, 1)
    with pytest.raises(ValueError, match="no quality today"):
        Goal("nothing", 1.0, fails).quality(model)
    assert model.training


def test_a_model_whose_predictions_are_not_finite_meets_no_target() -> None:
    values = torch.tensor([[1.0], [2.0]])
    assert math.isnan(r_squared(values * math.nan, values, 0.5).quality(Given()))


@pytest.mark.parametrize(
    ("given", "what"), [("high", "a str"), (None, "a NoneType"), (torch.ones(3), r"a Tensor\[3\]"), ({}, "a dict")]
)
def test_a_quality_that_is_no_number_is_blamed_on_the_measure(given: Any, what: str) -> None:
    with pytest.raises(BadSpec, match=rf"test_goal\.py:\d+: accuracy must be one number, not {what}"):
        Goal("accuracy", 0.9, lambda _: given).quality(Given())


def test_a_measure_that_trains_the_model_is_found_out() -> None:
    def measure(model: nn.Module) -> float:
        next(model.parameters()).mul_(0.9)
        return 1.0

    with pytest.raises(BadSpec, match=r"test_goal\.py:\d+: measuring accuracy changes the model: weight"):
        Goal("accuracy", 0.9, measure).quality(Given())
