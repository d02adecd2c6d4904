"""The graph's driver on a fake CUDA."""

from collections.abc import Iterator
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from loopmark.loops import eager
from loopmark.loops.catalog import WORKLOADS, find_loop
from loopmark.loops.cuda_graphs import WARMUP_STEPS, GraphedStep, cuda_graph
from loopmark.loops.loop import EAGER, Loop
from loopmark.loops.task import Task
from loopmark.loops.technique import Skip
from tests.support.fake_cuda import FakeCuda, recording
from tests.support.tiny import CPU, drive, losses_of, make_tiny_task, prepared


def graphed(cuda: FakeCuda, task: Task) -> GraphedStep:
    prepared(EAGER, task)
    return GraphedStep(recording(cuda, eager.step))


ASIDE = ["aside waits for main", "step on aside", "main waits for aside"]


def test_the_first_calls_run_the_step_aside_then_one_capture_then_replays(cuda: FakeCuda) -> None:
    task = make_tiny_task()
    step = graphed(cuda, task)
    for _ in range(WARMUP_STEPS):
        drive(task, step)
    assert cuda.log == ASIDE * WARMUP_STEPS
    assert step.graph is None
    cuda.log.clear()
    for _ in range(3):
        drive(task, step)
    assert cuda.log == ["capture, thread_local", "step on capture", "replay", "replay", "replay"]


def test_every_call_trains_on_its_own_batch_warm_up_and_capture_included(cuda: FakeCuda) -> None:
    task = make_tiny_task()
    steps = WARMUP_STEPS + 5
    assert losses_of(task, graphed(cuda, task), steps) == losses_of(*prepared(EAGER, make_tiny_task()), steps)


def test_every_replay_reads_the_same_tensors_which_no_batch_owns(cuda: FakeCuda) -> None:
    task, places = make_tiny_task(), []

    def step(_: Task, inputs: Tensor, targets: Tensor) -> Iterator[str]:
        places.append((inputs.data_ptr(), targets.data_ptr(), inputs.clone()))
        yield "forward"

    prepared(EAGER, task)
    driver = GraphedStep(recording(cuda, step))
    batches = [task.next_batch() for _ in range(WARMUP_STEPS + 3)]
    for batch in batches:
        driver(task, *batch)
    assert len({(inputs, targets) for inputs, targets, _ in places}) == 1
    assert places[0][0] not in {batch[0].data_ptr() for batch in batches}
    assert all(torch.equal(seen, batch[0]) for (_, _, seen), batch in zip(places, batches, strict=True))


def test_a_batchs_memory_format_is_kept(cuda: FakeCuda) -> None:
    task, seen = make_tiny_task(), []

    def step(_: Task, inputs: Tensor, __: Tensor) -> Iterator[str]:
        seen.append(inputs.is_contiguous(memory_format=torch.channels_last) and not inputs.is_contiguous())
        yield "forward"

    prepared(find_loop("channels_last"), task)
    driver = GraphedStep(recording(cuda, step))
    for _ in range(WARMUP_STEPS + 1):
        driver(task, *task.next_batch())
    assert seen == [True] * (WARMUP_STEPS + 1)


def test_the_marks_are_the_start_and_then_each_phase_in_order(cuda: FakeCuda) -> None:
    task = make_tiny_task()
    step = graphed(cuda, task)
    for calls in range(WARMUP_STEPS + 2):
        assert bool(step.marks) == (calls > WARMUP_STEPS)
        drive(task, step)
    assert [name for name, _ in step.marks] == ["", "zero_grad", "forward", "loss", "backward", "optimizer"]
    assert [event for _, event in step.marks] == cuda.recorded


@pytest.mark.parametrize("lacking", ["torch before 2.8", "ROCm"])
def test_without_external_events_there_are_no_marks_and_it_still_trains(
    cuda: FakeCuda, monkeypatch: pytest.MonkeyPatch, lacking: str
) -> None:
    if lacking == "ROCm":
        monkeypatch.setattr(torch.version, "hip", "6.0")
    else:
        monkeypatch.setattr(torch.cuda, "Event", object)  # it has no argument `external`
    task = make_tiny_task()
    step = graphed(cuda, task)
    losses = losses_of(task, step, WARMUP_STEPS + 3)
    assert step.marks == ()
    assert step.graph is not None
    assert losses == losses_of(*prepared(EAGER, make_tiny_task()), WARMUP_STEPS + 3)


def test_no_gradient_from_before_is_left_when_capture_begins(cuda: FakeCuda) -> None:
    task, left = make_tiny_task(), []

    def step(task: Task, _inputs: Tensor, _targets: Tensor) -> Iterator[str]:
        if cuda.current is not None:
            left.extend(parameter.grad for parameter in task.model.parameters())
        yield "forward"

    prepared(EAGER, task)
    driver = GraphedStep(step)
    for _ in range(WARMUP_STEPS + 1):
        for parameter in task.model.parameters():
            parameter.grad = torch.ones_like(parameter)
        driver(task, *task.next_batch())
    assert left == [None] * len(list(task.model.parameters()))


@pytest.mark.parametrize("rows", [1, 8])
def test_a_batch_of_another_shape_is_refused_rather_than_spread(cuda: FakeCuda, rows: int) -> None:
    task = make_tiny_task()
    step = graphed(cuda, task)
    inputs, targets = task.next_batch()
    step(task, inputs, targets)
    with pytest.raises(Skip, match=r"needs batches of one shape; after \(16, 3, 8, 8\) came .* smaller batch"):
        step(task, inputs[:rows], targets[:rows])


@pytest.mark.usefixtures("cuda")
@pytest.mark.parametrize("name", ["eager", "amp_bf16", "accumulate_4", "amp_fp16+fused_optimizer"])
def test_the_driver_runs_the_very_step_that_the_other_techniques_chose(name: str) -> None:
    # This uses SGD, since a capturable AdamW refuses to step on a CPU.
    task, step = prepared(find_loop(f"{name}+cuda_graph"), WORKLOADS["resnet"].make(CPU, "small", 16, 0))
    assert isinstance(step, GraphedStep)
    other, its_step = prepared(find_loop(name), WORKLOADS["resnet"].make(CPU, "small", 16, 0))
    assert losses_of(task, step, WARMUP_STEPS) == losses_of(other, its_step, WARMUP_STEPS)


def test_an_own_step_can_be_graphed() -> None:
    _, step = prepared(Loop("own", eager.step, (cuda_graph,)), make_tiny_task())
    assert isinstance(step, GraphedStep)
    assert step.step is eager.step


def test_an_optimizer_that_can_be_made_capturable_is() -> None:
    task, _ = prepared(find_loop("cuda_graph"), make_tiny_task())
    assert task.optimizer.param_groups[0]["capturable"]


@pytest.mark.parametrize("name", ["cuda_graph", "compile_optimizer+cuda_graph"])
def test_an_optimizer_without_that_option_is_left_alone(name: str) -> None:
    task, _ = prepared(find_loop(name), WORKLOADS["resnet"].make(CPU, "small", None, 0))  # resnet uses SGD
    assert "capturable" not in task.optimizer.param_groups[0]


def test_float16_without_a_fused_optimizer_is_skipped_with_the_reason() -> None:
    with pytest.raises(Skip, match=r"^a CUDA graph cannot capture amp_fp16's GradScaler.*add fused_optimizer, which"):
        find_loop("amp_fp16+cuda_graph").prepare(make_tiny_task())
    find_loop("amp_fp16+fused_optimizer+cuda_graph").prepare(make_tiny_task())


def test_a_run_on_the_cpu_of_a_machine_with_a_gpu_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "cuda", SimpleNamespace(is_available=lambda: True))
    assert cuda_graph.lacks(CPU) == "cuda_graph needs a CUDA device; this run is on cpu"
    assert cuda_graph.lacks(torch.device("cuda")) is None


def test_a_nested_batch_is_copied_to_the_tensors_that_the_captured_step_reads() -> None:
    driver = GraphedStep(lambda *_: iter(()))
    driver.copy_in({"ids": torch.zeros(2, 3), "kind": "train"}, None)
    driver._calls += 1
    captured = driver.inputs["ids"]

    driver.copy_in({"ids": torch.ones(2, 3), "kind": "train"}, None)

    assert driver.inputs["ids"] is captured
    assert captured.eq(1).all()
    for other in ({"ids": torch.ones(1, 3), "kind": "train"}, {"ids": torch.ones(2, 3), "kind": "test"}):
        with pytest.raises(Skip, match="needs batches of one shape"):
            driver.copy_in(other, None)
