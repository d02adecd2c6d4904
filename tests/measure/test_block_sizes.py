"""Steps per block: the number that fills it at the speed inside the block, not in warm-up."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from loopmark.bench.measure import device_clock as clock_module
from loopmark.bench.measure import runner as runner_module
from loopmark.bench.measure import worker
from loopmark.bench.measure.answers import Finished, Ready, Rows, Turn, Warm
from loopmark.bench.measure.assignment import Assignment
from loopmark.bench.measure.batch_attempt import BatchAttempt
from loopmark.bench.measure.clock import HostClock
from loopmark.bench.measure.device_clock import GraphClock
from loopmark.bench.measure.launches import Collector, DeviceCapacity, LaunchState
from loopmark.bench.measure.meters import Disturbance
from loopmark.bench.measure.paired_measurement import PairedMeasurement
from loopmark.bench.measure.plan import PlanOptions, make_plan
from loopmark.bench.measure.pool import WorkerProcess
from loopmark.bench.measure.runner import Runner
from loopmark.bench.measure.warmup import WINDOW, WarmUp
from loopmark.bench.records.run import Case
from loopmark.loops.cuda_graphs import GraphedStep
from tests.measure.test_clock import FakeTask, Queue, Timeline, queued_clock, step_on

REPLAY_MS = 0.1
HELD = Warm(WarmUp((0.0005,), True), (), 0.0, 0.0, "none", (), "", False, REPLAY_MS / 1e3)
"""A graph's warm-up: its stopwatch holds the device for most of a step's 0.5 ms."""
PLAIN = Warm(WarmUp((0.0005,), True), (), 0.0, 0.0, "none", (), "", True)


IN_MEMORY = cast(Any, SimpleNamespace(epochs=0, batches=[]))


class Graph(GraphedStep):
    """A captured step that takes 0.1 ms on the device and 0.01 ms on the host."""

    def __init__(self, host: Timeline, queue: Queue) -> None:
        super().__init__(lambda task, inputs, targets: iter(()))
        self._host, self._queue, self.replays = host, queue, 0

    def __call__(self, task: Any, inputs: Any, targets: Any) -> None:
        self.replays += 1
        self._host.spend(0.01)
        self._queue.work(REPLAY_MS)


class Process(WorkerProcess):
    """A worker process that answers at once, and records the requests for turns."""

    pid = 2**30  # no process has this id

    def __init__(self, warm: Warm) -> None:
        self._warm, self.turns = warm, list[dict[str, Any]]()

    def ask(self, request: str, arguments: dict[str, Any], limit_seconds: float, ours: bool) -> Any:
        if request == "take_turn":
            self.turns.append(arguments)
        return {
            "set_up": Ready(0.0, 8, 1, False, None),
            "rows": Rows(8, None, 8),
            "warm": self._warm,
            "take_turn": Turn(()),
            "finish": Finished(1, None, "", None, None, None),
        }[request]


def warmed(clock: HostClock, host: Timeline, monkeypatch: pytest.MonkeyPatch) -> tuple[Warm, int]:
    """The warm-up reported by a worker with ``clock``, and the number of steps it has counted by then."""
    monkeypatch.setattr(worker, "time", SimpleNamespace(perf_counter=lambda: host.now / 1e9))
    one = worker.Worker(Assignment("", "", "cpu", "small", None, 0, 1, (), Path(), 0, Path()))
    one._clock, one._started, one._task = clock, 0.0, IN_MEMORY
    warm = one.warm(ceiling_seconds=10.0)
    return warm, one._steps


def test_a_turn_numbers_its_steps_with_those_before_each_block_on_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    one = worker.Worker(Assignment("", "", "cpu", "small", None, 0, 1, (), Path(), 0, Path()))
    one._task, one._counts_rows = IN_MEMORY, False
    one._clock, one._steps = queued_clock(monkeypatch, host_ms=1.0, device_ms=20.0), 10
    one._meter = cast(Any, SimpleNamespace(begin=lambda: None, end=lambda _: Disturbance(0, 0.0, 0.0, "", 0)))
    turn = one.take_turn(order=(True, False, False, True), steps=2, own_processes=1)
    collector = Collector()
    collector.add_warm_up((0, 0), PLAIN)
    collector.add_turn((0, 0), 0, turn)
    samples = collector.samples()

    assert samples.blocks["first_step"].tolist() == [12, 15, 18, 21]
    assert samples.phases["step"].unique().tolist() == [11, 12, 13, 20, 21, 22]
    assert samples.losses["step"].tolist() == [11, 12, 13, 20, 21, 22]
    assert one._steps == 23
    assert samples.blocks["device_seconds"].tolist() == pytest.approx([0.08] * 4)


def test_a_graphs_step_is_as_long_as_its_replays_are_back_to_back(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Timeline()
    queue = Queue(host)
    graph, task = Graph(host, queue), FakeTask(host, fetch_ms=0.0)
    monkeypatch.setattr(clock_module.torch, "cuda", queue.names())
    warm, counted = warmed(GraphClock(cast(Any, task), graph, now=host), host, monkeypatch)

    assert warm.warm_up.steady_step_seconds > 3 * REPLAY_MS / 1e3
    assert warm.step_seconds == pytest.approx(REPLAY_MS / 1e3, rel=0.05)
    assert counted == graph.replays == len(warm.warm_up.seconds) + WINDOW


def test_any_other_step_is_as_long_as_in_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Timeline()
    warm, counted = warmed(HostClock(cast(Any, FakeTask(host)), step_on(host), now=host), host, monkeypatch)

    assert warm.device_step_seconds is None
    assert warm.step_seconds == warm.warm_up.steady_step_seconds == pytest.approx(0.0155)
    assert counted == len(warm.warm_up.seconds)


def test_a_runs_blocks_are_filled_by_steps_as_they_run_in_them(monkeypatch: pytest.MonkeyPatch) -> None:
    case = SimpleNamespace(workload="", loop="", label="", status="ok", repeat=False, data_sha256=None, phases=())
    monkeypatch.setattr(runner_module, "replace", lambda record, **_: record)
    runner = Runner.__new__(Runner)
    runner._plan = make_plan(PlanOptions(command=["loopmark"], device="cpu", threads=1))
    runner._cases, runner._unfinished, runner._cycles = [cast(Case, case)], set(), {}
    runner._collector = cast(Any, SimpleNamespace(add_warm_up=lambda *_: None))
    lives = []
    for warm in (PLAIN, HELD):
        runner._pool = cast(Any, SimpleNamespace(start=lambda *_, warm=warm, **__: Process(warm)))
        lives.append(runner._start(0, LaunchState("", 0, 0, [], DeviceCapacity(), 0.0)))
    runner._choose_blocks(LaunchState("", 0, 0, [], DeviceCapacity(), 0.0, lives))

    assert [live.steps for live in lives] == [10, 50]
    assert runner._turn_limit(lives[1]) == pytest.approx(30 + 50 * (8 * 50 + 1) * REPLAY_MS / 1e3)


@pytest.mark.parametrize(("warm", "steps"), [(PLAIN, 10), (HELD, 50)])
def test_a_comparisons_blocks_are_filled_by_steps_as_they_run_in_them(warm: Warm, steps: int) -> None:
    measurement, process = PairedMeasurement.__new__(PairedMeasurement), Process(warm)
    measurement._random, measurement._block_seconds, measurement._limit_seconds = np.random.default_rng(0), 0.005, 60.0
    measurement._prepared = cast(Any, (SimpleNamespace(name="base"), SimpleNamespace(name="head")))
    started = dict.fromkeys((False, True), warm)
    measurement._index, measurement._blocks = 0, []
    measurement._quads(cast(Any, {False: process, True: process}), started, 0.0)

    assert {turn["steps"] for turn in process.turns} == {steps}


@pytest.mark.parametrize(("warm", "steps"), [(PLAIN, 10), (HELD, 50)])
def test_a_batch_sizes_blocks_are_filled_by_steps_as_they_run_in_them(warm: Warm, steps: int) -> None:
    process = Process(warm)
    BatchAttempt(8, block_seconds=0.005, limit_seconds=60.0).by(cast(Any, process))

    assert [turn["steps"] for turn in process.turns] == [steps]
