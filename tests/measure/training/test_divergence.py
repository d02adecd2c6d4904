import math

import pytest

from loopmark.bench.measure.training.stopping import EXPLODED, FIRST, IN_A_ROW, Astray, Watch

USUAL = [2.0, 1.9, 2.1, 1.8, 1.7, 1.6]


@pytest.mark.parametrize(("lost", "how"), [(math.nan, "not a number"), (math.inf, "infinite"), (-math.inf, "infinite")])
@pytest.mark.parametrize("step", [0, 3, 5])
def test_a_loss_that_is_not_finite_is_told_at_its_step(lost: float, how: str, step: int) -> None:
    losses = [*USUAL[:step], lost, math.nan]
    assert Watch().hear(losses) == Astray(step, how)


def test_steps_are_counted_over_legs() -> None:
    watch = Watch()
    assert watch.hear(USUAL) is None
    assert watch.hear([1.5, math.nan]) == Astray(len(USUAL) + 1, "not a number")


def test_losses_that_stay_high_have_exploded_since_the_first_of_them() -> None:
    high = [EXPLODED * 2.0 + 1] * IN_A_ROW
    assert Watch().hear([*USUAL, *high]) == Astray(len(USUAL), "exploded")


@pytest.mark.parametrize("times", [11, 400, 1e7])
def test_a_loss_that_explodes_from_the_first_step_on_is_told_at_the_step_after_it(times: float) -> None:
    assert Watch().hear([2.3 * times**step for step in range(2 * FIRST)]) == Astray(1, "exploded")


def test_a_loss_that_leaps_at_once_and_stays_there_has_exploded_too() -> None:
    assert Watch().hear([2.3, 5000.0, 4000.0, 6000.0, 4500.0, 5000.0]) == Astray(1, "exploded")


def test_a_loss_that_rises_a_little_has_not() -> None:
    assert Watch().hear([2.0 + 0.5 * step for step in range(2 * FIRST)]) is None


def test_an_outlier_is_no_explosion() -> None:
    assert Watch().hear([*USUAL, *([1000.0] * (IN_A_ROW - 1)), 1.0, 1000.0]) is None


def test_one_lucky_first_batch_is_not_what_training_began_with() -> None:
    assert Watch().hear([0.01, *USUAL, *USUAL]) is None
    assert Watch().hear([0.01, *reversed(USUAL), *USUAL]) is None


def test_a_loss_of_zero_at_first_says_nothing() -> None:
    assert Watch().hear([0.0] + [1.0] * (2 * FIRST)) is None


def test_a_loss_below_zero_is_like_any_other() -> None:
    assert Watch().hear([-2.0, -2.1, -2.2, -2.3, -2.4, -2.5, -2.6]) is None
