"""Traces of a real device: kernels, each with the phase that launched it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from loopmark.bench.measure.device_clock import make_clock
from loopmark.bench.measure.profiler import Traced, profile_steps, read_timeline
from loopmark.bench.records.trace import Profile
from loopmark.loops.catalog import WORKLOADS, find_loop
from loopmark.loops.cuda_graphs import WARMUP_STEPS
from loopmark.loops.technique import Skip

pytestmark = pytest.mark.cuda
CUDA = torch.device("cuda")
STEPS = 3


@pytest.fixture(autouse=True)
def _compiled_code_is_forgotten() -> Iterator[None]:
    yield
    torch.compiler.reset()


def profiled(name: str, file: Path) -> Profile:
    loop = find_loop(name)
    if reason := loop.lacks(CUDA):
        pytest.skip(reason)
    task = WORKLOADS["resnet"].make(CUDA, "small", None, 0)
    try:
        step = loop.prepare(task)
    except Skip as skip:
        pytest.skip(str(skip))
    clock = make_clock(task, step)
    for _ in range(WARMUP_STEPS + 3):
        clock.take_step()
    return profile_steps(Traced(clock, task, step), STEPS, file)


@pytest.mark.parametrize("name", ["eager", "amp_bf16", "compile", "fused_optimizer"])
def test_every_phase_that_computes_has_kernels_of_its_own(name: str, tmp_path: Path) -> None:
    profile = profiled(name, tmp_path / "trace.json.gz")
    kernels = {phase.phase: phase.costs for phase in profile.phases}

    assert profile.counted == "kernels"
    assert all(kernels[phase] for phase in ("forward", "loss", "backward", "optimizer"))
    assert sum(cost.calls_per_step for cost in profile.unattributed) == 0


def test_backwards_kernels_are_launched_from_another_thread_and_still_its_own(tmp_path: Path) -> None:
    file = tmp_path / "trace.json.gz"
    profile = profiled("eager", file)
    timeline = read_timeline(file)
    main = {span.place for span in timeline.ranges if span.name == "step"}

    assert {span.place for span in timeline.launches} - main
    backward = next(phase for phase in profile.phases if phase.phase == "backward")
    forward = next(phase for phase in profile.phases if phase.phase == "forward")
    assert backward.seconds_per_step > forward.seconds_per_step / 2


def test_a_replays_kernels_are_all_in_the_step(tmp_path: Path) -> None:
    profile = profiled("cuda_graph", tmp_path / "trace.json.gz")
    (whole,) = profile.phases

    assert profile.graphed
    assert whole.phase == "step"
    assert sum(cost.calls_per_step for cost in whole.costs) > 20
    assert profile.unattributed == ()
