import math

import numpy as np
import pandas as pd
import pytest

from loopmark.bench.judge.breakdown import phase_seconds

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
    # Zeroing every second step: half a zeroing a step, so that the sum is still the step.
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
