"""Laps split by their cases: the same rows as by looking through all of them."""

import numpy as np
import pandas as pd
import pytest

from loopmark.bench.judge.laps import BLOCK, LapsByCase
from loopmark.bench.records.samples import Samples
from tests.support.synthetic import Truth, make_run


@pytest.fixture(scope="module")
def samples() -> Samples:
    """Of three cases, whose blocks take turns."""
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
