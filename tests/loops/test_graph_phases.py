"""The driver with one graph per phase, on a fake CUDA."""

from collections.abc import Iterator
from typing import Any

import pytest
from torch import Tensor

from loopmark.loops import eager
from loopmark.loops.catalog import WORKLOADS, find_loop
from loopmark.loops.cuda_graphs import WARMUP_STEPS, GraphedPhases
from loopmark.loops.loop import EAGER
from loopmark.loops.task import Task
from loopmark.loops.user_code import BadSpec
from tests.support.fake_cuda import FakeCuda, recording
from tests.support.tiny import CPU, drive, losses_of, make_tiny_task, prepared

PHASES = ["zero_grad", "forward", "loss", "backward", "optimizer"]


def in_pieces(cuda: FakeCuda) -> Any:
    """A step that records each phase, and the work after the last one, for the replay of its own graph."""

    def step(task: Task, inputs: Tensor, targets: Tensor) -> Iterator[str]:
        for phase in ("forward", "backward", "forward", "backward"):
            _now_or_later(cuda, phase)
            yield phase
        _now_or_later(cuda, "tail")

    return step


def _now_or_later(cuda: FakeCuda, what: str) -> None:
    if cuda.current is None:
        cuda.log.append(what)
    else:
        cuda.current.append(lambda: cuda.log.append(what))


def graphed(cuda: FakeCuda, task: Task) -> GraphedPhases:
    prepared(EAGER, task)
    return GraphedPhases(recording(cuda, eager.step))


def test_each_phase_is_captured_in_one_pool_and_replayed_in_order_the_tail_included(cuda: FakeCuda) -> None:
    task = make_tiny_task()
    prepared(EAGER, task)
    driver = GraphedPhases(in_pieces(cuda))
    for _ in range(WARMUP_STEPS):
        driver(task, *task.next_batch())
    cuda.log.clear()
    driver(task, *task.next_batch())
    captures = ["capture, thread_local, one pool"] * 5
    replays = [entry for what in ("forward", "backward", "forward", "backward", "tail") for entry in ("replay", what)]
    assert cuda.log == [*captures, *replays]
    assert [name for name, _ in driver.graphs] == ["forward", "backward", "forward", "backward", ""]


def test_its_phases_are_named_as_their_graphs_are_launched(cuda: FakeCuda) -> None:
    task = make_tiny_task()
    prepared(EAGER, task)
    driver = GraphedPhases(in_pieces(cuda))
    for _ in range(WARMUP_STEPS + 1):
        assert list(driver.phased(task, *task.next_batch())) == ["data", "forward", "backward", "forward", "backward"]
    cuda.log.clear()
    seen = []
    for phase in driver.phased(task, *task.next_batch()):
        seen.append((phase, list(cuda.log)))
        cuda.log.clear()
    replays = [(phase, ["replay", phase]) for phase in ("forward", "backward", "forward", "backward")]
    assert seen == [("data", []), *replays]
    assert cuda.log == ["replay", "tail"]


@pytest.mark.parametrize("phased", [False, True])
def test_every_call_trains_on_its_own_batch_warm_up_and_capture_included(cuda: FakeCuda, phased: bool) -> None:
    task = make_tiny_task()
    driver = graphed(cuda, task)
    steps = WARMUP_STEPS + 5
    step = driver.phased if phased else driver
    assert losses_of(task, step, steps) == losses_of(*prepared(EAGER, make_tiny_task()), steps)


def test_a_phase_that_launches_nothing_has_no_graph_and_is_still_named(cuda: FakeCuda) -> None:
    task = make_tiny_task()
    driver = graphed(cuda, task)  # its whole work is captured with the first phase
    losses_of(task, driver, WARMUP_STEPS + 1)
    assert [graph is None for _, graph in driver.graphs] == [False, True, True, True, True, True]
    cuda.log.clear()
    assert list(driver.phased(task, *task.next_batch())) == ["data", *PHASES]
    assert cuda.log == ["replay"]


def test_the_batch_is_copied_in_before_the_first_phase_as_a_graph_of_the_whole_step_has_it(cuda: FakeCuda) -> None:
    task = make_tiny_task()
    driver = graphed(cuda, task)
    losses_of(task, driver, WARMUP_STEPS + 1)
    inputs, targets = task.next_batch()
    step = driver.phased(task, inputs + 1, targets)
    assert next(step) == "data"
    assert driver.inputs.equal(inputs + 1)


def test_a_step_that_fails_under_capture_says_why_itself(cuda: FakeCuda) -> None:
    def step(task: Task, inputs: Tensor, targets: Tensor) -> Iterator[str]:
        yield "forward"
        if cuda.current is not None:
            raise ZeroDivisionError("its own mistake")
        yield "backward"

    task = make_tiny_task()
    prepared(EAGER, task)
    driver = GraphedPhases(step)
    for _ in range(WARMUP_STEPS):
        driver(task, *task.next_batch())
    with pytest.raises(ZeroDivisionError, match="its own mistake"):
        driver(task, *task.next_batch())


@pytest.mark.usefixtures("cuda")
def test_a_loop_of_that_name_is_driven_so() -> None:
    # This uses SGD, since a capturable AdamW refuses to step on a CPU.
    task, step = prepared(find_loop("amp_bf16+graph_phases"), WORKLOADS["resnet"].make(CPU, "small", 16, 0))
    assert isinstance(step, GraphedPhases)
    drive(task, step)
    assert list(step.names) == PHASES


@pytest.mark.parametrize("other", ["cuda_graph", "graph_model", "checkpoint", "compile_reduce_overhead"])
def test_it_does_not_go_with_another_graph_of_the_same_work(other: str) -> None:
    with pytest.raises(BadSpec, match="exclude each other"):
        find_loop(f"graph_phases+{other}")
