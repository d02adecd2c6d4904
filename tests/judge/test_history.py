import dataclasses
import math
from collections.abc import Callable

import numpy as np
import pytest

from loopmark.bench.judge.comparison import round_logs
from loopmark.bench.judge.history import (
    Observation,
    Series,
    change_points,
    measured,
    noise,
    observe,
    series_of,
    suspicions,
)
from loopmark.bench.judge.statistics import Estimate
from tests.support.histories import SUBJECT, dated, history_of, point
from tests.support.synthetic import Truth, make_run

NOISE = 0.01
SERIES, RUNS = 1000, 30
Draw = Callable[[np.random.Generator, int], np.ndarray]


def normal(rng: np.random.Generator, runs: int) -> np.ndarray:
    return rng.normal(0, NOISE, runs)


def heavy_tailed(rng: np.random.Generator, runs: int) -> np.ndarray:
    return rng.standard_t(3, runs) * NOISE


def with_outliers(rng: np.random.Generator, runs: int) -> np.ndarray:
    return rng.normal(0, NOISE, runs) * np.where(rng.random(runs) < 0.1, 8, 1)


def with_slow_outliers(rng: np.random.Generator, runs: int) -> np.ndarray:
    return rng.normal(0, NOISE, runs) - np.where(rng.random(runs) < 0.1, 8 * NOISE, 0)


def found(logs: np.ndarray) -> list[int]:
    """The change points of a series, from its own scatter alone. The runs' own intervals would only add noise."""
    return change_points(logs, noise(logs, []))


def one(logs: list[float | None], half: float = 0.01) -> Series:
    (series,) = history_of({"amp_bf16": logs}, half)
    return series


@pytest.mark.parametrize(
    ("draw", "runs", "most"),
    [
        (normal, RUNS, 0.01), (heavy_tailed, RUNS, 0.01), (with_outliers, RUNS, 0.015),
        (with_slow_outliers, RUNS, 0.03), (normal, 6, 0.05), (heavy_tailed, 6, 0.05),
    ],
)  # fmt: skip
def test_few_series_without_a_change_show_one(draw: Draw, runs: int, most: float) -> None:
    rng = np.random.default_rng(1)
    alarms = sum(bool(found(draw(rng, runs))) for _ in range(SERIES))
    assert alarms <= most * SERIES


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(("draw", "least"), [(normal, 0.9), (with_outliers, 0.65)])
def test_a_step_of_three_times_the_noise_is_found_to_the_run_or_its_neighbour(
    draw: Draw, least: float, sign: int
) -> None:
    rng = np.random.default_rng(2)
    hits = 0
    for _ in range(SERIES):
        logs = draw(rng, RUNS)
        logs[RUNS // 2 :] += sign * 3 * NOISE
        places = found(logs)
        hits += len(places) == 1 and abs(places[0] - RUNS // 2) <= 1
    assert hits >= least * SERIES


def test_two_steps_are_both_found() -> None:
    logs = np.random.default_rng(3).normal(0, NOISE, 60)
    logs[20:40] += 0.08
    assert found(logs) == [20, 40]


def test_a_change_that_only_the_last_two_runs_show_is_found_and_one_that_only_the_last_shows_is_not() -> None:
    logs = np.random.default_rng(4).normal(0, NOISE, RUNS)
    logs[-2:] -= 0.2
    assert found(logs) == [RUNS - 2]
    logs[-2] += 0.2
    assert found(logs) == []


@pytest.mark.parametrize("runs", [1, 2, 3])
def test_fewer_than_four_runs_show_no_change_and_say_that_they_are_few(runs: int) -> None:
    series = one([0.0, 1.0, 1.0][:runs])
    assert series.changes == ()
    assert not series.is_long_enough
    assert [(level.start, level.end) for level in series.levels] == [(0, runs)]


def test_a_large_step_is_found_in_five_runs_and_a_small_one_within_their_intervals_is_not() -> None:
    assert [change.at for change in one([0.2, 0.2, 0.2, 0.5, 0.5]).changes] == [3]
    assert one([0.2, 0.2, 0.2, 0.21, 0.21], half=0.05).changes == ()


def test_equal_values_and_differences_that_are_rounding_are_no_change() -> None:
    assert one([0.2] * 20, half=0.0).changes == ()
    assert one([0.2] * 10 + [0.2 + 1e-7] * 10, half=0.0).changes == ()


def test_intervals_without_bounds_do_not_keep_a_change_from_being_found() -> None:
    logs = [*np.random.default_rng(5).normal(0, NOISE, 10), *np.random.default_rng(6).normal(0.1, NOISE, 10)]
    assert [change.at for change in one(logs, half=math.inf).changes] == [10]


def test_the_noise_is_what_the_runs_scatter_by_a_step_left_out() -> None:
    logs = np.random.default_rng(7).normal(0, NOISE, 400)
    logs[200:] += 1.0
    assert noise(logs, []) == pytest.approx(NOISE, rel=0.2)
    assert noise(logs, [0.5, 0.5, 0.5]) == 0.5


def test_a_change_names_its_run_both_levels_and_what_else_changed_there() -> None:
    points = [point(k, 0.2 if k < 10 else 0.12, revision="abc1234" if k < 10 else "def5678") for k in range(20)]
    (series,) = series_of(Observation(SUBJECT, "amp_bf16", p) for p in points)
    (change,) = series.changes
    assert change.point is points[10]
    assert not change.is_improvement
    assert change.before.value == pytest.approx(math.exp(0.2))
    assert change.after.value == pytest.approx(math.exp(0.12))
    assert change.ratio.value == pytest.approx(math.exp(-0.08))
    assert change.ratio.high < 1
    assert change.before.low < change.before.value < change.before.high
    assert change.differences == ("revision abc1234 → def5678",)


def test_a_loop_that_became_faster_is_an_improvement() -> None:
    (change,) = one([0.1] * 10 + [0.2] * 10).changes
    assert change.is_improvement
    assert change.ratio.low > 1


def test_the_level_s_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(8)
    levels = [one(list(rng.normal(0.3, NOISE, 12)), half=0.002).levels[0] for _ in range(200)]
    held = sum(level.speedup.low <= math.exp(0.3) <= level.speedup.high for level in levels)
    assert held >= 0.88 * 200


def test_runs_are_put_in_the_order_of_their_starts() -> None:
    points = [point(k, k / 100) for k in (3, 0, 2, 1)]
    (series,) = series_of(Observation(SUBJECT, "tf32", p) for p in points)
    assert [round(100 * p.log_speedup.value) for p in series.points] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    "change",
    [
        {"machine": "another"}, {"device": "cuda:0"}, {"workload": "gpt"}, {"size": "large"}, {"batch_size": 128},
        {"parameters": 1}, {"data_sha256": None}, {"threads": 4}, {"instructions": "AVX512"},
    ],
)  # fmt: skip
def test_what_is_not_the_same_is_never_mixed(change: dict[str, object]) -> None:
    other = dataclasses.replace(SUBJECT, **change)  # type: ignore[arg-type]
    mixed = [Observation(SUBJECT if k % 2 else other, "tf32", point(k, 0.1)) for k in range(10)]
    assert [len(series.points) for series in series_of(mixed)] == [5, 5]


def test_runs_that_do_not_tell_their_instructions_are_followed_with_the_only_ones_there_are() -> None:
    silent = dataclasses.replace(SUBJECT, instructions=None)
    mixed = [Observation(SUBJECT if k % 2 else silent, "tf32", point(k, 0.1)) for k in range(10)]
    assert [(series.subject, len(series.points)) for series in series_of(mixed)] == [(SUBJECT, 10)]


def test_a_loop_that_some_runs_lack_is_followed_through_the_others() -> None:
    gappy, whole = history_of({"a": [0.1, None, 0.1, None, 0.1], "b": [0.2] * 5})
    assert (len(gappy.points), len(whole.points)) == (3, 5)


def test_when_most_loops_change_at_one_run_the_baseline_is_suspected() -> None:
    changed, steady = [0.3] * 8 + [0.2] * 8, [0.1] * 16
    (found,) = suspicions(history_of({"a": changed, "b": changed, "c": changed, "d": steady}))
    assert (found.loops, found.of, found.is_improvement) == (3, 4, False)
    assert suspicions(history_of({"a": changed, "b": changed, "c": steady})) == ()


def test_a_run_gives_each_loop_s_ratio_to_eager_and_neither_the_repetition_nor_what_failed() -> None:
    truths = [Truth("eager"), Truth("eager", repeat=True), Truth("tf32", 0.005), Truth("x", status="failed")]
    run, samples = make_run(truths)
    (seen,) = observe(dated(run, 0), round_logs(samples.blocks), "resnet", "here")
    assert seen.loop == "tf32"
    assert seen.point.speedup.value == pytest.approx(2.0, rel=0.02)
    assert seen.subject == dataclasses.replace(SUBJECT, machine=run.machine.name)


def test_a_run_without_eager_has_nothing_to_follow() -> None:
    run, samples = make_run([Truth("tf32", 0.005), Truth("eager", status="failed", reason="x")])
    assert measured(run, "resnet") == ()
    assert list(observe(run, round_logs(samples.blocks), "resnet", "here")) == []


def test_a_case_without_a_block_has_no_ratio() -> None:
    run, samples = make_run([Truth("eager"), Truth("tf32", 0.005)])
    assert list(observe(run, round_logs(samples.blocks[samples.blocks["case"] == 0]), "resnet", "here")) == []
    assert list(observe(run, round_logs(samples.blocks[samples.blocks["case"] == 1]), "resnet", "here")) == []


def test_a_run_of_one_launch_is_a_point_whose_interval_is_open() -> None:
    run, samples = make_run([Truth("eager"), Truth("tf32", 0.005)], launches=1)
    (seen,) = observe(run, round_logs(samples.blocks), "resnet", "here")
    assert seen.point.log_speedup.high == math.inf
    assert seen.point.standard_error == math.inf


def test_a_run_s_standard_error_is_what_its_interval_was_made_of() -> None:
    five = dataclasses.replace(point(0, 0.1), log_speedup=Estimate(0.1, 0.1 - 2.776, 0.1 + 2.776))
    assert five.standard_error == pytest.approx(1.0, rel=1e-3)


def test_runs_with_different_baselines_are_different_series() -> None:
    truths = [Truth("eager"), Truth("own:step"), Truth("amp", 0.005)]
    seen = []
    for name in ("eager", "own:step"):
        run, samples = make_run(truths, launches=2, rounds=2, baseline=name)
        seen += observe(run, round_logs(samples.blocks), "resnet", "results/a")
    assert {(one.subject.baseline, one.loop) for one in series_of(seen)} == {
        ("eager", "own:step"), ("eager", "amp"), ("own:step", "eager"), ("own:step", "amp"),
    }  # fmt: skip
