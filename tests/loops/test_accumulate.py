import pytest
import torch
from torch import Tensor, nn

from loopmark.loops.catalog import WORKLOADS, find_loop
from loopmark.loops.loop import EAGER
from loopmark.loops.task import Task
from loopmark.loops.technique import Skip
from tests.support.tiny import CPU, drive, make_tiny_task, prepared


def gradients_after_a_step(name: str, batch_size: int = 16, rows: int | None = None) -> list[Tensor]:
    task, step = prepared(find_loop(name), make_tiny_task(batch_size=batch_size))
    inputs, targets = task.next_batch()
    drive(task, step, (inputs[:rows], targets[:rows]))
    gradients = [parameter.grad for parameter in task.model.parameters()]
    assert all(gradient is not None for gradient in gradients)
    return [gradient.clone() for gradient in gradients if gradient is not None]


@pytest.mark.parametrize("parts", [2, 4, 16])
def test_the_parts_gradients_sum_to_the_whole_batchs(parts: int) -> None:
    for summed, whole in zip(
        gradients_after_a_step(f"accumulate_{parts}"), gradients_after_a_step("eager"), strict=True
    ):
        torch.testing.assert_close(summed, whole)


@pytest.mark.parametrize("rows", [6, 7, 2])
def test_a_ragged_last_batch_of_a_loader_has_its_whole_gradient_too(rows: int) -> None:
    summed, whole = (gradients_after_a_step(name, rows=rows) for name in ("accumulate_4", "eager"))
    for one, other in zip(summed, whole, strict=True):
        torch.testing.assert_close(one, other)


def test_the_loss_is_the_whole_batchs() -> None:
    task, step = prepared(find_loop("accumulate_4"), make_tiny_task())
    other, eager_step = prepared(EAGER, make_tiny_task())
    assert float(drive(task, step)) == pytest.approx(float(drive(other, eager_step)))


def test_the_model_sees_only_parts() -> None:
    task, step = prepared(find_loop("accumulate_4"), make_tiny_task(batch_size=16))
    seen: list[int] = []
    task.model.register_forward_pre_hook(lambda _, arguments: seen.append(len(arguments[0])))
    drive(task, step)
    assert seen == [4, 4, 4, 4]


def test_forward_loss_and_backward_come_once_a_part_and_the_update_once_a_batch() -> None:
    task, step = prepared(find_loop("accumulate_2"), make_tiny_task())
    phases = list(step(task, *task.next_batch()))
    assert phases == ["zero_grad", *["forward", "loss", "backward"] * 2, "optimizer"]


def test_a_batch_size_that_the_parts_do_not_divide_is_skipped_with_the_reason() -> None:
    task = WORKLOADS["regression"].make(CPU, "small", 10, 0)
    with pytest.raises(Skip, match=r"^accumulate_4 needs a batch size divisible by 4; this task's is 10$"):
        find_loop("accumulate_4").prepare(task)


def test_batches_without_a_known_size_are_not_skipped() -> None:
    known = make_tiny_task()
    task = Task(nn.Linear(1, 1), nn.functional.mse_loss, torch.optim.SGD, [known.next_batch()])
    find_loop("accumulate_4").prepare(task)
    assert isinstance(task.optimizer, torch.optim.SGD)
