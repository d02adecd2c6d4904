import pytest
import torch

from loopmark.loops.catalog import WORKLOADS, find_loop
from loopmark.loops.technique import Skip
from tests.support.tiny import CPU, drive, make_tiny_task, prepared


def test_weights_and_images_are_channels_last_before_and_after_a_step() -> None:
    task, step = prepared(find_loop("channels_last"), make_tiny_task())
    for _ in range(2):
        inputs, targets = task.next_batch()
        assert inputs.is_contiguous(memory_format=torch.channels_last)
        assert not inputs.is_contiguous()
        weights = [parameter for parameter in task.model.parameters() if parameter.dim() == 4]
        assert len(weights) == 2
        assert all(w.is_contiguous(memory_format=torch.channels_last) and not w.is_contiguous() for w in weights)
        drive(task, step, (inputs, targets))


def test_the_activations_stay_channels_last() -> None:
    task, step = prepared(find_loop("channels_last"), make_tiny_task())
    seen = []
    task.blocks[-1].register_forward_hook(
        lambda _module, _inputs, output: seen.append(output.is_contiguous(memory_format=torch.channels_last))
    )
    drive(task, step)
    assert seen == [True]


def test_without_it_images_and_weights_are_contiguous() -> None:
    task, _ = prepared(find_loop("eager"), make_tiny_task())
    assert task.next_batch()[0].is_contiguous()
    assert all(parameter.is_contiguous() for parameter in task.model.parameters())


def test_a_part_of_a_batch_stays_channels_last() -> None:
    task, step = prepared(find_loop("channels_last+accumulate_4"), make_tiny_task())
    seen = []
    task.model.register_forward_pre_hook(
        lambda _, arguments: seen.append(arguments[0].is_contiguous(memory_format=torch.channels_last))
    )
    drive(task, step)
    assert seen == [True] * 4


@pytest.mark.parametrize("workload", ["regression_mlp", "gpt"])
def test_a_model_without_images_is_skipped_with_the_reason(workload: str) -> None:
    with pytest.raises(Skip, match=r"^channels_last needs a model of images"):
        find_loop("channels_last").prepare(WORKLOADS[workload].make(CPU, "small", None, 0))
