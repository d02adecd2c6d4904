"""Trials that run out of device memory beside others train when these have ended."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from loopmark.bench.measure.answers import Ready
from loopmark.bench.measure.process import CaseEnded, WorkerProcess
from loopmark.bench.measure.schedule import Schedule
from loopmark.bench.measure.training.course import Begun, Leg
from loopmark.bench.measure.training.notebook import Notebook
from loopmark.bench.measure.training.terms import Terms
from loopmark.bench.measure.training.trials import Trials
from loopmark.bench.records.training import Target

TERMS = Terms(seeds=1, until="target", budget_seconds=100.0)
LOOPS = ("eager", "compile", "cuda_graph", "tf32")


@dataclass
class Card:
    """Has room for so many that train at once, beside those that are set up and no more."""

    room: int
    fails_in: str = "train"
    holders: list["Process"] = field(default_factory=list)
    started: list[str] = field(default_factory=list)


class Process(WorkerProcess):
    """A worker whose third leg reaches the target."""

    def __init__(self, card: Card, loop: str) -> None:
        self.card, self.loop, self.legs = card, loop, 0
        card.started.append(loop)

    def ask(self, request: str, arguments: dict[str, Any], limit_seconds: float, ours: bool) -> Any:
        if request == self.card.fails_in and self not in self.card.holders:
            if len(self.card.holders) >= self.card.room:
                raise CaseEnded("failed", "ran out of device memory", ran_out_of="device memory")
            self.card.holders.append(self)
        if request == "set_up":
            return Ready(0.1, 1, 1, False, None)
        if request == "begin_course":
            return Begun(Target("loss", 1.0, False), 5, 9.0)
        self.legs += 1
        return Leg(1.0, (), (3.0,) * 5, 0.5 if self.legs == 3 else 2.0, float("nan"), 0.0, "none", None, None)

    def close(self) -> None:
        if self in self.card.holders:
            self.card.holders.remove(self)

    kill = close


@dataclass
class Crew:
    card: Card
    limit_seconds: float = 9.0

    def start(self, workload: str, loop: str, **_: Any) -> Process:
        return Process(self.card, loop)


class Silence:
    def tell(self, *_: object) -> None:
        pass


@pytest.mark.parametrize("fails_in", ["set_up", "train"])
@pytest.mark.parametrize("room", [1, 2, 3, 4])
def test_every_loop_trains_to_its_end_whatever_room_there_is(room: int, fails_in: str) -> None:
    card, notebook = Card(room, fails_in), Notebook()
    Trials("gpt", 0, TERMS, Crew(card), notebook).train(LOOPS, {}, Schedule(0), Silence())  # type: ignore[arg-type]

    assert [(trial.loop, trial.ending, trial.steps) for trial in notebook.trials] == [
        (loop, "reached the target", 15) for loop in LOOPS
    ]
    evaluations = notebook.samples().evaluations
    assert evaluations.groupby("trial")["step"].apply(list).tolist() == [[0, 5, 10, 15]] * len(LOOPS)
    assert len(card.started) == 2 * len(LOOPS) - room
    assert not card.holders


def test_a_loop_that_does_not_fit_by_itself_says_so(room: int = 0) -> None:
    endings: dict[Any, Any] = {}
    notebook = Notebook()
    Trials("gpt", 0, TERMS, Crew(Card(room)), notebook).train(LOOPS, endings, Schedule(0), Silence())  # type: ignore[arg-type]

    assert {(trial.status, trial.reason) for trial in notebook.trials} == {("failed", "ran out of device memory")}
    assert len(endings) == len(LOOPS)
