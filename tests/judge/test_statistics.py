import math

import numpy as np
import pytest
from scipy import stats

from loopmark.bench.judge.statistics import Estimate, median, student, welch


def coverage(estimates: list[Estimate], truth: float) -> float:
    return float(np.mean([e.low <= truth <= e.high for e in estimates]))


@pytest.mark.parametrize("count", [2, 3, 5, 20])
@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
def test_student_is_the_textbook_t_interval(count: int, confidence: float) -> None:
    values = np.random.default_rng(count).normal(3, 2, count)
    low, high = stats.t.interval(confidence, count - 1, loc=values.mean(), scale=stats.sem(values))
    estimate = student(values, confidence)
    assert (estimate.low, estimate.value, estimate.high) == pytest.approx((low, values.mean(), high))


def test_student_intervals_cover_the_truth_95_times_in_100() -> None:
    samples = np.random.default_rng(1).normal(1.5, 0.3, (3000, 4))
    # The standard error of a share of 3000 is 0.4 %.
    assert coverage([student(sample) for sample in samples], 1.5) == pytest.approx(0.95, abs=0.012)


def test_one_value_tells_student_nothing_of_its_spread() -> None:
    assert student([2.0]) == Estimate(2.0, -math.inf, math.inf)


def test_equal_values_have_an_interval_of_no_width() -> None:
    assert student([2.0, 2.0, 2.0]) == Estimate(2.0, 2.0, 2.0)


@pytest.mark.parametrize("count", [6, 7, 10, 25, 100])
def test_the_median_interval_is_the_narrowest_whose_binomial_coverage_is_95_percent(count: int) -> None:
    estimate = median(np.arange(1.0, count + 1))
    rank = int(estimate.low)
    assert estimate.high == count + 1 - rank

    def exact(r: int) -> float:  # probability that the r-th values from either end bracket the median
        return 1 - 2 * float(stats.binom.cdf(r - 1, count, 0.5))

    assert exact(rank) >= 0.95 > exact(rank + 1)


@pytest.mark.parametrize("count", range(1, 6))
def test_fewer_than_six_values_cannot_bracket_a_median(count: int) -> None:
    assert median(np.arange(count)) == Estimate((count - 1) / 2, -math.inf, math.inf)


def test_median_intervals_cover_the_truth_of_a_skewed_heavy_tailed_distribution() -> None:
    samples = np.random.default_rng(2).pareto(1.0, (2000, 15))  # the mean is infinite; the median is 1
    covered = coverage([median(sample) for sample in samples], 1.0)
    assert covered == pytest.approx(1 - 2 * float(stats.binom.cdf(3, 15, 0.5)), abs=0.012)


def test_ties_are_values_like_any_other() -> None:
    assert median([1, 1, 1, 1, 1, 1, 9]) == Estimate(1.0, 1.0, 9.0)
    assert median([5.0] * 30) == Estimate(5.0, 5.0, 5.0)


def test_the_order_of_the_values_does_not_matter() -> None:
    values = np.random.default_rng(3).normal(size=31)
    assert median(values) == median(values[::-1])


def test_a_decreasing_function_swaps_the_ends_of_the_interval() -> None:
    assert Estimate(2.0, 1.0, 4.0).map(lambda x: 8 / x) == Estimate(4.0, 2.0, 8.0)
    assert Estimate(2.0, 1.0, 4.0).map(lambda x: x**2) == Estimate(4.0, 1.0, 16.0)


def test_an_infinite_interval_stays_one_through_the_exponential() -> None:
    assert Estimate(0.0, -math.inf, math.inf).map(math.exp) == Estimate(1.0, 0.0, math.inf)


@pytest.mark.parametrize(
    ("low", "high", "excludes", "reach"),
    [(0.1, 0.3, True, 0.3), (-0.3, -0.1, True, 0.3), (-0.1, 0.3, False, 0.3), (0.0, 0.3, False, 0.3)],
)
def test_reach_is_the_far_end_and_an_end_at_zero_does_not_exclude_it(
    low: float, high: float, excludes: bool, reach: float
) -> None:
    estimate = Estimate((low + high) / 2, low, high)
    assert (estimate.excludes_zero, estimate.reach) == (excludes, reach)


@pytest.mark.parametrize(("count", "others"), [(2, 2), (3, 8), (12, 5)])
def test_welch_is_the_textbook_interval_of_two_means(count: int, others: int) -> None:
    rng = np.random.default_rng(count)
    values, baseline = rng.normal(3, 2, count), rng.normal(1, 0.5, others)
    textbook = stats.ttest_ind(values, baseline, equal_var=False).confidence_interval(0.9)
    estimate = welch(values, baseline, 0.9)
    assert (estimate.low, estimate.high) == pytest.approx((textbook.low, textbook.high))
    assert estimate.value == pytest.approx(values.mean() - baseline.mean())


def test_welch_says_nothing_of_a_side_with_one_value() -> None:
    assert welch([3.0], [1.0, 2.0, 3.0]) == Estimate(1.0, -math.inf, math.inf)
    assert welch([3.0, 4.0], [1.0]) == Estimate(2.5, -math.inf, math.inf)


def test_welch_of_sides_that_do_not_vary_has_no_width() -> None:
    assert welch([2.0, 2.0], [1.0, 1.0, 1.0]) == Estimate(1.0, 1.0, 1.0)
