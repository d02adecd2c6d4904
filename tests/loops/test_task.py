from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from loopmark.loops.batch import BadBatch, Batch
from loopmark.loops.catalog import WORKLOADS
from loopmark.loops.task import Batches, Task
from loopmark.loops.user_code import BadSpec
from tests.support.tiny import CPU

ROWS = 10


def rows(count: int = ROWS) -> tuple[Tensor, Tensor]:
    """Row i holds i, so that a batch shows which rows it has."""
    return torch.arange(float(count))[:, None], torch.arange(count)


def batches(batch_size: int = 3, seed: int = 0) -> Batches:
    return Batches(*rows(), batch_size=batch_size, seed=seed)


def order_of(epoch: Batches) -> list[int]:
    return [int(row) for _, targets in epoch for row in targets]


def task_of(batches: object, make_optimizer: object = partial(torch.optim.SGD, lr=0.1)) -> Task:
    return Task(nn.Linear(1, 1), F.mse_loss, make_optimizer, batches)  # type: ignore[arg-type]


def test_an_epoch_has_each_row_at_most_once_in_full_batches_only() -> None:
    epoch = batches()
    sizes = [len(targets) for _, targets in epoch]
    assert sizes == [3, 3, 3]
    assert len(epoch) == 3
    order = order_of(epoch)
    assert len(set(order)) == len(order) == 9


def test_inputs_and_targets_stay_together() -> None:
    assert all(torch.equal(inputs[:, 0].long(), targets) for inputs, targets in batches())


def test_each_epoch_has_a_new_order() -> None:
    epoch = batches(batch_size=ROWS)
    orders = [order_of(epoch) for _ in range(3)]
    assert len({tuple(order) for order in orders}) == 3
    assert all(sorted(order) == list(range(ROWS)) for order in orders)


def test_every_row_is_seen_in_some_epoch() -> None:
    epoch = batches()
    assert {row for _ in range(20) for row in order_of(epoch)} == set(range(ROWS))


def test_the_same_seed_gives_the_same_sequence_of_orders_whatever_else_is_drawn() -> None:
    first, second = batches(seed=3), batches(seed=3)
    for _ in range(3):
        torch.rand(1)
        assert order_of(first) == order_of(second)
    assert order_of(batches(seed=3)) != order_of(batches(seed=4))


def test_inputs_and_targets_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="10 inputs but 9 targets; give one target for each input"):
        Batches(rows()[0], rows(9)[1], batch_size=2, seed=0)


@pytest.mark.parametrize("batch_size", [0, -1, 11])
def test_a_batch_size_that_does_not_fit_is_refused(batch_size: int) -> None:
    with pytest.raises(ValueError, match=f"a batch size of {batch_size} does not fit a dataset of 10 rows"):
        batches(batch_size)


def test_a_batch_size_of_nought_is_not_taken_for_the_default() -> None:
    with pytest.raises(ValueError, match="a batch size of 0 does not fit"):
        WORKLOADS["regression"].make(CPU, "small", 0, 0)


def test_the_hash_is_stable_and_knows_neither_batch_size_nor_seed() -> None:
    assert batches(3, 0).data_sha256() == batches(5, 1).data_sha256()
    inputs, targets = rows()
    backwards = Batches(inputs.repeat(1, 2)[:, ::2], targets, batch_size=3, seed=0)  # the same rows, but not contiguous
    assert backwards.data_sha256() == batches().data_sha256()


@pytest.mark.parametrize(
    "change",
    [
        lambda inputs, targets: (inputs + 1e-3, targets),
        lambda inputs, targets: (inputs, targets.flip(0)),
        lambda inputs, targets: (inputs.double(), targets),
        lambda inputs, targets: (inputs[:, None], targets),
        lambda inputs, targets: (inputs[:9], targets[:9]),
        lambda inputs, targets: (targets, inputs),
    ],
)
def test_the_hash_is_sensitive_to_every_value_shape_and_type(change: object) -> None:
    changed = Batches(*change(*rows()), batch_size=3, seed=0)  # type: ignore[operator]
    assert changed.data_sha256() != batches().data_sha256()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.bool, torch.uint8, torch.complex64])
def test_every_type_can_be_hashed(dtype: torch.dtype) -> None:
    inputs, targets = rows()
    assert len(Batches(inputs.to(dtype), targets, batch_size=3, seed=0).data_sha256()) == 64


def test_epoch_follows_epoch() -> None:
    task = task_of(batches())
    assert [len(task.next_batch()[1]) for _ in range(10)] == [3] * 10


def test_a_list_of_batches_is_read_again_and_again() -> None:
    batch: Batch = (torch.ones(2, 1), torch.ones(2, 1))
    other: Batch = (torch.zeros(2, 1), torch.zeros(2, 1))
    task = task_of([batch, other])
    assert [float(task.next_batch()[0][0]) for _ in range(5)] == [1, 0, 1, 0, 1]


def test_a_data_loader_is_read_again_and_again() -> None:
    task = task_of(DataLoader(TensorDataset(*rows()), batch_size=4))
    assert [len(task.next_batch()[1]) for _ in range(6)] == [4, 4, 2, 4, 4, 2]


@pytest.mark.parametrize("given", [iter([rows()]), (rows() for _ in range(1)), []])
def test_what_can_be_read_only_once_is_told_so(given: object) -> None:
    task = task_of(given)
    with pytest.raises(BadBatch, match="a generator can be read only once: give Batches, a list or a DataLoader"):
        for _ in range(2):
            task.next_batch()


class Looks:
    """Looks like an optimizer, and has neither the state nor the hooks of one."""

    param_groups = ()


@pytest.mark.parametrize("made", [torch.optim.SGD([torch.ones(1)], lr=0.1), (1, 2), {}, None, Looks()])
def test_a_make_optimizer_that_makes_no_optimizer_is_named_with_its_line(made: object) -> None:
    line = r"tests/loops/test_task.py:\d+: make_optimizer "
    if isinstance(made, torch.optim.Optimizer):
        with pytest.raises(BadSpec, match=f"{line}is a SGD; give a function"):
            task_of(batches(), made).build_optimizer()
    else:
        with pytest.raises(BadSpec, match=f"{line}returned a .*; return an optimizer derived"):
            task_of(batches(), lambda parameters: made).build_optimizer()


def test_batches_that_cannot_be_iterated_are_named_with_the_tasks_line() -> None:
    with pytest.raises(BadSpec, match=r"tests/loops/test_task.py:\d+: batches is a NoneType; give Batches"):
        task_of(None)


def test_a_model_without_parameters_is_refused() -> None:
    with pytest.raises(ValueError, match="no parameters; there is nothing to train"):
        Task(nn.Identity(), F.mse_loss, torch.optim.SGD, batches())


def test_an_option_is_taken_where_the_optimizer_has_it() -> None:
    adam = task_of(batches(), partial(torch.optim.Adam, lr=0.1))
    sgd = task_of(batches(), partial(torch.optim.SGD, lr=0.1))
    assert adam.optimizer_takes("capturable")
    assert not sgd.optimizer_takes("capturable")
    assert sgd.optimizer_takes("fused")


def test_a_function_that_passes_options_on_takes_what_its_optimizer_takes() -> None:
    task = task_of(batches(), lambda parameters, **options: torch.optim.SGD(parameters, lr=0.1, **options))
    assert task.optimizer_takes("fused")
    assert not task.optimizer_takes("capturable")


def test_a_function_without_options_takes_none() -> None:
    task = task_of(batches(), lambda parameters: torch.optim.SGD(parameters, lr=0.1))
    assert not task.optimizer_takes("fused")
