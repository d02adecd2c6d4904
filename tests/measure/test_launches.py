"""Cases take turns in groups that fit a device's memory, on a stand-in for that memory."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from loopmark.bench.measure import runner as runner_module
from loopmark.bench.measure.answers import Finished, Ready, Turn, Warm
from loopmark.bench.measure.clock import Block
from loopmark.bench.measure.launches import DeviceCapacity
from loopmark.bench.measure.machine import CommandFacts, describe_machine
from loopmark.bench.measure.meters import DeviceMemoryUse, Disturbance, Spent
from loopmark.bench.measure.plan import PlanOptions, make_plan
from loopmark.bench.measure.pool import CaseEnded, WorkerPool, WorkerProcess
from loopmark.bench.measure.runner import Runner
from loopmark.bench.measure.warmup import WarmUp
from loopmark.bench.records.run import Plan, Run
from loopmark.bench.records.samples import Samples

GIB = 2**30
LOOPS = ["amp_bf16", "compile", "cuda_graph", "foreach_optimizer", "fused_optimizer", "no_zero_grad", "tf32"]
DEFAULT_BATCH = 16
ROUND_SECONDS = 1.0


@dataclass
class Card:
    """A device's memory: the processes on it, each with its bytes."""

    total: int
    fixed: int = GIB
    """A process's memory at any batch size: weights, optimizer state."""
    per_sample: int = 11 * GIB // DEFAULT_BATCH
    context: int = GIB // 2
    most: dict[str, float] = field(default_factory=lambda: {"cuda_graph": 1.2, "amp_bf16": 0.7})
    """By loop, its memory relative to eager's."""
    grows: dict[str, int] = field(default_factory=dict)
    """By loop, the memory of its first turn beyond its warm-up."""
    fixed_batches: bool = False
    holders: list["Process"] = field(default_factory=list)
    seconds: float = 0.0
    fullest: int = 0
    forgotten: list[str] = field(default_factory=list)

    @property
    def free(self) -> int:
        return self.total - sum(one.held for one in self.holders)

    def take(self, one: "Process", size: int) -> None:
        if size > self.free:
            raise CaseEnded("failed", "ran out of device memory", ran_out_of="device memory")
        one.held += size
        self.fullest = max(self.fullest, len(self.holders))


class Process(WorkerProcess):
    """A worker that only holds memory."""

    pid = 2**30  # no process has this id

    def __init__(self, card: Card, loop: str, batch: int, neighbours: int) -> None:
        self.card, self.loop, self.batch, self.held, self.turns = card, loop, batch, 0, 0
        assert neighbours == len(card.holders)
        card.holders.append(self)
        card.take(self, 0)

    def ask(self, request: str, arguments: dict[str, Any], limit_seconds: float, ours: bool) -> Any:
        card = self.card
        assert self in card.holders
        if request == "set_up":
            card.take(self, card.context)
            return Ready(0.1, self.batch, 1, False, None)
        if request == "warm":
            reserved = int((card.fixed + self.batch * card.per_sample) * card.most.get(self.loop, 1.0))
            card.take(self, reserved)
            held = DeviceMemoryUse(reserved, card.free)
            return Warm(WarmUp((0.1,) * 12, True), (), 0.1, 0.0, "none", (), "", True, held=held)
        if request == "take_turn":
            card.seconds += ROUND_SECONDS
            card.take(self, 0 if self.turns else card.grows.get(self.loop, 0))
            self.turns += 1
            return Turn(((0, Block(1, 0.1, float("nan")), Disturbance(0, 0.0, float("nan"), "", 0)),))
        if request == "spend":
            return Spent(1, 1.0, 1.0)
        return {"finish": Finished(1, None, "", None, None, None), "count_work": ()}.get(request)

    def settle(self, limit_seconds: float) -> bool:
        return True

    def close(self) -> None:
        if self in self.card.holders:
            self.card.holders.remove(self)

    kill = close


class StandIn(WorkerPool):
    """Starts processes on a simulated card."""

    def __init__(self, plan: Plan, folder: Path, card: Card) -> None:
        self.folder, self.card = folder, card
        self._plan, self._batch_sizes = plan, {}

    def start(self, workload: str, loop: str, *, neighbours: int, **_: Any) -> Any:
        batch = self._plan.batch_size or self._batch_sizes.get(workload, DEFAULT_BATCH)
        return Process(self.card, loop, DEFAULT_BATCH if self.card.fixed_batches else batch, neighbours)

    def forget_compiled(self, workload: str, loop: str, repeat: bool) -> None:
        self.card.forgotten.append(loop)


class Told:
    def __init__(self, stop_at: str) -> None:
        self.done: list[float] = []
        self._stop_at = stop_at

    def tell(self, doing: str, done: float, remaining_seconds: float | None, *_: object) -> None:
        self.done.append(done)
        if self._stop_at in doing and "starting" in doing and done > 0.2:
            raise KeyboardInterrupt


@pytest.fixture
def measure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    def measured(card: Card, stop_at: str = "never", **wishes: Any) -> tuple[Run, Samples, list[float]]:
        wish = PlanOptions(command=["loopmark"], device="cpu", threads=1, launches=2, workloads=["gpt"], **wishes)
        plan = Plan(**{**vars(make_plan(wish)), "device": "cuda:0", "budget_seconds": 6.0})
        loops = dict.fromkeys(["eager", *LOOPS])
        monkeypatch.setattr(runner_module, "apart", lambda *_: ({"gpt": None}, loops))
        monkeypatch.setattr(runner_module, "time", SimpleNamespace(perf_counter=lambda: card.seconds))
        monkeypatch.setattr(runner_module.store, "write", lambda *_: None)
        told = Told(stop_at)
        runner = Runner(CommandFacts(plan, describe_machine("cpu"), datetime.now(UTC)), told)
        run, samples = runner.run(StandIn(plan, tmp_path, card))
        assert not card.holders
        return run, samples, told.done

    return measured


def paired(run: Run, samples: Samples) -> bool:
    """True if every round of every case is also a round of eager."""
    rounds = {
        index: set(zip(rows["launch"], rows["round"], strict=True)) for index, rows in samples.blocks.groupby("case")
    }
    return all(rounds[index] <= rounds[0] for index in range(len(run.cases)))


@pytest.mark.parametrize("total", [8, 16, 24, 40, 80, 141])
def test_every_case_is_measured_beside_eager_on_a_card_of_any_size(measure: Any, total: int) -> None:
    card = Card(total * GIB)
    run, samples, done = measure(card)

    assert {case.status for case in run.cases} == {"ok"}
    assert all(len(case.launches) == 2 for case in run.cases)
    assert len({case.batch_size for case in run.cases}) == 1
    assert paired(run, samples)
    assert card.fullest >= 2
    assert done == sorted(done)


@pytest.mark.parametrize(
    ("total", "batch", "groups"), [(8, 2, 8), (16, 4, 4), (24, 8, 7), (40, 16, 8), (80, 16, 2), (141, 16, 1)]
)
def test_batches_shrink_and_cases_part_no_further_than_they_must_and_the_run_says_so(
    measure: Any, total: int, batch: int, groups: int
) -> None:
    run, _, _ = measure(Card(total * GIB))
    said = [warning for warning in run.warnings if "the device" in warning]
    expected = []
    if batch < DEFAULT_BATCH:
        expected.append(
            f"gpt: with batches of 16, no second loop is expected to fit the device beside eager, so it is measured "
            f"with batches of {batch}; choose another size with --batch-size"
        )
    if groups > 1:
        expected.append(
            f"gpt: its 9 cases do not fit on the device together; they took turns in {groups} groups, each with eager"
        )

    assert said == expected
    assert {case.batch_size for case in run.cases} == {batch}


def test_batches_that_a_person_chose_stay_and_what_does_not_fit_them_says_why(measure: Any) -> None:
    run, _, _ = measure(Card(16 * GIB), batch_size=16)
    measured = {case.label for case in run.cases if case.status == "ok"}

    assert measured == {"eager"}
    assert all(case.reason == "ran out of device memory" for case in run.cases if case.label not in measured)
    assert not any("--batch-size" in warning for warning in run.warnings)


def test_batches_that_nobody_can_choose_stay_too(measure: Any) -> None:
    run, _, _ = measure(Card(16 * GIB, fixed_batches=True))

    assert [case.label for case in run.cases if case.status == "ok"] == ["eager"]
    assert not any("--batch-size" in warning for warning in run.warnings)


def test_eager_gets_smaller_batches_where_it_does_not_fit_by_itself(measure: Any) -> None:
    run, _, _ = measure(Card(12 * GIB))

    assert {case.status for case in run.cases} == {"ok"}
    assert run.cases[0].batch_size == 4


def test_a_loop_that_takes_far_more_than_eager_comes_again_with_eager_alone(measure: Any) -> None:
    card = Card(60 * GIB, most={"compile": 3.0})
    run, samples, _ = measure(card)

    assert {case.status for case in run.cases} == {"ok"}
    assert paired(run, samples)
    assert card.forgotten == ["compile"]  # its compiled code is deleted: its first launch must compile from nothing


def test_a_loop_that_fits_with_nobody_else_is_lost_by_itself(measure: Any) -> None:
    run, _, _ = measure(Card(80 * GIB, most={"compile": 6.5}))

    assert [case.label for case in run.cases if case.status != "ok"] == ["compile"]
    assert all(len(case.launches) == 2 for case in run.cases if case.status == "ok")


@pytest.mark.parametrize("loop", ["eager", "tf32"])
def test_a_loop_that_runs_out_in_its_turn_comes_again(measure: Any, loop: str) -> None:
    run, _, _ = measure(Card(26 * GIB, per_sample=GIB // 8, grows={loop: GIB}))

    assert {case.status for case in run.cases} == {"ok"}
    assert all(len(case.launches) == 2 for case in run.cases)


def test_a_device_that_does_not_tell_its_memory_holds_whoever_comes() -> None:
    room = DeviceCapacity()
    room.note(None)

    assert room.holds_one_more()


def test_batches_stay_as_they_are_once_a_case_was_measured_with_them(measure: Any) -> None:
    run, _, _ = measure(Card(30 * GIB, grows={"eager": 3 * GIB}))

    assert len({case.batch_size for case in run.cases}) == 1
    assert not any("with batches of" in warning for warning in run.warnings)


def test_ctrl_c_while_a_later_group_starts_keeps_what_the_first_has_measured(measure: Any) -> None:
    run, _, _ = measure(Card(24 * GIB), stop_at="launch 1")
    measured = {case.label for case in run.cases if case.launches}

    assert run.interrupted
    assert "eager" in measured
    assert len(measured) >= 2
    assert any("with batches of 8" in warning for warning in run.warnings)


def test_eager_that_runs_out_beside_others_starts_over_with_them(measure: Any) -> None:
    card = Card(94 * GIB, fixed=9 * GIB, per_sample=0, context=GIB, most={}, grows={"eager": 5 * GIB})
    run, samples, _ = measure(card)

    assert {case.status for case in run.cases} == {"ok"}
    assert all(len(case.launches) == 2 for case in run.cases)
    assert paired(run, samples)


def test_batches_that_were_halved_in_vain_are_whole_again_for_the_others(measure: Any) -> None:
    card = Card(30 * GIB, fixed=8 * GIB, per_sample=GIB // 64, context=GIB, most={"eager": 4.0})
    run, _, _ = measure(card)
    eager = [case.status for case in run.cases if case.loop == "eager"]

    assert eager == ["failed", "failed"]
    assert {case.batch_size for case in run.cases if case.status == "ok"} == {DEFAULT_BATCH}
    assert not any("--batch-size" in warning or "each with" in warning for warning in run.warnings)
