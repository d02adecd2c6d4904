"""A block under a throttle counts only where its round has nothing better."""

import pandas as pd
import pytest

from loopmark.bench.judge.summary import summarise
from loopmark.bench.judge.throttled import counted, laps_by_case
from tests.support.synthetic import Truth, make_run


def blocks(*rows: tuple[int, bool, str]) -> pd.DataFrame:
    """Round, whether it is lapped, and why it was throttled."""
    table = pd.DataFrame(rows, columns=["round", "lapped", "throttle_reasons"])
    return table.assign(case=0, launch=0, block=range(len(rows)))


def test_a_throttled_block_does_not_count_where_its_round_was_measured_again() -> None:
    table = blocks((0, False, "thermal slowdown"), (0, True, ""), (0, False, ""), (1, False, ""))
    assert counted(table).tolist() == [False, True, True, True]


def test_where_every_attempt_was_throttled_all_of_them_count() -> None:
    table = blocks((0, False, "thermal slowdown"), (0, False, "hardware slowdown"), (1, False, ""))
    assert counted(table).all()


def test_blocks_with_laps_and_without_are_looked_at_apart() -> None:
    assert counted(blocks((0, False, "thermal slowdown"), (0, True, ""))).all()


def test_a_block_at_the_power_cap_counts_since_that_is_the_loops_own_doing() -> None:
    assert counted(blocks((0, False, "power cap"), (0, False, ""))).all()
    assert counted(blocks((0, False, "power cap, thermal slowdown"), (0, False, ""))).tolist() == [False, True]


def test_a_run_is_judged_by_what_was_measured_again_and_keeps_the_rest() -> None:
    run, samples = make_run([Truth("eager"), Truth("eager", repeat=True), Truth("amp", 0.005)], device=True)
    first = samples.blocks.groupby(["case", "launch", "round", "lapped"]).cumcount() == 0
    held = samples.blocks["case"].eq(2) & first
    samples.blocks.loc[held, ["host_seconds", "device_seconds"]] *= 10
    unmarked = summarise(run, samples).workloads[0].rows[2]
    samples.blocks.loc[held, "throttle_reasons"] = "thermal slowdown"
    marked = summarise(run, samples).workloads[0].rows[2]
    assert unmarked.step_seconds is not None
    assert marked.step_seconds is not None
    assert marked.step_seconds.value == pytest.approx(0.005, rel=0.2)
    assert unmarked.step_seconds.value > 1.5 * marked.step_seconds.value
    kept = laps_by_case(samples)
    assert [len(kept[i]) for i in range(3)] == [len(samples.phases) / 3 * share for share in (1, 1, 0.5)]
