import math

import pytest

from loopmark.bench.judge.statistics import Estimate
from loopmark.bench.report import show

UNBOUNDED = Estimate(1.1, 0.0, math.inf)


def test_a_round_value_ends_in_no_zeros_that_say_nothing() -> None:
    values = (0.006, 0.010, 0.0125, 2e-6, 1.0, 120.0)
    assert [show.round_seconds(value) for value in values] == ["6 ms", "10 ms", "12.5 ms", "2 µs", "1 s", "2 min"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.00431, "4.31 ms"), (0.000812, "812 µs"), (0.9999, "1.00 s"), (0.0009996, "1.00 ms"), (0.0, "0 s"),
        (20.1, "20.1 s"), (150, "2.50 min"), (7200, "2.00 h"), (4e-10, "0.400 ns"),
    ],
)  # fmt: skip
def test_seconds_are_scaled_to_three_digits(value: float, text: str) -> None:
    assert show.seconds(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(482 * 2**20, "482 MiB"), (512, "512 B"), (80 * 2**30, "80.0 GiB"), (1023.9 * 2**20, "1.00 GiB")],
)
def test_bytes_are_scaled_in_binary_units(value: float, text: str) -> None:
    assert show.data(value) in {text, text.replace("1.00 GiB", "1024 MiB")}


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (398 * 2**20, 401 * 2**20, "398 to 401 MiB"), (401 * 2**20, 401 * 2**20 + 1, "401 MiB"),
        (900 * 2**20, 2**30, "0.879 to 1.00 GiB"), (3, 17, "3 to 17 B"),
    ],
)  # fmt: skip
def test_the_least_and_the_most_bytes_share_a_unit(low: float, high: float, text: str) -> None:
    assert show.data_range(low, high) == text


@pytest.mark.parametrize("figure", [show.seconds, show.data, show.ratio, show.percent, show.count, show.rate])
@pytest.mark.parametrize("value", [None, math.nan, math.inf])
def test_absent_is_a_dash_and_never_zero(figure, value) -> None:  # type: ignore[no-untyped-def]
    assert figure(value) == "–"


@pytest.mark.parametrize(
    ("estimate", "text"),
    [
        (Estimate(1.2134, 1.19, 1.23), "1.21x [1.19, 1.23]"),
        (Estimate(1.2134, 1.2112, 1.2152), "1.213x [1.211, 1.215]"),
        (Estimate(12.34, 11, 14), "12.34x [11.00, 14.00]"),
        (Estimate(1.5, 0.9, 2.5), "1.50x [0.90, 2.50]"),
        (UNBOUNDED, "1.10x [no interval]"),
        (Estimate(2.0, 1e-9, 2.8e11), "2.00x [no interval]"),
        (Estimate(2.0, 0.5, 2.8e11), "2.00x [0.500, ?]"),
    ],
)
def test_a_ratio_has_as_many_digits_as_its_interval_supports(estimate: Estimate, text: str) -> None:
    assert show.ratio_range(estimate) == text


def test_an_unbounded_interval_never_says_inf() -> None:
    shown = [
        show.ratio_range(UNBOUNDED), show.interval(UNBOUNDED), show.seconds_range(UNBOUNDED),
        show.count_range(Estimate(10, 5, math.inf)), show.plus_minus(UNBOUNDED), show.overhead_range(UNBOUNDED),
    ]  # fmt: skip
    assert shown[3] == "10 [5, ?]"
    assert not [text for text in shown if "inf" in text or "nan" in text]
    assert all("?" in text or "no interval" in text for text in shown)


def test_seconds_and_their_interval_share_one_unit() -> None:
    assert show.seconds_range(Estimate(0.00431, 0.00428, 0.00434)) == "4.31 ms [4.28, 4.34]"
    assert show.seconds_range(Estimate(0.0009996, 0.00098, 0.00102)) == "1.00 ms [0.98, 1.02]"


@pytest.mark.parametrize(
    ("estimate", "value"),
    [
        (Estimate(0.00126, 0.00110, 0.00143), "1.26 ms"),
        (Estimate(0.0068912, 0.0068902, 0.0068921), "6.891 ms"),
        (Estimate(0.000972, 0.00086, 0.001097), "972 µs"),
        (Estimate(0.0126, 0.0, math.inf), "12.6 ms"),
    ],
)
def test_a_figure_has_the_same_digits_with_both_ends_with_plus_minus_and_alone(estimate: Estimate, value: str) -> None:
    assert show.seconds_of(estimate) == value
    assert show.seconds_range(estimate).startswith(f"{value} [")
    assert show.seconds_plus_minus(estimate).startswith(f"{value} ±")


def test_counts_and_rates_and_percents() -> None:
    assert show.count(10_171.7) == "10,200"
    assert show.count(999) == "999"
    assert show.rate(6_699.9) == "6,700"
    assert show.rate(12.345) == "12.3"
    assert show.percent(0.58) == "58 %"
    assert show.percent(0.0091) == "0.91 %"
    assert show.overhead(Estimate(0.99999, 0.9, 1.1)) == "+0.0 %"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.82, "1.82 J [1.64, 2.00]"),
        (0.0182, "18.2 mJ [16.4, 20.0]"),
        (25_000.0, "25.0 kJ [22.5, 27.5]"),
        (0.0, "0 µJ [0, 0]"),
    ],
)
def test_energy_is_told_in_the_unit_that_suits_it(value: float, text: str) -> None:
    assert show.joules(Estimate(value, 0.9 * value, 1.1 * value)) == text


def test_a_noise_floor_is_a_log_ratio_and_shown_as_how_much_faster_the_faster_one_may_be() -> None:
    assert show.noise_floor(0.024) == "2.4 %"
    assert show.noise_floor(math.log(2)) == "100 %"
    assert show.noise_floor(None) == show.ABSENT


@pytest.mark.parametrize(
    ("estimate", "text"),
    [
        (Estimate(0.448, 0.4, 0.51), "0.448 [0.400, 0.510]"),
        (Estimate(15_800, 14_100, 17_800), "15,800 [14,100, 17,800]"),
        (Estimate(2.12e6, 9.7e5, 2.69e6), "2.12 M [0.970, 2.69]"),
        (Estimate(999_999, 9e5, 1.2e6), "1.00 M [0.900, 1.20]"),
        (Estimate(5, -math.inf, math.inf), "5.00 [no interval]"), (None, "–"),
    ],
)  # fmt: skip
def test_a_rate_has_three_digits_however_small_or_large_and_its_interval_the_same_unit(
    estimate: Estimate | None, text: str
) -> None:
    assert show.rate_range(estimate) == text


@pytest.mark.parametrize(
    ("estimate", "text"),
    [
        (Estimate(0.214, 0.182, 0.248), "21.4 % [18.2, 24.8]"), (Estimate(0.39, 0.33, 0.464), "39.0 % [33.0, 46.4]"),
        (Estimate(101.88, 76.5, 136.0), "10,188 % [7,650, 13,600]"), (Estimate(0.5, -math.inf, math.inf), "50 %"),
        (Estimate(0.0041, 0.00359, 0.00464), "0.410 % [0.359, 0.464]"), (None, "–"),
    ],
)  # fmt: skip
def test_a_share_and_its_interval_have_the_decimals_that_the_interval_shows(
    estimate: Estimate | None, text: str
) -> None:
    assert show.percent_range(estimate) == text
