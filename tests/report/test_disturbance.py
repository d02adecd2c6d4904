import re

import numpy as np
import pandas as pd
import pytest

from loopmark.bench.judge.comparison import block_seconds
from loopmark.bench.judge.summary import summarise
from loopmark.bench.records.samples import Samples
from loopmark.bench.report.disturbance import slow_together, slowness
from loopmark.bench.report.trajectories import rounds_of
from tests.support.synthetic import Truth, make_run

LOOPS = [Truth("eager"), Truth("eager", repeat=True), Truth("tf32", 0.008), Truth("compile", 0.02)]


def measured(slow_rounds: dict[int, float], cases: set[int] = frozenset({0, 1, 2, 3})) -> Samples:  # type: ignore[assignment]
    """Two launches of ten rounds. These rounds of the second took longer by these factors, in these cases."""
    _, samples = make_run(LOOPS, launches=2, rounds=10, drift=0.0)
    blocks = samples.blocks
    factor = (
        blocks["round"].map(slow_rounds).fillna(1.0).where((blocks["launch"] == 1) & blocks["case"].isin(cases), 1.0)
    )
    blocks["host_seconds"] *= factor
    return samples


def plain(samples: Samples) -> pd.DataFrame:
    return samples.blocks[~samples.blocks["lapped"]]


def test_rounds_in_which_all_loops_are_slow_are_found_with_how_slow_they_were() -> None:
    blocks = plain(measured({3: 1.5, 4: 1.5}))
    rounds = block_seconds(blocks).groupby([blocks[name] for name in ("case", "launch", "round")]).median()
    slow = slowness(rounds)
    assert slow[slow > 1.1].index.tolist() == [(1, 3), (1, 4)]
    assert slow[(1, 3)] == pytest.approx(1.5, rel=0.05)


def test_they_are_one_spell_on_the_plot_where_they_are_neighbours() -> None:
    assert rounds_of(plain(measured({3: 1.5, 4: 1.5, 8: 1.3}))).spells == ((12.5, 14.5), (17.5, 18.5))


@pytest.mark.parametrize("count", [2, 3, 4, 5, 9])
def test_a_loop_that_is_slow_by_itself_is_no_spell_however_few_others_there_are(count: int) -> None:
    loops = [Truth(name) for name in ("eager", *(f"loop {i}" for i in range(1, count)))]
    _, samples = make_run(loops, launches=2, rounds=10, drift=0.0)
    blocks = samples.blocks
    blocks.loc[(blocks["case"] == 1) & (blocks["round"] == 3), "host_seconds"] *= 2.0
    assert rounds_of(plain(samples)).spells == ()
    assert slow_together(blocks) == ""


def test_one_loop_alone_cannot_tell_the_machine_s_doing_from_its_own() -> None:
    blocks = measured({3: 1.5}).blocks
    assert slow_together(blocks[blocks["case"] == 0]) == ""


def test_what_is_said_has_how_many_rounds_and_how_slow() -> None:
    said = slow_together(measured({3: 1.5, 4: 1.5}).blocks)
    assert re.match(r"Slow together: in 2 of 20 rounds most loops took 1\.(4[89]|5\d)x as long as usual", said)
    assert slow_together(measured({}).blocks) == ""
    assert slow_together(measured({}).blocks.iloc[:0]) == ""


def test_ratios_stand_through_a_spell_as_it_is_said() -> None:
    run, _ = make_run(LOOPS, launches=2, rounds=10, drift=0.0)
    with_and_without = [summarise(run, measured(slow)) for slow in ({}, dict.fromkeys(range(10), 1.5))]
    calm, slow = ([row.speedup.value for row in one.rows if row.speedup] for one in with_and_without)
    assert np.allclose(calm, slow, rtol=1e-9)
