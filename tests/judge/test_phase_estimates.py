import math

import numpy as np
import pytest

from loopmark.bench.judge.breakdown import phase_estimates, phase_seconds
from loopmark.bench.judge.statistics import student
from tests.judge.test_breakdown import ORDER, laps, noisy_steps


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
