import pytest
import torch
from torch import Tensor

from loopmark.loops.catalog import WORKLOADS, find_loop
from loopmark.loops.task import Task
from loopmark.loops.technique import Skip
from tests.support.tiny import CPU, losses_of, prepared


def saved_bytes(task: Task) -> int:
    """Bytes that a forward pass keeps for backward, without parameters; each storage counts once."""
    parameters = {parameter.untyped_storage().data_ptr() for parameter in task.model.parameters()}
    kept: dict[int, Tensor] = {}  # keep the tensors themselves, so that no address is reused

    def keep(tensor: Tensor) -> Tensor:
        address = tensor.untyped_storage().data_ptr()
        if address not in parameters:
            kept[address] = tensor
        return tensor

    inputs, targets = task.next_batch()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        task.loss_fn(task.model(inputs), targets)
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


@pytest.mark.parametrize("workload", ["resnet", "gpt"])
def test_it_keeps_fewer_activations(workload: str) -> None:
    eager, checkpointed = (
        prepared(find_loop(name), WORKLOADS[workload].make(CPU, "small", 16, 0))[0] for name in ("eager", "checkpoint")
    )
    assert saved_bytes(checkpointed) < 0.6 * saved_bytes(eager)


@pytest.mark.parametrize("workload", ["resnet", "gpt"])
def test_its_losses_are_eagers_bit_for_bit(workload: str) -> None:
    eager, checkpointed = (
        losses_of(*prepared(find_loop(name), WORKLOADS[workload].make(CPU, "small", 16, 0)), 5)
        for name in ("eager", "checkpoint")
    )
    assert checkpointed == eager


def test_the_model_keeps_its_parameters_names() -> None:
    before = WORKLOADS["gpt"].make(CPU, "small", None, 0)
    after, _ = prepared(find_loop("checkpoint"), WORKLOADS["gpt"].make(CPU, "small", None, 0))
    assert list(after.model.state_dict()) == list(before.model.state_dict())


def test_a_task_without_blocks_is_skipped_with_the_reason() -> None:
    with pytest.raises(Skip, match=r"^checkpoint needs a task that names its model's blocks; set Task"):
        find_loop("checkpoint").prepare(WORKLOADS["regression_mlp"].make(CPU, "small", None, 0))
