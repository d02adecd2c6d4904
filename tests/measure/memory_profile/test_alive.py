"""Memory in bytes that can be counted by hand."""

import torch

from loopmark.bench.measure.memory_profile import AliveBytes, held_by

FLOAT = 4


def test_a_tensor_counts_as_long_as_it_is_there() -> None:
    with AliveBytes() as alive:
        first = torch.zeros(100)
        second = first + 1
        assert alive.bytes == 200 * FLOAT
        del first
        assert alive.bytes == 100 * FLOAT
        del second
        assert alive.bytes == 0


def test_a_view_takes_nothing_and_keeps_what_it_looks_at() -> None:
    with AliveBytes() as alive:
        whole = torch.zeros(10, 10)
        row = whole[0]
        assert alive.bytes == 100 * FLOAT
        del whole
        assert alive.bytes == 100 * FLOAT
        del row
        assert alive.bytes == 0


def test_what_only_autograd_still_holds_is_alive_until_backward_has_used_it() -> None:
    weight = torch.zeros(100, requires_grad=True)
    with AliveBytes() as alive:
        doubled = weight * 2
        loss = (doubled * doubled).sum()
        del doubled
        assert alive.bytes >= 100 * FLOAT
        loss.backward()
        del loss
        assert alive.bytes == 100 * FLOAT  # the gradient


def test_operators_of_backward_are_followed_and_named() -> None:
    weight = torch.zeros(100, requires_grad=True)
    with AliveBytes() as alive:
        loss = weight.exp().sum()
        forward = len(alive.moments)
        loss.backward()

    assert "aten.exp.default" in alive.operators[:forward]
    assert "aten.mul.Tensor" in alive.operators[forward:]  # exp's backward uses it
    assert len(alive.moments) == len(alive.operators)


def test_an_update_in_place_takes_nothing() -> None:
    with AliveBytes() as alive:
        values = torch.zeros(100)
        values.add_(1)
        assert alive.moments == [400, 400]


def test_a_storage_that_grows_counts_as_it_is_now() -> None:
    with AliveBytes() as alive:
        values = torch.zeros(100)
        values.resize_(1000)
        assert alive.bytes == 1000 * FLOAT


def test_a_list_of_tensors_counts_each() -> None:
    with AliveBytes() as alive:
        made = torch._foreach_add([torch.zeros(10), torch.zeros(20)], 1.0)
        assert alive.bytes == 30 * FLOAT
        assert len(made) == 2


def test_what_a_task_holds_between_steps_is_weights_gradients_buffers_and_optimizer_state() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(4, 5, bias=False), torch.nn.BatchNorm1d(5, affine=False))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    model(torch.zeros(3, 4)).sum().backward()
    optimizer.step()
    alive = AliveBytes()
    alive.hold(held_by(model, optimizer))

    weight, buffers = 4 * 5 * FLOAT, 2 * 5 * FLOAT + 8
    assert alive.bytes == 3 * weight + buffers  # weight, gradient, momentum


def test_a_sparse_tensor_breaks_nothing() -> None:
    with AliveBytes():
        assert torch.eye(3).to_sparse().is_sparse
