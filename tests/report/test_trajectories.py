"""Few rounds are drawn one by one, and many in groups, for any number of launches."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from loopmark.bench.judge.summary import summarise
from loopmark.bench.records.samples import Samples
from loopmark.bench.report import style, trajectories
from loopmark.bench.report.trajectories import MOST_GROUPS, rounds_of
from tests.support.synthetic import Truth, make_run


def plain(rounds: int, launches: int = 3) -> pd.DataFrame:
    """Two cases' blocks without laps, at 1 ms and 2 ms a step, without disturbances."""
    rows = [(c, launch, round_) for c in (0, 1) for launch in range(launches) for round_ in range(rounds)]
    table = pd.DataFrame(rows, columns=["case", "launch", "round"])
    return table.assign(
        steps=1, host_seconds=(1 + table["case"]) * 1e-3, device_seconds=np.nan, involuntary_switches=0,
        steal_seconds=0.0, throttle_reasons="", foreign_processes=0,
    )  # fmt: skip


def drawn(rounds: int, loops: int = 8) -> Figure:
    truths = [Truth("eager")] + [Truth(f"technique_{i}", 0.01 + 0.001 * i) for i in range(loops - 1)]
    run, few = make_run(truths, launches=1, rounds=1)
    parts = [plain(rounds, launches=1).query("case == 0").assign(case=case, lapped=False) for case in range(loops)]
    many: Samples = replace(few, blocks=pd.concat(parts, ignore_index=True))
    summary = summarise(run, few)
    styles = style.line_styles(((row.case.label, row.case.repeat) for row in summary.rows), {"eager"})
    workload = summary.workloads[0]
    with style.styled():
        figure = trajectories.step_times(workload, summary.places(workload), many, styles)
    assert figure is not None
    return figure


def vertices(figure: Figure) -> int:
    (axes,) = figure.axes
    lines = sum(len(line.get_xdata()) for line in axes.lines)  # type: ignore[arg-type]
    return lines + sum(len(path.vertices) for band in axes.collections for path in band.get_paths())


def test_few_rounds_are_drawn_one_by_one() -> None:
    blocks = plain(rounds=MOST_GROUPS // 3)
    blocks.loc[7, ["host_seconds", "steal_seconds"]] = 5e-3, 1.0
    rounds = rounds_of(blocks)
    course = rounds.trajectories[0]
    assert rounds.width == 1
    assert rounds.at.tolist() == list(range(MOST_GROUPS))
    assert np.flatnonzero(course.marked).tolist() == [7]
    assert course.seconds[7] == course.low[7] == course.high[7] == 5e-3


@pytest.mark.parametrize("rounds", [81, 100, 1000, 12_345])
def test_of_many_rounds_there_are_few_groups_and_none_reaches_over_two_launches(rounds: int) -> None:
    blocks = plain(rounds)
    found = rounds_of(blocks.assign(host_seconds=1e-3 * (1 + blocks["launch"])))
    course = found.trajectories[0]
    assert MOST_GROUPS / 3 < len(found.at) <= MOST_GROUPS
    assert found.starts == (rounds - 0.5, 2 * rounds - 0.5)
    assert (course.low == course.high).all()  # else a group would mix rounds of two launches
    assert [set(course.seconds[piece]) for piece in found.pieces] == [{1e-3}, {2e-3}, {3e-3}]


def test_so_many_launches_that_no_one_could_tell_them_apart_share_groups_and_are_not_marked() -> None:
    found = rounds_of(plain(rounds=2, launches=1000))
    assert len(found.at) <= MOST_GROUPS
    assert (found.starts, len(found.pieces)) == ((), 1)


def test_a_group_is_its_median_and_a_band_that_one_odd_round_does_not_move() -> None:
    blocks = plain(rounds=24_000, launches=1)  # groups of a hundred rounds
    blocks.loc[[100, 2000], "host_seconds"] = 1.0
    course = rounds_of(blocks).trajectories[0]
    assert set(course.seconds) == set(course.high) == set(course.low) == {1e-3}


def test_a_group_is_marked_where_at_least_half_of_its_rounds_were_disturbed() -> None:
    blocks = plain(rounds=2400, launches=1)  # groups of ten rounds
    blocks.loc[[*range(5), *range(10, 14)], "steal_seconds"] = 0.01
    rounds = rounds_of(blocks)
    assert rounds.width == 10
    assert np.flatnonzero(rounds.trajectories[0].marked).tolist() == [0]
    assert rounds.disturbed_share == pytest.approx(9 / 4800)


def test_a_case_without_a_round_in_a_group_has_a_gap_there() -> None:
    blocks = plain(rounds=2400, launches=1)
    course = rounds_of(blocks[(blocks["case"] == 0) | (blocks["round"] >= 1200)]).trajectories[1]
    assert np.isnan(course.seconds[:120]).all()
    assert not np.isnan(course.seconds[120:]).any()


@pytest.mark.parametrize("loops", [1, 20])
def test_the_plot_of_a_hundred_times_as_many_rounds_is_no_larger(loops: int) -> None:
    many = drawn(20_000, loops)
    assert vertices(many) <= 1.2 * vertices(drawn(2_000, loops)) < 20_000
    assert "in groups of" in many.axes[0].get_xlabel()
    assert len(style.save(many, "svg")) < 300_000
