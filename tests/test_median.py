"""The median's interval, shared by measuring and judging; it is infinite if there is none."""

import math
import random
import statistics

import pytest

from loopmark.bench.judge.statistics import Estimate, median
from loopmark.bench.median import LEAST_SAMPLES, median_interval


@pytest.mark.parametrize("count", [6, 7, 8, 9, 15, 16, 40, 101, 1500])
def test_it_is_the_interval_that_judging_has(count: int) -> None:
    draws = random.Random(count)
    values = [draws.lognormvariate(0, 1) for _ in range(count)]
    assert median(values) == Estimate(*median_interval(values))
    assert median_interval(values)[0] == statistics.median(values)


@pytest.mark.parametrize("count", range(LEAST_SAMPLES))
def test_fewer_values_have_no_interval(count: int) -> None:
    assert median_interval([1.0] * count)[1:] == (-math.inf, math.inf)


def test_so_many_values_have_one() -> None:
    assert median_interval([1.0] * LEAST_SAMPLES) == (1.0, 1.0, 1.0)


def test_it_holds_the_true_median_as_often_as_it_says() -> None:
    draws = random.Random(0)
    held = 0
    for _ in range(2000):
        _, low, high = median_interval([draws.expovariate(1) for _ in range(17)])
        held += low <= 0.6931 <= high
    assert 0.94 < held / 2000 < 0.99  # order statistics cannot give exactly 95 %: with 17 values it is 95.1 %


def test_values_that_are_all_the_same_have_an_interval_of_no_width() -> None:
    assert median_interval([3.0] * 9) == (3.0, 3.0, 3.0)
