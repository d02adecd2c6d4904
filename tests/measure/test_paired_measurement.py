"""The number of launch pairs that a budget holds, with synthetic pairs and a clock that only they advance."""

from typing import Any

import numpy as np
import pytest

from loopmark.bench.measure import paired_measurement as module
from loopmark.bench.measure.paired_measurement import Measured, PairedMeasurement
from loopmark.bench.measure.plan import PlanOptions, make_plan
from tests.cli.test_decide import PAIR_SECONDS, Clock
from tests.judge.test_sequential_comparison import launch_pair


def pairs_within(budget: float, first: tuple[float, float], monkeypatch: pytest.MonkeyPatch) -> tuple[int, float]:
    """The number of pairs and their end; the first is ``(seconds, of which compiling)`` longer."""
    clock, one = Clock(), Any
    monkeypatch.setattr(module, "time", clock)

    def pair(_: PairedMeasurement, index: int, began: float) -> Measured:
        longer, once = first if index == 0 else (0.0, 0.0)
        clock.now += PAIR_SECONDS + longer
        return Measured(*launch_pair(np.random.default_rng(index), index, quads=3), once)

    monkeypatch.setattr(PairedMeasurement, "_pair", pair)
    measurement = PairedMeasurement(one, one, make_plan(PlanOptions(["loopmark", "ab"], device="cpu", threads=1)))
    return len(list(measurement.pairs(budget))), clock.now


def test_pairs_follow_one_another_while_another_would_end_within_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    assert pairs_within(20.1, (0.0, 0.0), monkeypatch) == (10, 20.0)


def test_there_is_a_first_pair_however_small_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    assert pairs_within(0.1, (0.0, 0.0), monkeypatch)[0] == 1


def test_a_slow_start_is_expected_again(monkeypatch: pytest.MonkeyPatch) -> None:
    assert pairs_within(50.0, (30.0, 0.0), monkeypatch)[0] == 1


def test_compiling_with_an_empty_cache_is_not_expected_again(monkeypatch: pytest.MonkeyPatch) -> None:
    assert pairs_within(50.1, (30.0, 30.0), monkeypatch) == (10, 50.0)
