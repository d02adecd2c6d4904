"""The clocks on a real device: kernels of known length from any launcher, and the cost of the laps."""

import statistics
from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from loopmark.bench.measure.clock import HostClock
from loopmark.bench.measure.device_clock import make_clock
from loopmark.bench.measure.proof.precision import Switches
from loopmark.loops.catalog import TECHNIQUES, WORKLOADS, find_loop
from loopmark.loops.cuda_graphs import WARMUP_STEPS, GraphedPhases, GraphedStep
from loopmark.loops.loop import EAGER
from loopmark.loops.task import Task
from loopmark.loops.technique import Driver, Skip, Step
from tests.support.tiny import make_tiny_task, prepared

pytestmark = pytest.mark.cuda
CUDA = torch.device("cuda")
CYCLES = {
    "zero_grad": 1_000_000,
    "forward": 4_000_000,
    "loss": 2_000_000,
    "backward": 8_000_000,
    "optimizer": 3_000_000,
}
"""Device cycles of each phase: about half a millisecond to five."""
ALLOWED, LAUNCH_SECONDS = 0.01, 10e-6
"""Relative tolerance; and the launch between two kernels of a graph for each phase."""


@pytest.fixture(autouse=True)
def _switches_that_a_technique_turns_are_turned_back() -> Iterator[None]:
    with Switches.now().restored():
        yield


def sleeping(task: Task, _inputs: Tensor, _targets: Tensor) -> Iterator[str]:
    for phase, cycles in CYCLES.items():
        torch.cuda._sleep(cycles)
        yield phase
    task.last_loss = torch.zeros((), device=CUDA)


def seconds_of(cycles: int) -> float:
    """The time of one kernel with this number of cycles, by two events right around it."""
    times = []
    for _ in range(20):
        before, after = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda._sleep(1_000_000)  # the host is ahead when the kernel begins
        before.record()
        torch.cuda._sleep(cycles)
        after.record()
        torch.cuda.synchronize()
        times.append(before.elapsed_time(after) / 1e3)
    return statistics.median(times)


@pytest.mark.parametrize("driver", [lambda step: step, GraphedStep, GraphedPhases])
def test_kernels_of_known_length_are_recovered_within_one_per_cent(driver: Callable[[Step], Step | Driver]) -> None:
    task, _ = prepared(EAGER, make_tiny_task(CUDA))
    clock = make_clock(task, driver(sleeping))
    for _ in range(WARMUP_STEPS + 2):
        clock.plain(1)
    block = clock.lapped(30).block()
    if not block.phases:
        pytest.skip("this torch has no external events")
    known = {phase: seconds_of(cycles) for phase, cycles in CYCLES.items()}
    found = {phase: float(statistics.median(block.device[:, i])) for i, phase in enumerate(block.phases)}
    assert {phase: found[phase] for phase in CYCLES} == pytest.approx(known, rel=ALLOWED, abs=LAUNCH_SECONDS)


def test_a_graphs_phases_are_those_of_a_graph_for_each_phase() -> None:
    """Two methods that share only the device's clock: events inside one graph, and between the launches of five."""
    shares = []
    for name in ("cuda_graph", "graph_phases"):
        clock = warm(name, "resnet", "large")
        block = clock.lapped(10).block()
        if not block.phases:
            pytest.skip("this torch has no external events")
        medians = {phase: float(statistics.median(block.device[:, i])) for i, phase in enumerate(block.phases)}
        whole = sum(medians.values())
        shares.append({phase: medians[phase] / whole for phase in ("forward", "backward", "optimizer")})
    assert shares[0] == pytest.approx(shares[1], abs=0.02)


def test_a_graphs_phases_add_up_to_its_replay() -> None:
    clock = warm("cuda_graph", "resnet", "large")
    block = clock.lapped(10).block()
    if not block.phases:
        pytest.skip("this torch has no external events")
    replay = statistics.median(clock.plain(10).device_seconds / 10 for _ in range(5))
    assert float(statistics.median(block.device.sum(axis=1))) == pytest.approx(replay, rel=0.02)


def warm(name: str, workload: str, size: str = "small") -> HostClock:
    loop = find_loop(name)
    if reason := loop.lacks(CUDA):
        pytest.skip(reason)
    try:
        task, step = prepared(loop, WORKLOADS[workload].make(CUDA, size, None, 0))
        clock = make_clock(task, step)
        for _ in range(WARMUP_STEPS + 2):
            clock.plain(1)
    except Skip as skip:
        pytest.skip(str(skip))
    return clock


@pytest.mark.parametrize("workload", WORKLOADS)
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.long) if "compile" in name else name
        for name in ("eager", *TECHNIQUES)
        if name != "amp_fp16"
    ],
)
def test_no_step_waits_for_the_device(name: str, workload: str) -> None:
    # amp_fp16's scaler synchronises to decide on skipping the step, unless the optimizer is fused.
    clock = warm(name, workload)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(3):
            clock.take_step()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    loss = clock.last_loss()
    assert loss is not None
    assert bool(loss.isfinite())  # the steps really ran


def test_timing_the_phases_of_a_large_step_costs_at_most_half_a_per_cent() -> None:
    clock = warm("eager", "resnet", "large")
    ratios = []
    for _ in range(15):
        plain, lapped, again = clock.plain(4).device_seconds, clock.lapped(4).block().device_seconds, clock.plain(4)
        ratios.append(lapped / statistics.mean([plain, again.device_seconds]))
    assert statistics.median(ratios) <= 1.005


def test_events_of_a_ring_that_is_used_again_are_read_before_they_are_overwritten() -> None:
    task, _ = prepared(EAGER, make_tiny_task(CUDA))
    clock = make_clock(task, sleeping)
    clock.plain(2)
    totals = [clock.lapped(3).block().device_seconds for _ in range(6)]
    assert all(later == pytest.approx(earlier, rel=ALLOWED) for earlier, later in pairwise(totals))
