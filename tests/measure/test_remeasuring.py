"""Turns under a throttle are repeated at the end of their round, by a fake worker."""

from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from loopmark.bench.measure.answers import Ready, Turn, Warm
from loopmark.bench.measure.clock import Block
from loopmark.bench.measure.launches import Collector, DeviceCapacity, LaunchState, RunningCase
from loopmark.bench.measure.meters import Disturbance
from loopmark.bench.measure.plan import PlanOptions, make_plan
from loopmark.bench.measure.pool import WorkerProcess
from loopmark.bench.measure.runner import MOST_AGAIN, Runner
from loopmark.bench.measure.schedule import Schedule
from loopmark.bench.measure.warmup import WarmUp


@dataclass
class Throttled(WorkerProcess):
    """A process whose first ``held`` turns are throttled."""

    held: int
    reason: str = "thermal slowdown"
    turns: int = 0

    def ask(self, request: str, arguments: dict[str, Any], limit_seconds: float, ours: bool) -> Turn:
        self.turns += 1
        reasons = self.reason if self.turns <= self.held else ""
        quiet = Disturbance(0, 0.0, 1e9, reasons, 0)
        return Turn(((0, Block(1, 0.01, 0.01), quiet), (1, Block(1, 0.01, 0.01), replace(quiet, throttle_reasons=""))))


@dataclass
class Watching:
    told: list[str] = field(default_factory=list)

    def tell(self, doing: str, done: float, remaining_seconds: float | None, *_: object) -> None:
        self.told.append(doing)


def sampled(processes: list[Throttled], **wishes: Any) -> Collector:
    """Three rounds, the minimum, of one case per process."""
    runner = Runner.__new__(Runner)
    plan = make_plan(
        PlanOptions(command=["loopmark"], device="cpu", budget_seconds=1e-9, launches=1, threads=1, **wishes)
    )
    runner._plan, runner._schedule, runner._collector = plan, Schedule(0), Collector()
    runner._tell = lambda *_, **__: None  # type: ignore[method-assign]
    ready = Ready(0.0, 1, 1, False, None)
    warm = Warm(WarmUp((0.01,), True), (), 0.0, 0.0, "none", (), "", True)
    live = [RunningCase(i, process, ready, warm, 1) for i, process in enumerate(processes)]  # type: ignore[arg-type]
    runner._sample(LaunchState("resnet", 0, 0, [], DeviceCapacity(), 0.0, live))
    return runner._collector


def blocks_of(collector: Collector, case: int, round_: int) -> list[str]:
    table = collector.samples().blocks
    chosen = table[(table["case"] == case) & (table["round"] == round_)]
    assert chosen["block"].tolist() == list(range(len(chosen)))
    return chosen["throttle_reasons"].tolist()


def test_a_turn_under_a_throttle_is_taken_again_in_its_round_and_both_are_kept() -> None:
    held, free = Throttled(1), Throttled(0)
    collector = sampled([held, free])
    assert (held.turns, free.turns) == (4, 3)
    assert blocks_of(collector, 0, 0) == ["thermal slowdown", "", "", ""]
    assert blocks_of(collector, 0, 1) == blocks_of(collector, 1, 0) == ["", ""]


def test_a_throttle_that_does_not_end_is_given_up_on_in_each_round() -> None:
    held = Throttled(1000)
    sampled([held])
    assert held.turns == 3 * (1 + MOST_AGAIN)


def test_a_turn_at_the_power_cap_stays_as_it_is() -> None:
    held = Throttled(1000, "power cap")
    collector = sampled([held])
    assert held.turns == 3
    assert blocks_of(collector, 0, 0) == ["power cap", ""]


def test_a_person_may_have_them_counted_as_they_are() -> None:
    held = Throttled(1000)
    sampled([held], keep_throttled=True)
    assert held.turns == 3


@pytest.mark.parametrize("kept", [True, False])
def test_the_plan_says_which(kept: bool) -> None:
    assert make_plan(PlanOptions(command=["x"], device="cpu", keep_throttled=kept)).remeasure_throttled is not kept
