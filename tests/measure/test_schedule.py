"""The order of turns, and the forecast duration of a run."""

from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from loopmark.bench.measure import plan as plan_module
from loopmark.bench.measure import runner as runner_module
from loopmark.bench.measure.answers import Finished, Ready, Turn, Warm
from loopmark.bench.measure.clock import Block
from loopmark.bench.measure.machine import CommandFacts, describe_machine
from loopmark.bench.measure.meters import Disturbance, Spent
from loopmark.bench.measure.plan import PlanOptions, ceiling_seconds, make_plan, terms_within_a_run
from loopmark.bench.measure.pool import WorkerProcess
from loopmark.bench.measure.runner import Runner
from loopmark.bench.measure.schedule import (
    Forecast,
    Part,
    Schedule,
    blocks_a_turn,
    costs_on,
    parts_of,
    sentence,
    steps_per_block,
)
from loopmark.bench.measure.warmup import Cycle, WarmUp
from loopmark.bench.records.run import Plan
from loopmark.loops.catalog import find_loop
from tests.support.synthetic import Truth, make_run


def test_the_same_seed_makes_the_same_choices_and_another_seed_makes_others() -> None:
    def choices(seed: int) -> list[object]:
        schedule = Schedule(seed)
        return [schedule.shuffled("abcdefgh") for _ in range(5)] + [schedule.turn() for _ in range(20)]

    assert choices(1) == choices(1)
    assert choices(1) != choices(2)


def test_every_case_comes_first_about_as_often_as_any_other() -> None:
    schedule = Schedule(0)
    firsts = Counter(schedule.shuffled("abcd")[0] for _ in range(4000))

    assert set(firsts) == set("abcd")
    assert max(firsts.values()) < 1.2 * min(firsts.values())


def test_a_turn_is_two_quads_in_each_of_which_a_steady_drift_cancels() -> None:
    schedule = Schedule(0)
    seen = set()
    for _ in range(100):
        turn = schedule.turn()
        for quad in (turn[:4], turn[4:]):
            seen.add(quad)
            lapped = [place for place, laps in enumerate(quad) if laps]
            assert sum(lapped) == 3  # 0 + 3 or 1 + 2: the same mean place as without laps
    assert seen == {(True, False, False, True), (False, True, True, False)}


def test_a_turn_of_slow_steps_is_one_quad_where_each_block_has_a_step_before_it() -> None:
    assert [blocks_a_turn(steps, lead_in) for steps, lead_in in ((1, 0), (1, 1), (2, 1), (50, 0))] == [8, 4, 8, 8]
    assert len(Schedule(0).turn(4)) == 4


def test_a_turn_of_epochs_that_take_long_is_one_block_of_each_kind() -> None:
    short, long = (Cycle(10, seconds, is_epoch=True) for seconds in (0.01, 0.4))
    assert [blocks_a_turn(10, 0, cycle) for cycle in (short, long)] == [8, 2]
    assert {Schedule(seed).turn(2) for seed in range(20)} == {(True, False), (False, True)}


def test_a_block_holds_whole_cycles_of_the_data_and_at_least_one() -> None:
    assert steps_per_block(0.001, 0.005, Cycle(7, 0.4, is_epoch=True)) == 7
    assert steps_per_block(0.001, 0.005, Cycle(7, 0.001, is_epoch=True)) == 35


def test_a_block_holds_as_many_steps_as_fit_and_at_least_one() -> None:
    assert steps_per_block(0.001, 0.005) == 5
    assert steps_per_block(2.0, 0.005) == 1
    assert steps_per_block(1e-9, 0.005) == 1000


def compiles(loop: str) -> bool:
    return any(technique.compiles for technique in find_loop(loop).techniques)


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@dataclass
class Process(WorkerProcess):
    """A worker that only spends the time its device needs."""

    clock: Clock
    device: str
    workload: str
    loop: str
    launch: int
    pid = 1

    def ask(self, request: str, arguments: dict[str, Any], limit_seconds: float, ours: bool) -> Any:
        costs = costs_on(self.device, self.workload)
        if request == "set_up":
            self.clock.seconds += costs.start
            return Ready(costs.start, 64, 1, compiles(self.loop), None)
        if request == "warm":
            compilation = (costs.compiled if self.launch else costs.compilation) if compiles(self.loop) else 0.0
            self.clock.seconds += costs.warm_up + compilation
            cache = "none" if not compilation else "warm" if self.launch else "cold"
            warm_up, lead_in = WarmUp((costs.step,) * 12, True), int(self.device != "cpu")
            return Warm(warm_up, (), 0.0, compilation, cache, (), "resident set", True, lead_in=lead_in)
        if request == "take_turn":
            lead_in = 0 if self.device == "cpu" else 1
            self.clock.seconds += (1 + len(arguments["order"]) * (lead_in + arguments["steps"])) * costs.step
            block = Block(arguments["steps"], arguments["steps"] * costs.step, float("nan"))
            return Turn(((0, block, Disturbance(0, 0.0, float("nan"), "", 0)),))
        if request == "spend":
            self.clock.seconds += costs.energy
            return Spent(1, 1.0, 1.0)
        if request == "finish":
            return Finished(1, None, "resident set", None, None, None)
        return () if request == "count_work" else None

    def settle(self, limit_seconds: float) -> bool:
        return True

    def close(self) -> None:
        pass

    kill = close


@dataclass
class WorkerPool:
    clock: Clock
    device: str
    folder: Path

    def start(self, workload: str, loop: str, *, log: str, neighbours: int, repeat: bool) -> Process:
        return Process(self.clock, self.device, workload, loop, int(log.rpartition("-")[2]))


class Told:
    def __init__(self) -> None:
        self.left: list[float | None] = []

    def tell(self, doing: str, done: float, remaining_seconds: float | None, *_: object) -> None:
        self.left.append(remaining_seconds)


@pytest.fixture
def plan() -> Plan:
    return make_plan(PlanOptions(command=["loopmark", "run"], device="cpu", threads=1, launches=3))


@pytest.mark.parametrize("device", ["cpu", "cuda:0"])
def test_timing_takes_as_long_as_was_said_before_it_began(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, plan: Plan, device: str
) -> None:
    clock, told = Clock(), Told()
    machine = describe_machine("cpu")
    loops = [loop for loop in plan.loops if loop != "tf32"]
    monkeypatch.setattr(
        runner_module, "apart", lambda *_: (dict.fromkeys(plan.workloads), {**dict.fromkeys(loops), "tf32": "no GPU"})
    )
    monkeypatch.setattr(runner_module, "time", SimpleNamespace(perf_counter=clock))
    monkeypatch.setattr(runner_module.store, "write", lambda *_: None)
    on_device = Plan(**{**vars(plan), "device": device})
    runner = Runner(CommandFacts(on_device, machine, datetime.now(UTC)), told)

    parts = parts_of(on_device, runner.cases, None, ceiling_seconds=0.0)
    runner.run(WorkerPool(clock, device, tmp_path))  # type: ignore[arg-type]

    assert len(runner.cases) == len(plan.workloads) * (len(loops) + 1)
    assert clock.seconds == pytest.approx(sum(part.seconds for part in parts), rel=0.1)


def test_a_training_is_foretold_no_longer_than_its_budget(plan: Plan) -> None:
    cases = [("resnet", "eager")]
    short, long = (parts_of(plan, cases, terms_within_a_run(seeds, quick=True), 0.0)[-1] for seeds in (1, 3))
    assert long.seconds == pytest.approx(3 * short.seconds)
    assert terms_within_a_run(1, quick=False, device="cuda:0").budget_seconds == 5.0


def test_a_run_at_the_defaults_on_a_gpu_is_foretold_to_take_ten_minutes_and_trains_only_when_told_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(plan_module, "_device", lambda _: "cuda:0")
    at_defaults = make_plan(PlanOptions(command=["loopmark", "run"], threads=1))
    terms = terms_within_a_run(None, quick=False, device="cuda:0")
    cases = [(workload, loop) for workload in at_defaults.workloads for loop in ("eager", *at_defaults.loops)]
    runnable = [case for case in cases if case[1] != "channels_last" or case[0] == "resnet"]
    parts = parts_of(at_defaults, runnable, terms, ceiling_seconds(quick=False))

    assert at_defaults.size == "large"
    assert sum(part.seconds for part in parts) == pytest.approx(600, abs=30)
    assert [part.seconds for part in parts if part.name == "training"] == [0.0]
    assert terms_within_a_run(None, quick=False).seeds == terms_within_a_run(1, quick=False, device="cuda:0").seeds == 1


def test_the_sentence_names_what_takes_the_longest_first_and_leaves_out_what_takes_little() -> None:
    parts = (Part("sampling", 120.0), Part("starts", 400.0), Part("ceilings", 8.0))
    assert sentence(parts) == "about 9 minutes: starts 7, sampling 2"
    assert sentence([Part("sampling", 6.0), Part("starts", 1.4)]) == "about 7 seconds: sampling 6, starts 1.4"


def test_later_launches_are_foretold_without_the_first_ones_compilation() -> None:
    forecast = Forecast(3, {"a": 1.0, "b": 40.0}, {"a": 1.0, "b": 8.0}, {"a": 5.0, "b": 5.0})
    forecast.started("a", 0, overhead_seconds=30.0, compile_seconds=20.0)

    # Left: 3 s of this sampling, b's first launch (40 + 5), and two later launches of each (10 + 5, and 8 + 5).
    assert forecast.remaining_seconds("a", 0, elapsed_seconds=32.0) == 3 + 45 + 2 * 15 + 2 * 13


def test_a_start_is_expected_to_take_as_long_as_its_last_one_without_compiling(plan: Plan) -> None:
    run, _ = make_run([Truth("compile", compile_seconds=20.0)], launches=2)
    (case,) = run.cases
    forecast = Forecast.of(plan, [("resnet", "compile"), ("resnet", "eager")])
    starts = [case.launches[:1], case.launches]
    own = [launch.setup_seconds + launch.warmup_seconds for launch in case.launches]

    assert forecast.next_start(replace(case, launches=())) == ("compiling", costs_on("cpu", "resnet").compilation)
    assert forecast.next_start(replace(case, loop="eager", launches=())) == ("starting", None)
    assert [forecast.next_start(replace(case, launches=some))[1] for some in starts] == [own[0] - 20.0, own[1]]


def test_the_last_block_of_the_last_launch_leaves_nothing() -> None:
    forecast = Forecast(1, {"a": 1.0}, {"a": 1.0}, {"a": 5.0})
    forecast.started("a", 0, 1.0, 0.0)

    assert forecast.remaining_seconds("a", 0, elapsed_seconds=6.5) == 0


def test_a_loop_of_ones_own_is_looked_up_by_its_file_and_not_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "bench.py").write_text("from loopmark.loops.eager import step\n")
    own = make_plan(
        PlanOptions(command=["x"], device="cpu", threads=1, loops=[f"{tmp_path / 'bench.py'}:step", "compile"])
    )
    parts = {p.name: p.seconds for p in parts_of(own, [("resnet", "bench:step"), ("resnet", "compile")], None, 0.0)}

    assert parts["compilation"] == parts_of(own, [("resnet", "compile")], None, 0.0)[1].seconds > 0
