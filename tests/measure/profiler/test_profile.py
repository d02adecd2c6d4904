"""A real trace of a few steps on this CPU, and a stand-in for a GPU's."""

import gzip
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
import torch._inductor.config
from torch import Tensor

from loopmark.bench.measure import profiler
from loopmark.bench.measure.clock import BadStep, HostClock
from loopmark.bench.measure.device_clock import make_clock
from loopmark.bench.measure.profiler import Traced, name_compiled_kernels, profile_steps
from loopmark.bench.measure.timeline import NOT_COUNTED
from loopmark.bench.records.trace import OUTSIDE, Profile
from loopmark.loops import eager
from loopmark.loops.catalog import find_loop
from loopmark.loops.task import Task
from loopmark.loops.technique import Driver, Skip
from tests.measure.profiler.events import kernel, launch, step
from tests.support.tiny import CPU, make_tiny_task, prepared

STEPS = 3
PHASES = ["data", "zero_grad", "forward", "loss", "backward", "optimizer"]


def traced(name: str) -> Traced:
    task, step = prepared(find_loop(name), make_tiny_task())
    return Traced(make_clock(task, step), task, step)


def events_of(file: Path) -> list[dict[str, Any]]:
    with gzip.open(file, "rt", encoding="utf-8") as content:
        events = json.load(content)["traceEvents"]
    return [event for event in events if event["ph"] == "X"]


def ranges_of(file: Path, *names: str) -> list[dict[str, Any]]:
    found = [e for e in events_of(file) if e["cat"] == "user_annotation" and e["name"] in names]
    return sorted(found, key=lambda event: event["ts"])


def within(inner: dict[str, Any], outer: dict[str, Any]) -> bool:
    after = outer["ts"] <= inner["ts"]
    return bool(after and inner["ts"] + inner["dur"] <= outer["ts"] + outer["dur"] and inner["tid"] == outer["tid"])


@pytest.fixture(scope="module")
def eager_trace(tmp_path_factory: pytest.TempPathFactory) -> tuple[Profile, Path]:
    file = tmp_path_factory.mktemp("trace") / "trace.json.gz"
    return profile_steps(traced("eager"), STEPS, file), file


def test_the_trace_has_each_phase_of_each_step_as_a_range_in_order_within_its_step(
    eager_trace: tuple[Profile, Path],
) -> None:
    _, file = eager_trace
    steps = ranges_of(file, "step")
    phases = ranges_of(file, *PHASES)

    assert len(steps) == STEPS
    for one in steps:
        inside = [phase for phase in phases if within(phase, one)]
        assert [phase["name"] for phase in inside] == PHASES
        ends = [phase["ts"] + phase["dur"] for phase in inside]
        assert all(end <= after["ts"] for end, after in zip(ends, inside[1:], strict=False))


def test_the_first_step_that_is_recorded_is_marked_as_not_counted(eager_trace: tuple[Profile, Path]) -> None:
    _, file = eager_trace
    (first,) = ranges_of(file, NOT_COUNTED)
    assert first["ts"] < ranges_of(file, "step")[0]["ts"]


def test_every_phase_is_summed_up_with_the_operators_that_it_is_made_of(eager_trace: tuple[Profile, Path]) -> None:
    profile, _ = eager_trace
    names = {phase.phase: {cost.name: cost for cost in phase.costs} for phase in profile.phases}

    assert (profile.steps, profile.counted, profile.graphed) == (STEPS, "operators", False)
    assert list(names) == PHASES
    assert names["forward"]["aten::convolution"].calls_per_step == 2
    assert names["backward"]["aten::convolution_backward"].calls_per_step == 2
    assert "aten::convolution_backward" not in names["forward"]
    assert all(OUTSIDE in costs for costs in names.values())
    assert profile.unattributed == ()


def test_the_phases_costs_add_up_to_the_phases(eager_trace: tuple[Profile, Path]) -> None:
    profile, _ = eager_trace
    for phase in profile.phases:
        assert phase.seconds_per_step == pytest.approx(phase.host_seconds_per_step, rel=1e-6)
    assert sum(phase.host_seconds_per_step for phase in profile.phases) <= profile.profiled_step_seconds
    assert profile.plain_step_seconds > 0


def test_parts_of_a_batch_are_turns_of_the_same_phases(tmp_path: Path) -> None:
    file = tmp_path / "trace.json.gz"
    profile = profile_steps(traced("accumulate_4"), 1, file)

    assert [phase["name"] for phase in ranges_of(file, "forward")].count("forward") == 8  # with the first step's four
    assert [phase.phase for phase in profile.phases] == PHASES
    forward = profile.phases[PHASES.index("forward")]
    assert {cost.name: cost.calls_per_step for cost in forward.costs}["aten::convolution"] == 8


def test_compiled_code_names_its_kernels(tmp_path: Path) -> None:
    loop = find_loop("compile")
    if reason := loop.lacks(CPU):
        pytest.skip(reason)
    with torch._inductor.config.patch({"cpp.enable_kernel_profile": False}):  # as before, at its end
        torch.compiler.reset()
        name_compiled_kernels(CPU)
        compiled = traced("compile")
        compiled.clock.take_step()
        profile = profile_steps(compiled, 1, tmp_path / "trace.json.gz")
    torch.compiler.reset()
    kernels = {phase.phase: [c for c in phase.costs if "cpp_fused" in c.name] for phase in profile.phases}

    assert kernels["forward"]
    assert kernels["backward"]
    assert not kernels["data"]


def test_a_driver_is_one_phase_and_says_so(tmp_path: Path) -> None:
    class Whole(Driver):
        def __call__(self, task: Task, inputs: Tensor, targets: Tensor) -> None:
            list(self.step(task, inputs, targets))

    class WholeClock(HostClock):
        def take_step(self) -> None:
            whole(task, *task.next_batch())

    task, _ = prepared(find_loop("eager"), make_tiny_task())
    whole = Whole(eager.step)
    profile = profile_steps(Traced(WholeClock(task, eager.step), task, whole), 2, tmp_path / "trace.json.gz")

    assert profile.graphed
    assert [phase.phase for phase in profile.phases] == ["step"]
    assert "aten::convolution_backward" in {cost.name for cost in profile.phases[0].costs}


def test_a_step_whose_phases_change_is_refused(tmp_path: Path) -> None:
    taken = 0

    def changes(task: Task, inputs: Tensor, targets: Tensor) -> Iterator[str]:
        nonlocal taken
        taken += 1
        yield "forward"
        if taken > profiler.PLAIN_STEPS + 2:
            yield "loss"

    task, _ = prepared(find_loop("eager"), make_tiny_task())
    with pytest.raises(BadStep, match="different phases"):
        profile_steps(Traced(HostClock(task, changes), task, changes), 2, tmp_path / "trace.json.gz")


class CudaStandIn:
    """A task on a device that does not exist, without a driver: its trace is given."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, events: list[dict[str, Any]]) -> None:
        def record(traced: Traced, phases: Any, steps: int, file: Path) -> float:
            with gzip.open(file, "wt", encoding="utf-8") as content:
                json.dump({"traceEvents": events}, content)
            return 0.25

        monkeypatch.setattr(profiler, "_record", record)

    def profile(self, file: Path, steps: int) -> Profile:
        recording = SimpleNamespace(names=["forward", "backward"], block=lambda: None)
        clock = SimpleNamespace(
            lapped=lambda steps: recording, plain=lambda steps: SimpleNamespace(host_seconds=0.125 * steps)
        )
        task = SimpleNamespace(device=torch.device("cuda:0"))
        return profile_steps(Traced(cast(HostClock, clock), cast(Task, task), eager.step), steps, file)


def test_on_a_gpu_the_kernels_are_what_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stand_in = CudaStandIn(monkeypatch, [*step(), launch(1, 20), kernel("gemm", 300, 340, 1)])
    profile = stand_in.profile(tmp_path / "trace.json.gz", 1)

    assert profile.counted == "kernels"
    assert (profile.plain_step_seconds, profile.profiled_step_seconds) == (0.125, 0.25)
    assert [(phase.phase, [cost.name for cost in phase.costs]) for phase in profile.phases] == [
        ("forward", ["gemm"]),
        ("backward", []),
    ]


def test_a_gpu_of_which_the_profiler_sees_nothing_is_a_skip_with_the_reason(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(Skip, match="saw no kernel on cuda:0; it needs CUPTI"):
        CudaStandIn(monkeypatch, step()).profile(tmp_path / "trace.json.gz", 1)


def test_a_trace_that_lost_steps_is_no_result(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stand_in = CudaStandIn(monkeypatch, [*step(), launch(1, 20), kernel("gemm", 300, 340, 1)])
    with pytest.raises(RuntimeError, match="recorded 1 of 3 steps"):
        stand_in.profile(tmp_path / "trace.json.gz", 3)


def test_on_a_gpu_kernels_are_recorded_and_waited_for_before_the_profiler_stops(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    log: list[Any] = []

    @contextmanager
    def profile(activities: Any, schedule: Any) -> Iterator[Any]:
        log.append({activity.name for activity in activities})
        actions = [schedule(number).name for number in range(5)]
        assert actions == ["WARMUP", "RECORD", "RECORD", "RECORD_AND_SAVE", "NONE"]
        yield SimpleNamespace(step=lambda: log.append("profiler steps"), export_chrome_trace=log.append)

    monkeypatch.setattr(profiler, "profile", profile)
    monkeypatch.setattr(profiler, "take_step", lambda task, step, phases, name: log.append(name))
    clock = cast(HostClock, SimpleNamespace(synchronise=lambda: log.append("waits")))
    task = cast(Task, SimpleNamespace(device=torch.device("cuda:0")))
    file = tmp_path / "trace.json.gz"
    profiler._record(Traced(clock, task, eager.step), PHASES, 2, file)

    assert log == [
        {"CPU", "CUDA"},
        *[NOT_COUNTED, "waits", "profiler steps"] * 2,
        "step", "profiler steps", "step", "waits", "profiler steps",
        str(file),
    ]  # fmt: skip
