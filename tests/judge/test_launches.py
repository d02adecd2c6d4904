import math

import numpy as np
import pandas as pd
import pytest

from loopmark.bench.judge.comparison import memory_logs, phase_logs, ratio_logs, rounds_of, step_logs
from loopmark.bench.records.samples import Samples
from tests.support.synthetic import PHASES, Truth, make_run

RUN, SAMPLES = make_run([Truth("eager"), Truth("amp", 0.005)], launches=4, rounds=6, drift=0.3, block_noise=0.001)


def of(case: int, table: str = "blocks", samples: Samples = SAMPLES):  # type: ignore[no-untyped-def]
    frame = getattr(samples, table)
    return frame[frame["case"] == case]


def test_each_launch_has_one_value() -> None:
    assert step_logs(rounds_of(of(1))).shape == memory_logs(RUN.cases[1]).shape == (4,)
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
