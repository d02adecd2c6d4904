"""The confidence sequence on noise with a known truth; seeds are fixed, tolerances are binomial."""

import math
from collections.abc import Callable

import numpy as np
import pytest

from loopmark.bench.judge.confidence_sequence import (
    ConfidenceSequence,
    _deviation,
    _log_stakes,
    ever_excludes,
    final_interval,
)

LAUNCHES = 50
Noise = Callable[[np.random.Generator, int], np.ndarray]


def normal(random: np.random.Generator, count: int) -> np.ndarray:
    return random.normal(0, 0.01, count)


def heavy_tailed(random: np.random.Generator, count: int) -> np.ndarray:
    return 0.005 * random.standard_t(1.5, count)


def bursts(random: np.random.Generator, count: int) -> np.ndarray:
    """A quiet machine, disturbed in one of five launches, equally on both sides."""
    return random.normal(0, np.where(random.random(count) < 0.2, 0.1, 0.003))


def ever_louder(random: np.random.Generator, count: int) -> np.ndarray:
    return random.normal(0, np.geomspace(0.002, 0.05, count))


def swings(random: np.random.Generator, count: int) -> np.ndarray:
    """Noise whose strength drifts over launches; the affected side is random."""
    loudness = np.exp(np.cumsum(random.normal(0, 0.4, count)))
    return 0.005 * loudness * random.normal(0, 1, count)


@pytest.mark.parametrize("noise", [normal, heavy_tailed, bursts, ever_louder, swings])
@pytest.mark.parametrize("error", [0.01, 0.05])
def test_unchanged_code_is_hardly_ever_called_slower_however_often_one_looks(noise: Noise, error: float) -> None:
    random = np.random.default_rng(1)
    trials = 1500
    alarms = ever_excludes([noise(random, LAUNCHES) for _ in range(trials)], 0.0, error).sum()
    # Three standard deviations above the promised rate.
    assert alarms / trials <= error + 3 * math.sqrt(error / trials)


@pytest.mark.parametrize("noise", [normal, bursts])
def test_a_slowdown_of_one_deviation_is_found_in_nearly_all_comparisons(noise: Noise) -> None:
    random = np.random.default_rng(2)
    found = ever_excludes([noise(random, LAUNCHES) + 0.01 for _ in range(400)], 0.0, 0.01)
    assert found.mean() >= 0.95


@pytest.mark.parametrize("error", [0.01, 0.05])
def test_launches_measured_badly_now_and_then_raise_no_false_alarm(error: float) -> None:
    random = np.random.default_rng(8)
    trials = 1500
    uncertainties = np.exp(random.normal(-5, 0.7, (trials, LAUNCHES)))
    alarms = ever_excludes(random.normal(0, uncertainties), 0.0, error, uncertainties).sum()
    assert alarms / trials <= error + 3 * math.sqrt(error / trials)


def test_what_was_measured_badly_counts_for_less_so_that_the_interval_is_narrower() -> None:
    random = np.random.default_rng(9)
    narrower = []
    for _ in range(40):
        uncertainties = np.exp(random.normal(-5, 1.0, 30))
        values = list(random.normal(0.01, uncertainties))
        told, untold = final_interval(values, 0.01, list(uncertainties)), final_interval(values, 0.01)
        narrower.append((told.high - told.low) / (untold.high - untold.low))
    assert np.median(narrower) < 0.85


@pytest.mark.parametrize("told", [False, True])
@pytest.mark.parametrize("error", [0.01, 0.05])
def test_two_ways_of_running_that_launches_fall_into_by_chance_are_no_difference(error: float, told: bool) -> None:
    # Most values so far may lie on one side: a width that depends on the value itself would gain by that.
    random = np.random.default_rng(11)
    shape = (1000, 80)
    values = random.choice([-0.01, 0.01], shape) + random.normal(0, 0.001, shape)
    alarms, trials = ever_excludes(values, 0.0, error, np.full(shape, 0.01) if told else None).sum(), len(values)
    assert alarms / trials <= error + 3 * math.sqrt(error / trials)


def test_a_bet_does_not_gain_on_average_when_nothing_differs() -> None:
    random = np.random.default_rng(12)
    gains = last_gains(random.normal(0, 0.01, (20000, 12)))
    assert abs(np.mean(gains)) <= 3 * np.std(gains) / math.sqrt(len(gains))


def last_gains(values: np.ndarray) -> np.ndarray:
    """The gain of a stake of 1 on the last value of each row, given all values before it."""
    deviations = _deviation(values[:, :-1], np.ones_like(values), told=False)[:, np.newaxis]
    return np.expm1(_log_stakes(values[:, -1:], deviations, deviations, 0.0)[:, 0])


def test_sequences_side_by_side_are_judged_as_each_by_itself() -> None:
    random = np.random.default_rng(13)
    values, uncertainties = random.standard_t(2, (40, 30)) + 0.5, np.exp(random.normal(0, 0.5, (40, 30)))
    for told in (None, uncertainties):
        together = ever_excludes(values, 0.0, 0.05, told)
        alone = [ever_excludes(row, 0.0, 0.05, None if told is None else told[n]) for n, row in enumerate(values)]
        assert together.tolist() == [bool(one) for one in alone]
        assert 0 < together.sum() < 40


def test_a_glaring_difference_is_sure_after_nine_launches_and_after_eight_whose_uncertainty_is_told() -> None:
    values = np.random.default_rng(3).normal(0.5, 0.001, 12)
    untold, told = ConfidenceSequence(0.009), ConfidenceSequence(0.009)
    assert sum(untold.add(value).low <= 0 for value in values) == 8
    assert sum(told.add(value, 0.001).low <= 0 for value in values) == 7


def test_the_interval_never_widens_and_holds_its_estimate() -> None:
    sequence = ConfidenceSequence(0.05)
    estimates = [sequence.add(value) for value in heavy_tailed(np.random.default_rng(4), 60)]
    lows, highs = [e.low for e in estimates], [e.high for e in estimates]
    assert lows == sorted(lows)
    assert highs == sorted(highs, reverse=True)
    assert all(e.low <= e.value <= e.high for e in estimates)
    assert highs[-1] - lows[-1] < 0.05


def test_the_interval_moves_with_its_values() -> None:
    values = normal(np.random.default_rng(5), 40)
    here, there = final_interval(list(values), 0.01), final_interval(list(values + 0.3), 0.01)
    assert there.low - here.low == pytest.approx(0.3, abs=1e-6)
    assert there.high - here.high == pytest.approx(0.3, abs=1e-6)


def test_the_interval_is_the_mirror_image_of_that_of_mirrored_values() -> None:
    values = normal(np.random.default_rng(6), 40)
    here, mirrored = final_interval(list(values), 0.01), final_interval(list(-values), 0.01)
    assert mirrored.low == pytest.approx(-here.high, abs=1e-6)


def test_the_interval_ends_where_the_stake_says_so() -> None:
    values = normal(np.random.default_rng(7), 40)
    low = final_interval(list(values), 0.01).low
    assert ever_excludes(values, low - 1e-6, 0.01)
    assert not ever_excludes(values, low + 1e-6, 0.01)


def test_values_that_do_not_differ_at_all_are_no_trouble() -> None:
    estimate = final_interval([0.0] * 30, 0.001)
    assert estimate.low == pytest.approx(0, abs=1e-5)
    assert estimate.high == pytest.approx(0, abs=1e-5)


def test_one_value_bounds_nothing() -> None:
    estimate = ConfidenceSequence(0.01).add(0.02)
    assert (estimate.value, estimate.low, estimate.high) == (0.02, -math.inf, math.inf)


def test_a_difference_that_changes_its_sign_is_torn_and_bounds_nothing() -> None:
    random = np.random.default_rng(8)
    sequence = ConfidenceSequence(0.01)
    for value in [*(0.05 + normal(random, 40)), *(-0.05 + normal(random, 200))]:
        estimate = sequence.add(value)
    assert sequence.torn
    assert (estimate.low, estimate.high) == (-math.inf, math.inf)
