"""Trials: the steps of each segment, and trials that run out of device memory beside other trials."""

from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import pytest

from loopmark.bench.measure.answers import Ready
from loopmark.bench.measure.pool import CaseEnded, WorkerProcess
from loopmark.bench.measure.schedule import Schedule
from loopmark.bench.measure.training.session import Begun, Segment
from loopmark.bench.measure.training.stopping import Terms
from loopmark.bench.measure.training.trials import SEGMENT_STEPS, TrainingCollector, Trials, segments
from loopmark.bench.records.training import Target


@pytest.mark.parametrize("epoch", [1, 5, 22, SEGMENT_STEPS, SEGMENT_STEPS + 1, 432, 1000])
def test_quality_is_measured_at_the_end_of_each_epoch_and_often_enough_within(epoch: int) -> None:
    taken = list(islice(segments(epoch), 200))
    ends = {sum(taken[: n + 1]) for n in range(len(taken))}
    assert {n * epoch for n in range(1, sum(taken) // epoch + 1)} <= ends
    assert max(taken) <= SEGMENT_STEPS
    assert min(taken) > 0


def test_where_nobody_knows_how_long_an_epoch_is_it_is_measured_as_often() -> None:
    assert list(islice(segments(None), 3)) == [SEGMENT_STEPS] * 3
    assert list(islice(segments(0), 3)) == [SEGMENT_STEPS] * 3


TERMS = Terms(seeds=1, until="target", budget_seconds=100.0)
LOOPS = ("eager", "compile", "cuda_graph", "tf32")


@dataclass
class Card:
    """Room for ``room`` processes that train at once, besides those that are only set up."""

    room: int
    fails_in: str = "train"
    holders: list["Process"] = field(default_factory=list)
    started: list[str] = field(default_factory=list)


class Process(WorkerProcess):
    """A worker whose third segment reaches the target."""

    def __init__(self, card: Card, loop: str) -> None:
        self.card, self.loop, self.segments = card, loop, 0
        card.started.append(loop)

    def ask(self, request: str, arguments: dict[str, Any], limit_seconds: float, ours: bool) -> Any:
        if request == self.card.fails_in and self not in self.card.holders:
            if len(self.card.holders) >= self.card.room:
                raise CaseEnded("failed", "ran out of device memory", ran_out_of="device memory")
            self.card.holders.append(self)
        if request == "set_up":
            return Ready(0.1, 1, 1, False, None)
        if request == "begin_training":
            return Begun(Target("loss", 1.0, False), 5, 9.0)
        self.segments += 1
        return Segment(1.0, (), (3.0,) * 5, 0.5 if self.segments == 3 else 2.0, float("nan"), 0.0, "none", None, None)

    def close(self) -> None:
        if self in self.card.holders:
            self.card.holders.remove(self)

    kill = close


@dataclass
class WorkerPool:
    card: Card
    limit_seconds: float = 9.0

    def start(self, workload: str, loop: str, **_: Any) -> Process:
        return Process(self.card, loop)


def silence(*_: object) -> None:
    pass


@pytest.mark.parametrize("fails_in", ["set_up", "train"])
@pytest.mark.parametrize("room", [1, 2, 3, 4])
def test_every_loop_trains_to_its_end_whatever_room_there_is(room: int, fails_in: str) -> None:
    card, collector = Card(room, fails_in), TrainingCollector()
    Trials("gpt", 0, TERMS, WorkerPool(card), collector).train(LOOPS, {}, Schedule(0), silence)  # type: ignore[arg-type]

    assert [(trial.loop, trial.ending, trial.steps) for trial in collector.trials] == [
        (loop, "reached the target", 15) for loop in LOOPS
    ]
    evaluations = collector.samples().evaluations
    assert evaluations.groupby("trial")["step"].apply(list).tolist() == [[0, 5, 10, 15]] * len(LOOPS)
    assert len(card.started) == 2 * len(LOOPS) - room
    assert not card.holders


def test_a_loop_that_does_not_fit_by_itself_says_so(room: int = 0) -> None:
    endings: dict[Any, Any] = {}
    collector = TrainingCollector()
    Trials("gpt", 0, TERMS, WorkerPool(Card(room)), collector).train(LOOPS, endings, Schedule(0), silence)  # type: ignore[arg-type]

    assert {(trial.status, trial.reason) for trial in collector.trials} == {("failed", "ran out of device memory")}
    assert len(endings) == len(LOOPS)
