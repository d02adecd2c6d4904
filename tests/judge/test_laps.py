"""The laps that count, and their sums by phase."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from loopmark.bench.judge.laps import BLOCK, LapsByCase, counted_blocks, laps_by_case, phase_estimates, phase_seconds
from loopmark.bench.judge.statistics import student
from loopmark.bench.judge.summary import summarise
from loopmark.bench.records.samples import Samples
from tests.support.synthetic import Truth, hold_down, make_run

ORDER = ("data", "zero_grad", "forward", "loss", "backward", "optimizer")


def laps(*launches: list[dict[str, float]], device: bool = False) -> pd.DataFrame:
    """Rows of ``Samples.phases``: for each launch its steps, each as seconds by phase."""
    rows = [
        {"launch": launch, "step": step, "phase": phase, "host_seconds": seconds}
        for launch, steps in enumerate(launches)
        for step, phases in enumerate(steps)
        for phase, seconds in phases.items()
    ]
    frame = pd.DataFrame(rows)
    frame["device_seconds"] = frame["host_seconds"] / 2 if device else np.nan
    return frame


def noisy_steps(count: int, seed: int) -> list[dict[str, float]]:
    rng = np.random.default_rng(seed)
    return [{"forward": 3e-3 * rng.lognormal(0, 0.3), "backward": 5e-3 * rng.lognormal(0, 0.3)} for _ in range(count)]


def test_phases_add_up_to_the_launches_trimmed_steps_and_their_geometric_mean() -> None:
    launches = [noisy_steps(40, seed) for seed in range(3)]
    trimmed = [np.sort([sum(step.values()) for step in steps])[10:-10].mean() for steps in launches]
    phases = phase_seconds(laps(*launches), ORDER, "host_seconds")
    assert sum(phases.values()) == pytest.approx(np.exp(np.mean(np.log(trimmed))), rel=1e-12)


def test_each_phase_is_its_mean_where_nothing_varies() -> None:
    step = {"forward": 3e-3, "backward": 5e-3, "optimizer": 1e-3}
    assert phase_seconds(laps([step] * 12, [step] * 7), ORDER, "host_seconds") == pytest.approx(step)


@pytest.mark.parametrize("count", [3, 4, 5, 9, 10, 11, 30])
@pytest.mark.parametrize("outlier", [{"forward": 10.0}, {"backward": 0.0, "forward": 0.0}])
def test_one_outlying_step_does_not_move_the_phases(count: int, outlier: dict[str, float]) -> None:
    step = {"forward": 3e-3, "backward": 5e-3}
    steps = [step] * (count - 1)
    steps.insert(count // 2, step | outlier)
    assert phase_seconds(laps(steps), ORDER, "host_seconds") == pytest.approx(step)


@pytest.mark.parametrize("count", [1, 2])
def test_one_or_two_steps_are_too_few_to_leave_any_out(count: int) -> None:
    steps = [{"forward": 1.0, "backward": 2.0}, {"forward": 3.0, "backward": 4.0}][:count]
    means = {phase: float(np.mean([step[phase] for step in steps])) for phase in ("forward", "backward")}
    assert phase_seconds(laps(steps), ORDER, "host_seconds") == pytest.approx(means)


def test_a_launch_counts_once_however_many_steps_it_has() -> None:
    phases = phase_seconds(laps([{"forward": 1.0}] * 50, [{"forward": 4.0}] * 5), ORDER, "host_seconds")
    assert phases == pytest.approx({"forward": 2.0})


def test_the_result_has_the_order_asked_for() -> None:
    step = {"optimizer": 1.0, "backward": 2.0, "forward": 3.0}
    assert list(phase_seconds(laps([step] * 3), ORDER, "host_seconds")) == [
        "forward",
        "backward",
        "optimizer",
    ]


def test_an_absent_phase_is_absent_not_zero() -> None:
    assert "loss" not in phase_seconds(laps([{"forward": 1.0, "backward": 2.0}] * 5), ORDER, "host_seconds")


def test_a_phase_the_host_does_not_see_is_absent_from_the_host_alone() -> None:
    table = laps([{"data": 1.0, "forward": 4.0}] * 5, device=True)
    table.loc[table["phase"] == "forward", "host_seconds"] = math.nan
    assert phase_seconds(table, ORDER, "host_seconds") == pytest.approx({"data": 1.0})
    assert phase_seconds(table, ORDER, "device_seconds") == pytest.approx({"data": 0.5, "forward": 2.0})


def test_no_device_clock_is_no_device_phases() -> None:
    assert phase_seconds(laps([{"forward": 1.0}] * 5), ORDER, "device_seconds") == {}


def test_no_laps_are_no_phases() -> None:
    assert phase_seconds(laps([{"forward": 1.0}]).iloc[:0], ORDER, "host_seconds") == {}


def test_accumulated_gradients_are_one_row_a_phase_already_summed() -> None:
    # Four forward and backward turns to one optimizer step.
    step = {"forward": 4 * 3e-3, "backward": 4 * 5e-3, "optimizer": 1e-3}
    phases = phase_seconds(laps([step] * 20), ORDER, "host_seconds")
    assert phases == pytest.approx(step)
    assert sum(phases.values()) == pytest.approx(33e-3)


def test_the_turns_of_a_repeated_phase_add_up_even_in_rows_of_their_own() -> None:
    turns = laps([{"forward": 3e-3, "optimizer": 1e-3}] * 10)
    again = turns[turns["phase"] == "forward"]
    phases = phase_seconds(pd.concat([turns, again, again]), ORDER, "host_seconds")
    assert phases == pytest.approx({"forward": 9e-3, "optimizer": 1e-3})


def test_a_phase_that_only_some_steps_have_is_averaged_over_all_of_them() -> None:
    # zero_grad runs in every second step: half of it counts per step, so that the phases add up to the step.
    steps = [{"zero_grad": 1e-3, "forward": 3e-3}, {"forward": 4e-3}] * 10
    phases = phase_seconds(laps(steps), ORDER, "host_seconds")
    assert sum(phases.values()) == pytest.approx(4e-3)
    assert phases["zero_grad"] == pytest.approx(0.5e-3)


def test_one_launch_in_which_one_phase_was_held_up_does_not_decide_where_the_time_goes() -> None:
    calm, held = {"forward": 2.0, "backward": 3.0}, {"forward": 2.0, "backward": 48.0}
    phases = phase_seconds(laps(*[[step] * 9 for step in (calm, held, calm)]), ORDER, "host_seconds")
    assert phases["backward"] / sum(phases.values()) == pytest.approx(0.6)


def test_a_phase_that_one_launch_alone_has_is_not_lost() -> None:
    plain, more = {"forward": 2.0}, {"forward": 2.0, "data": 1.0}
    phases = phase_seconds(laps([plain] * 5, [plain] * 5, [more] * 5), ORDER, "host_seconds")
    assert phases["data"] > 0


def test_a_step_that_found_the_device_idle_does_not_count_on_the_devices_clock() -> None:
    waited, at_work = {"forward": 5e-3, "backward": 5e-3}, {"forward": 3e-3, "backward": 5e-3}
    table = laps([waited, at_work] * 6, device=True)
    table["block"] = table["step"] // 2
    assert phase_seconds(table, ORDER, "device_seconds") == pytest.approx({"forward": 1.5e-3, "backward": 2.5e-3})
    assert phase_seconds(table, ORDER, "host_seconds")["forward"] > 3e-3


def test_blocks_of_one_step_have_no_other_to_count() -> None:
    table = laps([{"forward": 5e-3}] * 6, device=True)
    table["block"] = table["step"]
    assert phase_seconds(table, ORDER, "device_seconds") == pytest.approx({"forward": 2.5e-3})


def test_each_phase_is_the_run_report_s_with_students_interval_over_its_launches() -> None:
    table = laps(*(noisy_steps(20, seed) for seed in range(4)))
    found = phase_estimates(table, ORDER)
    assert {name: estimate.value for name, estimate in found.items()} == pytest.approx(
        phase_seconds(table, ORDER, "host_seconds")
    )
    launches = [phase_seconds(own, ORDER, "host_seconds")["forward"] for _, own in table.groupby("launch")]
    logs, forward = student(np.log(launches)), found["forward"]
    assert math.log(forward.high / forward.value) == pytest.approx(logs.high - logs.value)
    assert math.log(forward.value / forward.low) == pytest.approx(logs.value - logs.low)


def test_launches_that_differ_by_a_third_are_not_told_to_the_per_cent() -> None:
    step = {"forward": 3e-3, "backward": 5e-3}
    slow = {name: 4 / 3 * seconds for name, seconds in step.items()}
    alike, apart = (phase_estimates(laps([step] * 5, [other] * 5), ORDER)["forward"] for other in (step, slow))
    assert alike.low == pytest.approx(alike.high)
    assert apart.high > 1.3 * apart.value


@pytest.mark.parametrize(
    "launches",
    [
        [[{"data": 1e-3, "forward": 3e-3}] * 5],
        [[{"data": 1e-3, "forward": 3e-3}] * 5, [{"data": 0.0, "forward": 3e-3}] * 5],
        [[{"data": 1e-3, "forward": 3e-3}] * 5, [{"forward": 3e-3}] * 5],
    ],
    ids=["a launch alone", "no time in one launch", "not there in one launch"],
)
def test_what_bounds_no_logarithm_bounds_no_phase(launches: list[list[dict[str, float]]]) -> None:
    estimate = phase_estimates(laps(*launches), ORDER)["data"]
    assert estimate.value > 0
    assert math.isinf(estimate.high)


def test_the_device_s_clock_counts_where_there_is_one() -> None:
    table = laps([{"forward": 3e-3}] * 5, [{"forward": 3e-3}] * 5, device=True)
    assert phase_estimates(table, ORDER)["forward"].value == pytest.approx(1.5e-3)


@pytest.fixture(scope="module")
def samples() -> Samples:
    """Three cases whose blocks take turns."""
    return make_run([Truth("eager"), Truth("amp", 0.005), Truth("tf32")], launches=2, rounds=3, device=True)[1]


@pytest.mark.parametrize("kept", [1.0, 0.5, 0.0])
@pytest.mark.parametrize("written", ["case by case", "in turns", "in no order at all"])
def test_each_case_has_its_own_rows_of_the_blocks_that_are_wanted(samples: Samples, written: str, kept: float) -> None:
    rng = np.random.default_rng(1)
    turns = samples.phases.sort_values(["launch", "round", "block", "case", "step"], kind="stable")
    mixed = turns.sample(frac=1.0, random_state=1)
    laps = {"case by case": samples.phases, "in turns": turns, "in no order at all": mixed}[written]
    blocks = samples.blocks[rng.random(len(samples.blocks)) < kept]
    found = LapsByCase(laps, blocks)

    wanted = laps.set_index(BLOCK).index.isin(blocks.set_index(BLOCK).index)
    for case in range(3):
        pd.testing.assert_frame_equal(found[case], laps[wanted & (laps["case"] == case)])
    assert bool(sum(len(found[case]) for case in range(3))) == (kept > 0)


def test_all_blocks_are_wanted_unless_some_are(samples: Samples) -> None:
    found = LapsByCase(samples.phases)
    assert sum(len(found[case]) for case in range(3)) == len(samples.phases)


def test_a_case_that_is_not_there_and_a_table_without_rows_have_none(samples: Samples) -> None:
    assert len(LapsByCase(samples.phases)[3]) == 0
    assert len(LapsByCase(samples.phases[:0])[0]) == 0
    assert list(LapsByCase(samples.phases[:0])[0].columns) == list(samples.phases.columns)


def blocks(*rows: tuple[int, bool, str]) -> pd.DataFrame:
    """Rows of (round, lapped, throttle reason)."""
    table = pd.DataFrame(rows, columns=["round", "lapped", "throttle_reasons"])
    return table.assign(case=0, launch=0, block=range(len(rows)))


def test_a_throttled_block_does_not_count_where_its_round_was_measured_again() -> None:
    table = blocks((0, False, "thermal slowdown"), (0, True, ""), (0, False, ""), (1, False, ""))
    assert counted_blocks(table).tolist() == [False, True, True, True]


def test_where_every_attempt_was_throttled_all_of_them_count() -> None:
    table = blocks((0, False, "thermal slowdown"), (0, False, "hardware slowdown"), (1, False, ""))
    assert counted_blocks(table).all()


def test_blocks_with_laps_and_without_are_looked_at_apart() -> None:
    assert counted_blocks(blocks((0, False, "thermal slowdown"), (0, True, ""))).all()


def test_a_block_at_the_power_cap_counts_since_that_is_the_loops_own_doing() -> None:
    assert counted_blocks(blocks((0, False, "power cap"), (0, False, ""))).all()
    assert counted_blocks(blocks((0, False, "power cap, thermal slowdown"), (0, False, ""))).tolist() == [False, True]


def test_a_run_is_judged_by_what_was_measured_again_and_keeps_the_rest() -> None:
    run, samples = make_run([Truth("eager"), Truth("eager", repeat=True), Truth("amp", 0.005)], device=True)
    samples = hold_down(samples, 2)
    unmarked = summarise(run, replace(samples, blocks=samples.blocks.assign(throttle_reasons=""))).workloads[0].rows[2]
    marked = summarise(run, samples).workloads[0].rows[2]
    assert unmarked.step_seconds is not None
    assert marked.step_seconds is not None
    assert marked.step_seconds.value == pytest.approx(0.005, rel=0.2)
    assert unmarked.step_seconds.value > 1.5 * marked.step_seconds.value
    kept = laps_by_case(samples)
    assert [len(kept[i]) for i in range(3)] == [len(samples.phases) / 3 * share for share in (1, 1, 0.5)]
