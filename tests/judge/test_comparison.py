import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
from numpy.typing import ArrayLike

from loopmark.bench.judge.comparison import (
    WIDEST_SAME,
    block_seconds,
    instrumentation,
    lap_costs,
    log_speedups,
    over_launches,
    peaks_of_memory,
    phase_logs,
    ratio_logs,
    round_logs,
    step_logs,
    step_seconds,
    verdict,
)
from loopmark.bench.judge.statistics import Estimate, student
from loopmark.bench.records.samples import Samples
from tests.judge.test_statistics import coverage
from tests.support.synthetic import PHASES, Truth, make_run

EXPERIMENTS = 250


def log_speedup(blocks: pd.DataFrame, baseline: pd.DataFrame) -> Estimate | None:
    """The log speedup of one case's blocks over the baseline's."""
    both = pd.concat([blocks.assign(case=1), baseline.assign(case=0)])
    return log_speedups(round_logs(both), 0).get(1)


def of_launches(launches: Sequence[ArrayLike]) -> Estimate:
    """The estimate over launches with these values."""
    places = [(launch, i) for launch, values in enumerate(launches) for i in range(np.size(values))]
    index = pd.MultiIndex.from_tuples(places, names=["launch", "round"])
    return over_launches(pd.DataFrame({0: np.concatenate(launches)}, index))[0]


def blocks_of(truth: Truth, **options: float) -> pd.DataFrame:
    return make_run([truth], **options)[1].blocks


def two(speedup: float = 1.25, **options: float) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Blocks of a loop and of its baseline, measured together."""
    blocks = make_run([Truth("eager"), Truth("other", 0.010 / speedup)], **options)[1].blocks
    return blocks[blocks["case"] == 1], blocks[blocks["case"] == 0]


@dataclass(frozen=True)
class Experiment:
    """Log speedups of one run: eager's repetition, an unchanged loop, and a loop that is 5 % faster."""

    repeat: Estimate
    unchanged: Estimate
    faster: Estimate


@pytest.fixture(scope="module")
def experiments() -> list[Experiment]:
    """Independent runs of a bad machine: 30 % of drift, launches 1 % apart, 5 % of blocks disturbed."""
    truths = [Truth("eager"), Truth("eager", repeat=True), Truth("same"), Truth("faster", 0.010 / 1.05)]
    names = tuple(f"w{i}" for i in range(EXPERIMENTS))
    _, samples = make_run(truths, names, rounds=5, steps=1, launch_noise=0.01, drift=0.3, seed=11)
    blocks, rng = samples.blocks, np.random.default_rng(12)
    hit = rng.random(len(blocks)) < 0.05
    blocks["host_seconds"] *= np.where(hit, 1 + rng.pareto(1.0, len(blocks)), 1.0)
    rounds, found = round_logs(blocks), []
    for i in range(0, 4 * EXPERIMENTS, 4):
        ratios = log_speedups(rounds[list(range(i, i + 4))], i)
        found.append(Experiment(*(ratios[i + k] for k in (1, 2, 3))))
    return found


def share(flags: list[bool]) -> float:
    assert len(flags) == EXPERIMENTS
    return float(np.mean(flags))


def test_the_speedup_interval_covers_the_truth_under_drift_launch_noise_and_heavy_tails(
    experiments: list[Experiment],
) -> None:
    covered = [e.faster.low <= math.log(1.05) <= e.faster.high for e in experiments]
    assert share(covered) == pytest.approx(0.95, abs=0.04)  # three standard errors of 250 runs
    assert share([e.unchanged.low <= 0 <= e.unchanged.high for e in experiments]) == pytest.approx(0.95, abs=0.04)


def test_the_speedup_is_unbiased_under_drift_launch_noise_and_heavy_tails(
    experiments: list[Experiment],
) -> None:
    assert np.mean([e.faster.value for e in experiments]) == pytest.approx(math.log(1.05), abs=0.002)


def test_nothing_changed_is_hardly_ever_called_a_change(experiments: list[Experiment]) -> None:
    called = [verdict(e.unchanged, e.repeat.reach) in ("faster", "slower") for e in experiments]
    assert share(called) <= 0.02


def test_without_a_noise_floor_false_alarms_keep_to_the_nominal_5_percent(
    experiments: list[Experiment],
) -> None:
    assert share([verdict(e.unchanged, 0.0) in ("faster", "slower") for e in experiments]) <= 0.09


def test_five_percent_faster_is_found(experiments: list[Experiment]) -> None:
    found = [verdict(e.faster, e.repeat.reach) for e in experiments]
    assert share([v == "faster" for v in found]) >= 0.8
    assert "slower" not in found
    assert share([v == "same" for v in found]) <= 0.01


def test_with_few_launches_a_big_difference_is_not_called_the_same() -> None:
    # Two launches 2 % apart give a noise floor near 20 %. A 10 % speedup must not become "same".
    rng = np.random.default_rng(13)
    verdicts = []
    for _ in range(1000):
        base, repeat, other = rng.normal(0, 0.02, (3, 2))
        verdicts.append(verdict(student(base - other + math.log(1.10)), student(base - repeat).reach))
    assert verdicts.count("same") <= 5
    assert verdicts.count("slower") <= 5


def test_a_shared_drift_does_not_move_the_speedup() -> None:
    calm, wild = log_speedup(*two(drift=0.0)), log_speedup(*two(drift=0.8))
    assert calm is not None
    assert wild is not None
    assert wild.value == pytest.approx(calm.value, abs=1e-9)
    assert wild.high - wild.low == pytest.approx(calm.high - calm.low, abs=1e-9)


def test_the_speedup_is_the_ratio_of_the_steps_where_nothing_else_varies() -> None:
    estimate = log_speedup(*two(1.25, launch_noise=0, block_noise=0))
    assert estimate is not None
    assert (estimate.low, estimate.value, estimate.high) == pytest.approx((math.log(1.25),) * 3)


def test_positive_is_faster_and_swapping_the_sides_turns_the_sign() -> None:
    fast, base = two(1.25)
    forth, back = log_speedup(fast, base), log_speedup(base, fast)
    assert forth is not None
    assert back is not None
    assert forth.low > 0
    assert (back.low, back.value, back.high) == pytest.approx((-forth.high, -forth.value, -forth.low))


def test_a_disturbed_round_does_not_move_the_speedup_far() -> None:
    fast, base = two(1.25)
    hit = fast.copy()
    hit.loc[hit["round"] == 3, "host_seconds"] *= 50
    estimate = log_speedup(hit, base)
    assert estimate is not None
    assert estimate.value == pytest.approx(math.log(1.25), abs=0.02)


def test_laps_do_not_enter_the_speedup() -> None:
    fast, base = two(1.25)
    slowed = fast.copy()
    slowed.loc[slowed["lapped"], "host_seconds"] *= 3
    assert log_speedup(slowed, base) == log_speedup(fast, base)


def test_only_rounds_that_both_have_are_compared() -> None:
    fast, base = two(1.25)
    # The machine was twice as slow in the rounds that the loop missed.
    base = base.copy()
    base.loc[base["round"] >= 8, "host_seconds"] *= 2
    missing = fast[fast["round"] < 8]
    assert log_speedup(missing, base) == log_speedup(missing, base[base["round"] < 8])
    assert log_speedup(fast[fast["round"] < 4], base[base["round"] >= 4]) is None


def test_a_launch_that_only_one_side_has_is_left_out() -> None:
    fast, base = two(1.25)
    assert log_speedup(fast[fast["launch"] < 3], base) == log_speedup(
        fast[fast["launch"] < 3], base[base["launch"] < 3]
    )


def test_one_launch_alone_makes_no_claim_however_many_rounds_it_has() -> None:
    estimate = log_speedup(*two(2.0, launches=1, rounds=40))
    assert estimate is not None
    assert estimate.value == pytest.approx(math.log(2), abs=0.05)
    assert (estimate.low, estimate.high) == (-math.inf, math.inf)
    assert verdict(estimate, None) == "inconclusive"
    assert verdict(estimate, 0.01) == "inconclusive"


def test_the_device_clock_is_preferred_to_the_hosts() -> None:
    blocks = blocks_of(Truth("eager"), device=True)
    blocks["host_seconds"] = 99.0
    assert step_seconds(round_logs(blocks))[0].value == pytest.approx(0.010, rel=0.3)
    blocks.loc[0, "device_seconds"] = math.nan
    assert block_seconds(blocks).iloc[0] == 99.0 / blocks["steps"].iloc[0]


def test_a_block_is_counted_by_the_step_however_long_it_is() -> None:
    blocks = blocks_of(Truth("eager"))
    double = blocks.assign(steps=blocks["steps"] * 2, host_seconds=blocks["host_seconds"] * 2)
    pd.testing.assert_frame_equal(round_logs(double), round_logs(blocks))


def test_step_seconds_recover_the_truth() -> None:
    exact = step_seconds(round_logs(blocks_of(Truth("eager", 0.004), launch_noise=0, block_noise=0, drift=0)))[0]
    assert (exact.low, exact.value, exact.high) == pytest.approx((0.004,) * 3)
    noisy = step_seconds(round_logs(blocks_of(Truth("eager", 0.004), drift=0)))[0]
    assert noisy.low < 0.004 < noisy.high
    assert noisy.value == pytest.approx(0.004, rel=0.02)


def test_over_launches_covers_the_truth_although_launches_differ_more_than_their_samples() -> None:
    rng = np.random.default_rng(4)
    biases = rng.normal(0, 0.02, (1500, 5, 1))
    values = 1 + biases + rng.normal(0, 0.003, (1500, 5, 9))
    rounds = pd.MultiIndex.from_product([range(5), range(9)], names=["launch", "round"])
    runs = over_launches(pd.DataFrame(values.reshape(1500, 45).T, rounds))
    assert coverage(list(runs.values()), 1.0) == pytest.approx(0.95, abs=0.018)
    # Treated as independent, the same samples would claim far too much.
    assert coverage([student(run.ravel()) for run in values], 1.0) < 0.6


def test_over_launches_is_not_moved_by_an_outlier_within_a_launch() -> None:
    calm = [[1.0, 1.1, 1.2], [1.1, 1.2, 1.3]]
    assert of_launches([[1.0, 1.1, 99.0], [1.1, 1.2, 1.3]]) == of_launches(calm)


def test_every_launch_counts_once_however_many_values_it_has() -> None:
    assert of_launches([[1.0] * 100, [3.0]]).value == 2.0


def test_a_launch_without_values_is_passed_over() -> None:
    assert of_launches([[1.0, 2.0], [], [2.0, 3.0]]) == of_launches([[1.0, 2.0], [2.0, 3.0]])


def test_a_single_launch_says_nothing_of_the_next_one() -> None:
    values = np.random.default_rng(5).normal(size=20)
    assert of_launches([values]) == Estimate(float(np.median(values)), -math.inf, math.inf)


@pytest.mark.parametrize("lap_cost", [1.0, 1.05, 1.5])
def test_instrumentation_recovers_what_a_lap_costs(lap_cost: float) -> None:
    estimate = instrumentation(lap_costs(blocks_of(Truth("eager", lap_cost=lap_cost), launch_noise=0.05, drift=0.5)))
    assert estimate is not None
    assert estimate.low <= lap_cost <= estimate.high
    assert estimate.high - estimate.low < 0.02  # launches and drift cancel within a turn


def test_without_laps_there_is_no_instrumentation_to_tell() -> None:
    blocks = blocks_of(Truth("eager"))
    assert instrumentation(lap_costs(blocks[~blocks["lapped"]])) is None


@pytest.mark.parametrize(
    ("value", "low", "high", "floor", "expected"),
    [
        (0.10, 0.08, 0.12, 0.01, "faster"),
        (-0.10, -0.12, -0.08, 0.01, "slower"),
        (0.10, 0.08, 0.12, None, "inconclusive"),
        (0.10, 0.00, 0.20, 0.01, "inconclusive"),  # an end at zero does not exclude zero
        (0.03, 0.01, 0.05, 0.03, "inconclusive"),  # at the floor is not above it
        (0.03, 0.01, 0.05, 0.029, "faster"),
        (-0.03, -0.05, -0.01, 0.03, "inconclusive"),
        (0.00, -0.02, 0.02, 0.02, "same"),  # the interval may touch the floor
        (0.00, -0.02, 0.02, 0.019, "inconclusive"),
        (0.01, 0.005, 0.015, 0.02, "same"),  # real, but below the machine's noise floor
        (0.00, -0.02, 0.02, None, "inconclusive"),
        (0.00, -WIDEST_SAME, WIDEST_SAME, 0.30, "same"),
        (0.00, -0.10, 0.10, 0.30, "inconclusive"),  # noise does not prove equality
        (0.20, 0.10, 0.30, 0.25, "inconclusive"),
        (0.20, 0.10, 0.30, math.inf, "inconclusive"),
        (0.20, -math.inf, math.inf, math.inf, "inconclusive"),
        (0.20, -math.inf, math.inf, None, "inconclusive"),
    ],
)
def test_the_verdict_keeps_its_rules_at_their_edges(
    value: float, low: float, high: float, floor: float | None, expected: str
) -> None:
    assert verdict(Estimate(value, low, high), floor) == expected


def test_all_cases_at_once_are_told_the_same_as_each_by_itself() -> None:
    truths = [Truth("eager"), Truth("tf32", 0.008), Truth("amp_bf16", 0.012), Truth("compile", 0.005)]
    blocks = make_run(truths)[1].blocks
    few, late = blocks["case"].eq(2) & blocks["launch"].ge(3), blocks["case"].eq(3) & blocks["round"].lt(99)
    blocks = blocks[~few & ~late]
    cases = [blocks[blocks["case"] == i] for i in range(3)]
    rounds = round_logs(blocks)
    assert log_speedups(rounds, 0) == {i: log_speedup(cases[i], cases[0]) for i in (1, 2)}
    assert log_speedups(rounds, 3) == {}


RUN, SAMPLES = make_run([Truth("eager"), Truth("amp", 0.005)], launches=4, rounds=6, drift=0.3, block_noise=0.001)


def of(case: int, table: str = "blocks", samples: Samples = SAMPLES):  # type: ignore[no-untyped-def]
    frame = getattr(samples, table)
    return frame[frame["case"] == case]


def rounds_of(blocks: pd.DataFrame) -> "pd.Series[float]":
    return round_logs(blocks).sum(axis="columns", min_count=1)  # a single column


def test_each_launch_has_one_value() -> None:
    assert step_logs(rounds_of(of(1))).shape == np.shape(peaks_of_memory(RUN.cases[1])) == (4,)
    assert {name: len(logs) for name, logs in phase_logs(of(1, "phases")).items()} == dict.fromkeys(PHASES, 4)


def test_a_ratio_to_eager_is_steady_where_the_weather_moves_both() -> None:
    own, eagers = rounds_of(of(1)), rounds_of(of(0))
    assert np.exp(ratio_logs(own, eagers)) == pytest.approx(0.5, rel=0.03)
    assert np.std(ratio_logs(own, eagers)) < np.std(step_logs(own)) / 3


def test_loops_that_share_no_round_have_no_ratio() -> None:
    later = of(0).assign(round=lambda frame: frame["round"] + 100)
    assert len(ratio_logs(rounds_of(of(1)), rounds_of(later))) == 0


def test_the_phases_of_a_launch_are_those_of_its_steps() -> None:
    phases = phase_logs(of(1, "phases"))
    share = np.exp(phases["backward"] - phases["forward"])
    assert share == pytest.approx(PHASES["backward"] / PHASES["forward"], rel=0.01)


def test_a_phase_that_repeats_within_a_step_counts_with_all_its_turns() -> None:
    once = of(1, "phases")
    twice = np.concatenate([once.index, once.index])
    assert phase_logs(once.loc[twice])["loss"] - phase_logs(once)["loss"] == pytest.approx(math.log(2))


def test_a_device_times_its_own_phases() -> None:
    _, samples = make_run([Truth("eager")], launches=2, rounds=2, device=True, drift=0.0)
    seconds = sum(np.exp(logs) for logs in phase_logs(of(0, "phases", samples)).values())
    assert seconds == pytest.approx(0.01, rel=0.05)


def test_a_phase_of_no_time_at_all_is_left_out() -> None:
    laps = of(1, "phases").copy()
    laps.loc[laps["phase"] == "data", "host_seconds"] = 0.0
    assert "data" not in phase_logs(laps)


def test_blocks_whose_phases_were_all_timed_say_nothing_of_a_step() -> None:
    blocks = make_run([Truth("eager")])[1].blocks
    rounds, none = rounds_of(blocks), rounds_of(blocks[blocks["lapped"]])
    assert [len(step_logs(none)), len(ratio_logs(none, rounds)), len(ratio_logs(rounds, none))] == [0, 0, 0]


def test_a_step_that_found_the_device_idle_has_no_say_in_a_phases_launches() -> None:
    rows = [
        {"launch": launch, "round": 0, "block": block, "step": 2 * block + late, "phase": "forward",
         "host_seconds": 0.1, "device_seconds": 1.0 if late else 1.3}
        for launch in range(2) for block in range(3) for late in range(2)
    ]  # fmt: skip
    assert phase_logs(pd.DataFrame(rows))["forward"] == pytest.approx([0.0, 0.0])
