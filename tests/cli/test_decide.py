"""A comparison until its verdict is certain, with synthetic launch pairs and a clock that only they move."""

from collections.abc import Iterator
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from loopmark.bench.cli.ab import Decision, decide
from loopmark.bench.judge.sequential_comparison import DecisionRules, SequentialComparison
from loopmark.bench.measure.paired_measurement import Measured
from tests.judge.test_sequential_comparison import SHARES, launch_pair, side

PAIR_SECONDS = 2.0


class Clock:
    """A stand-in for the ``time`` module."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(import_module("loopmark.bench.cli.ab"), "time", made)
    return made


def measurement(clock: Clock, effect: float, interrupt_after: int | None = None) -> Any:
    """A stand-in for ``PairedMeasurement`` whose head takes ``1 + effect`` times as long."""
    random = np.random.default_rng(0)

    def pairs(budget_seconds: float) -> Iterator[Measured]:
        index = 0
        while clock.now + PAIR_SECONDS < budget_seconds:
            if index == interrupt_after:
                raise KeyboardInterrupt
            pair, blocks, phases = launch_pair(random, index, effects=dict.fromkeys(SHARES, effect))
            clock.now += PAIR_SECONDS
            yield Measured(pair, blocks, phases, 0.0)
            index += 1

    return SimpleNamespace(pairs=pairs, sides=(side(), side()))


def step(decision: Decision) -> str:
    return decision.findings[0].verdict


def test_it_ends_as_soon_as_the_verdict_is_sure(clock: Clock) -> None:
    decision = decide(measurement(clock, 0.3), 90.0, DecisionRules())
    assert step(decision) == "slower"
    assert decision.seconds == clock.now == PAIR_SECONDS * len(decision.measured) < 30


def test_it_goes_on_for_the_least_time_and_the_verdict_stays_what_it_was(clock: Clock) -> None:
    decision = decide(measurement(clock, 0.3), 90.0, DecisionRules(), least_seconds=40.0)
    sure = decide(measurement(Clock(), 0.3), 90.0, DecisionRules())
    assert clock.now >= 40
    assert decision.findings == sure.findings
    assert decision.seconds < 30
    assert decision.sequential is not None
    assert len(decision.sequential.step_logs) == len(decision.measured) == 20


def test_an_open_question_ends_with_the_budget(clock: Clock) -> None:
    decision = decide(measurement(clock, 0.0), 6.5, DecisionRules())
    assert (step(decision), decision.seconds, decision.interrupted) == ("inconclusive", 6.0, False)


def test_ctrl_c_gives_the_verdict_on_what_there_is(clock: Clock) -> None:
    decision = decide(measurement(clock, 0.0, interrupt_after=2), 90.0, DecisionRules())
    assert decision.interrupted
    assert len(decision.measured) == 2
    assert step(decision) == "inconclusive"


def test_ctrl_c_before_the_first_pair_leaves_nothing_to_judge(clock: Clock) -> None:
    decision = decide(measurement(clock, 0.0, interrupt_after=0), 90.0, DecisionRules())
    assert (decision.measured, decision.sequential, decision.findings, decision.interrupted) == ([], None, (), True)


def test_ctrl_c_in_the_middle_of_judging_loses_no_pair(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    add, calls = SequentialComparison.add, []

    def add_half(self: SequentialComparison, *pair: Any) -> None:
        calls.append(pair)
        add(self, *pair)
        if len(calls) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(SequentialComparison, "add", add_half)
    decision = decide(measurement(clock, 0.0), 90.0, DecisionRules())
    assert decision.interrupted
    assert decision.sequential is not None
    assert len(decision.measured) == len(decision.sequential.step_logs) == 1
