import pytest
import torch

from loopmark.bench.measure.properties.prepared_loop import parameters_of, same
from loopmark.loops.amp import CountingGradScaler
from loopmark.loops.catalog import WORKLOADS, find_loop
from loopmark.loops.task import Task
from tests.support.tiny import CPU, drive, losses_of, make_tiny_task, prepared

TOO_HIGH = 2.0**120
"""A scale at which every float16 gradient is infinite."""


def scaler_of(task: Task) -> CountingGradScaler:
    assert isinstance(task.scaler, CountingGradScaler)
    return task.scaler


def set_scale(task: Task, scale: float) -> None:
    task.scaler.load_state_dict(task.scaler.state_dict() | {"scale": scale})


@pytest.mark.parametrize("name", ["amp_fp16", "amp_fp16+fused_optimizer", "amp_fp16+accumulate_4"])
@pytest.mark.parametrize("steps_before", [0, 2])
def test_an_overflow_is_skipped_counted_and_moves_nothing(name: str, steps_before: int) -> None:
    task, step = prepared(find_loop(name), make_tiny_task())
    losses_of(task, step, steps_before)
    assert scaler_of(task).skipped == 0
    before = parameters_of(task)
    set_scale(task, TOO_HIGH)
    for count in (1, 2):
        drive(task, step)
        assert scaler_of(task).skipped == count
        assert same(parameters_of(task), before)
    assert task.scaler.get_scale() == TOO_HIGH / 4
    set_scale(task, 1024.0)
    drive(task, step)
    assert scaler_of(task).skipped == 2
    assert not same(parameters_of(task), before)


@pytest.mark.parametrize("name", ["amp_fp16", "amp_fp16+fused_optimizer"])
def test_a_skipped_first_step_leaves_no_momentum_behind(name: str) -> None:
    def losses(first_scale: float | None) -> list[float]:
        task, step = prepared(find_loop(name), WORKLOADS["resnet"].make(CPU, "small", 16, 0))
        batch = task.next_batch()
        for module in task.model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.track_running_stats = False  # they change in a skipped step too
        if first_scale:
            set_scale(task, first_scale)
            drive(task, step, batch)
            for state in task.optimizer.state.values():
                assert not state["momentum_buffer"].any()
            set_scale(task, 2.0**10)
        else:
            set_scale(task, 2.0**10)
        return [float(drive(task, step, batch)) for _ in range(3)]

    assert losses(TOO_HIGH) == losses(None)


def test_bfloat16_needs_no_scaler() -> None:
    task, _ = prepared(find_loop("amp_bf16"), make_tiny_task())
    assert not task.scaler.is_enabled()


@pytest.mark.parametrize(("name", "dtype"), [("amp_bf16", torch.bfloat16), ("amp_fp16", torch.float16)])
@pytest.mark.parametrize("rest", ["", "+accumulate_4", "+channels_last"])
def test_the_model_computes_in_16_bits_and_keeps_its_weights_in_32(name: str, dtype: torch.dtype, rest: str) -> None:
    task, step = prepared(find_loop(name + rest), make_tiny_task())
    seen = set()
    task.model.register_forward_hook(lambda _module, _inputs, output: seen.add(output.dtype))
    loss = drive(task, step)
    assert seen == {dtype}
    assert loss.dtype == torch.float32
    assert {parameter.dtype for parameter in task.model.parameters()} == {torch.float32}
