"""An error in each phase of many steps, and a worker's answer to it."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from loopmark.bench.measure.answers import OUT_OF_MEMORY, Places, failure_of, in_code, phase_of, told, traceback_of
from loopmark.loops import eager
from loopmark.loops.accumulate import accumulate
from loopmark.loops.amp import amp_fp16
from loopmark.loops.loop import Loop
from loopmark.loops.task import Task
from loopmark.loops.technique import Step, Technique
from loopmark.phases import DATA, PHASES
from tests.support.tiny import drive, make_tiny_task

STEP_PHASES = PHASES[1:]


class BurstError(Exception):
    """Raised in one phase."""


def burst(*_: Any, **__: Any) -> Any:
    raise BurstError


def fail_in(task: Task, phase: str, error: Any = burst) -> None:
    """Make ``task`` raise in ``phase``: every step calls the same few functions."""
    if phase == "zero_grad":
        task.optimizer.zero_grad = error  # type: ignore[method-assign]
    elif phase == "forward":
        task.model.register_forward_hook(error)
    elif phase == "loss":
        task.loss_fn = error
    elif phase == "backward":
        task.model.classifier.weight.register_hook(error)
    elif phase == "optimizer":
        task.optimizer.step = error  # type: ignore[method-assign]
    else:
        task._stream = iter(lambda: error(), None)


def raised(task: Task, step: Step) -> BaseException:
    with pytest.raises((BurstError, torch.OutOfMemoryError)) as caught:
        drive(task, step)
    return caught.value


def ready() -> Task:
    task = make_tiny_task()
    task.build_optimizer()
    return task


def wrapped(task: Task, inputs: Any, targets: Any) -> Iterator[str]:
    yield from eager.step(task, inputs, targets)


@pytest.mark.parametrize("phase", STEP_PHASES)
@pytest.mark.parametrize("step", [eager.step, accumulate(2).step, amp_fp16.step or eager.step, wrapped])
def test_the_phase_that_was_under_way_is_told(step: Step, phase: str) -> None:
    task = ready()
    fail_in(task, phase)

    assert phase_of(raised(task, step)) == phase


def test_a_batch_that_cannot_be_fetched_is_data() -> None:
    task = ready()
    fail_in(task, DATA)

    assert phase_of(raised(task, eager.step)) == DATA


def test_what_comes_after_the_last_yield_counts_for_the_last_phase() -> None:
    def step(task: Task, inputs: Any, targets: Any) -> Iterator[str]:
        yield "forward"
        yield "optimizer"
        burst()

    assert phase_of(raised(ready(), step)) == "optimizer"


def test_a_phase_of_a_later_turn_is_told_as_well() -> None:
    calls = []

    def second_time(*_: Any) -> None:
        calls.append(1)
        if len(calls) > 1:
            burst()

    task = ready()
    fail_in(task, "forward", second_time)

    assert phase_of(raised(task, accumulate(2).step)) == "forward"


def test_a_step_that_computes_its_names_and_an_error_from_no_step_tell_nothing() -> None:
    def step(task: Task, inputs: Any, targets: Any) -> Iterator[str]:
        yield from map(str, ("forward",))
        burst()

    assert phase_of(raised(ready(), step)) is None
    assert phase_of(BurstError()) is None


@pytest.mark.parametrize("phase", PHASES)
def test_a_case_that_runs_out_of_device_memory_says_in_which_phase(phase: str) -> None:
    task = ready()

    def out_of_memory(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    fail_in(task, phase, out_of_memory)
    answer = failure_of(raised(task, eager.step), "warm", Places(), beside_others=True)

    assert answer.reason.startswith(f"{OUT_OF_MEMORY} in `{phase}` beside other loops; give a smaller --batch-size: ")
    assert "Tried to allocate 2.00 GiB" in answer.reason
    assert answer.ran_out_of == "device memory"


def test_host_memory_too_and_while_the_task_is_made() -> None:
    answer = failure_of(MemoryError(), "set_up", Places(), beside_others=False)

    assert answer.reason.startswith("ran out of memory while it was set up: ")
    assert answer.ran_out_of == "host memory"


@pytest.mark.parametrize("said", ["CUDA error: out of memory", "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling"])
def test_what_cudas_libraries_say_of_memory_counts_too_and_alone_a_loop_has_no_others_to_blame(said: str) -> None:
    answer = failure_of(RuntimeError(said), "warm", Places(), beside_others=False)

    assert answer.ran_out_of == "device memory"
    assert answer.reason.startswith(f"{OUT_OF_MEMORY}: ")


def test_an_error_of_torch_below_the_canonical_step_is_at_the_users_task() -> None:
    task = ready()
    task.place = "mine.py:7"
    task.loss_fn = torch.nn.CrossEntropyLoss(weight=torch.ones(99))
    with pytest.raises(RuntimeError) as caught:
        drive(task, eager.step)
    trace = caught.value.__traceback__
    while trace is not None and trace.tb_frame.f_code is not eager.step.__code__:
        trace = trace.tb_next  # as in a worker, below which there is only Loopmark
    error, places = caught.value.with_traceback(trace), Places("step.py:1").with_task(task)

    assert failure_of(error, "warm", places, beside_others=False).reason.startswith("mine.py:7: in `loss`: RuntimeEr")
    assert told(error, places).startswith("mine.py:7: RuntimeError: ")
    assert not told(error, Places()).startswith("mine.py")


def test_an_error_in_a_line_of_the_users_own_keeps_its_place() -> None:
    task = ready()
    task.place = "mine.py:7"
    fail_in(task, "forward")

    assert "test_answers.py:" in told(raised(task, eager.step), Places().with_task(task))


def test_two_deaths_of_a_loaders_workers_are_told_alike() -> None:
    reasons = {
        failure_of(
            RuntimeError(f"DataLoader worker (pid {pid}) is killed"), "warm", Places(), beside_others=False
        ).reason
        for pid in (11, 12)
    }
    assert len(reasons) == 1


def test_a_traceback_has_the_users_lines_and_not_ours() -> None:
    task = ready()
    fail_in(task, "forward")
    text = traceback_of(raised(task, eager.step))

    assert "test_answers.py" in text
    assert "loops/eager.py" not in text
    assert text.rstrip().endswith("BurstError")


def test_the_code_of_a_technique_may_have_braces_of_its_own() -> None:
    own = Technique("own", "an option by name", rank=50, code='{optimizer}(**{"fused": True}, device="{device}")')
    code, _ = in_code(Loop("own", eager.step, (own,)), ready())
    assert code == ('AdamW(**{"fused": True}, device="cpu")',)
