"""The end of a loop's training, and the step at which it diverged."""

import math

import pytest

from loopmark.bench.measure.training.stopping import (
    EXPLODED,
    FIRST,
    IN_A_ROW,
    PATIENCE,
    PATIENCE_STEPS,
    Diverged,
    DivergenceDetector,
    EarlyStopping,
)
from loopmark.bench.records.training import Ending, Target, Until

ACCURACY = Target("accuracy", 0.9, higher_is_better=True)
BITS = Target("bits per byte", 4.0, higher_is_better=False)
EPOCH = 20


def endings(
    qualities: list[float], until: Until = "convergence", target: Target = ACCURACY, epoch: int = EPOCH
) -> tuple[list[Ending | None], EarlyStopping]:
    stopping = EarlyStopping(target, until, budget_seconds=1000.0, untrained=qualities[0])
    heard = [stopping.hear(n * epoch, 0.1 * n, quality) for n, quality in enumerate(qualities[1:], start=1)]
    return heard, stopping


def test_until_the_target_is_until_the_target() -> None:
    assert endings([0.1, 0.5, 0.9], "target")[0] == [None, "reached the target"]
    assert endings([8.0, 4.5, 4.0], "target", BITS)[0] == [None, "reached the target"]


def test_until_convergence_goes_on_after_the_target() -> None:
    assert endings([0.1, 0.95, 0.97])[0] == [None, None]


def test_training_has_converged_at_its_best_when_quality_rises_no_more() -> None:
    heard, stopping = endings([0.1, 0.5, 0.8, *[0.8] * PATIENCE])
    assert heard[-1] == "converged"
    assert heard[:-1] == [None] * (len(heard) - 1)
    assert stopping.converged_at_step == 2 * EPOCH


def test_a_rise_below_a_hundredth_of_all_that_was_gained_does_not_count() -> None:
    crawl = [0.1, 0.8, *[0.8 + 0.001 * n for n in range(1, PATIENCE + 1)]]
    heard, stopping = endings(crawl)
    assert heard[-1] == "converged"
    assert stopping.converged_at_step == EPOCH


def test_epochs_of_one_step_are_given_as_many_steps_as_others() -> None:
    heard, _ = endings([0.1, 0.5, *[0.5] * (PATIENCE_STEPS - 1)], epoch=1)
    assert heard == [None] * PATIENCE_STEPS
    assert endings([0.1, 0.5, *[0.5] * PATIENCE_STEPS], epoch=1)[0][-1] == "converged"


def test_what_never_rose_has_not_converged_and_goes_on_to_its_budget() -> None:
    assert endings([0.1] * 20)[0] == [None] * 19
    assert EarlyStopping(ACCURACY, "convergence", 1.0, 0.1).hear(EPOCH, 1.0, 0.1) == "spent its budget"


def test_quality_that_is_not_a_number_is_no_rise_and_hides_none() -> None:
    heard, stopping = endings([0.1, math.nan, 0.5, *[math.nan] * PATIENCE])
    assert heard[-1] == "converged"
    assert stopping.converged_at_step == 2 * EPOCH


def test_an_untrained_model_that_could_not_be_measured_is_no_obstacle() -> None:
    assert endings([math.nan, 0.5, 0.8, *[0.8] * PATIENCE])[0][-1] == "converged"


USUAL = [2.0, 1.9, 2.1, 1.8, 1.7, 1.6]


@pytest.mark.parametrize(("lost", "how"), [(math.nan, "not a number"), (math.inf, "infinite"), (-math.inf, "infinite")])
@pytest.mark.parametrize("step", [0, 3, 5])
def test_a_loss_that_is_not_finite_is_told_at_its_step(lost: float, how: str, step: int) -> None:
    losses = [*USUAL[:step], lost, math.nan]
    assert DivergenceDetector().hear(losses) == Diverged(step, how)


def test_steps_are_counted_over_legs() -> None:
    detector = DivergenceDetector()
    assert detector.hear(USUAL) is None
    assert detector.hear([1.5, math.nan]) == Diverged(len(USUAL) + 1, "not a number")


def test_losses_that_stay_high_have_exploded_since_the_first_of_them() -> None:
    high = [EXPLODED * 2.0 + 1] * IN_A_ROW
    assert DivergenceDetector().hear([*USUAL, *high]) == Diverged(len(USUAL), "exploded")


@pytest.mark.parametrize("times", [11, 400, 1e7])
def test_a_loss_that_explodes_from_the_first_step_on_is_told_at_the_step_after_it(times: float) -> None:
    assert DivergenceDetector().hear([2.3 * times**step for step in range(2 * FIRST)]) == Diverged(1, "exploded")


def test_a_loss_that_leaps_at_once_and_stays_there_has_exploded_too() -> None:
    assert DivergenceDetector().hear([2.3, 5000.0, 4000.0, 6000.0, 4500.0, 5000.0]) == Diverged(1, "exploded")


def test_a_loss_that_rises_a_little_has_not() -> None:
    assert DivergenceDetector().hear([2.0 + 0.5 * step for step in range(2 * FIRST)]) is None


def test_an_outlier_is_no_explosion() -> None:
    assert DivergenceDetector().hear([*USUAL, *([1000.0] * (IN_A_ROW - 1)), 1.0, 1000.0]) is None


def test_one_lucky_first_batch_is_not_what_training_began_with() -> None:
    assert DivergenceDetector().hear([0.01, *USUAL, *USUAL]) is None
    assert DivergenceDetector().hear([0.01, *reversed(USUAL), *USUAL]) is None


def test_a_loss_of_zero_at_first_says_nothing() -> None:
    assert DivergenceDetector().hear([0.0] + [1.0] * (2 * FIRST)) is None


def test_a_loss_below_zero_is_like_any_other() -> None:
    assert DivergenceDetector().hear([-2.0, -2.1, -2.2, -2.3, -2.4, -2.5, -2.6]) is None
