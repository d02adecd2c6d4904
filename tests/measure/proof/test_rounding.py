import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from loopmark.bench.measure.proof.precision import RandomRounding

CPU = torch.device("cpu")


def rounding(bits: int = 24, seed: int = 0, constants: tuple[Tensor, ...] = ()) -> RandomRounding:
    return RandomRounding(bits, seed, CPU, constants)


def away(result: Tensor, exact: Tensor) -> float:
    return float((result.double() - exact.double()).norm() / exact.double().norm())


@pytest.mark.parametrize("bits", [24, 11, 8])
def test_a_product_moves_by_about_the_unit_roundoff_and_never_by_more_than_its_three_roundings(bits: int) -> None:
    a, b = torch.rand(1000) + 1, torch.rand(1000) + 1
    with rounding(bits):
        moved = a * b
    relative = (moved.double() / (a.double() * b.double()) - 1).abs()
    unit = 2.0**-bits
    assert 0.5 * unit < float(relative.mean()) < 2 * unit
    # Two rounded reads and one rounded write, plus float32's own rounding of each.
    assert 2 * unit < float(relative.max()) < 3.02 * unit + 6 * 2.0**-24


@pytest.mark.parametrize(("bits", "terms"), [(24, 64), (24, 4096), (8, 4096)])
def test_a_sum_moves_by_what_its_terms_round_to_and_by_the_root_of_how_many_there_are(bits: int, terms: int) -> None:
    torch.manual_seed(0)
    a, b = torch.rand(50, terms) + 1, torch.rand(terms, 20) + 1
    with rounding(bits):
        moved = a @ b
    error = away(moved, a.double() @ b.double())
    a_term = (50 * terms + 20 * terms) / (50 * 20)
    most = 2.0**-bits + 2.0**-24 * math.sqrt(a_term)
    assert most / 4 < error < 1.5 * most


def test_one_tensor_is_rounded_once_in_an_operation() -> None:
    numbers = torch.rand(100)
    with rounding(8):
        assert bool((numbers == numbers).all())
        assert not bool(numbers.isnan().any())


def test_less_precision_moves_more_in_proportion() -> None:
    a, b = torch.rand(100, 100), torch.rand(100, 100)
    errors = {}
    for bits in (20, 16, 12):
        with rounding(bits):
            moved = a @ b
        errors[bits] = away(moved, a.double() @ b.double())
    assert errors[16] / errors[20] == pytest.approx(16, rel=0.3)
    assert errors[12] / errors[16] == pytest.approx(16, rel=0.3)


def test_it_rounds_to_either_side_without_a_preference() -> None:
    ones = torch.ones(100_000)
    with rounding(8):
        moved = ones * 1.0
    assert abs(float(moved.double().mean()) - 1) < 2.0**-8 / 50


def test_a_seed_decides_how_and_another_decides_otherwise() -> None:
    a, b = torch.rand(20, 20), torch.rand(20, 20)
    results = []
    for seed in (0, 0, 1):
        with rounding(seed=seed):
            results.append(a @ b)
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


def test_what_an_operation_reads_is_left_as_it_was() -> None:
    a, b = torch.rand(10, 10), torch.rand(10, 10)
    before = a.clone(), b.clone()
    with rounding(8):
        _ = a @ b
        _ = torch.cat([a, b])
        _ = F.relu(a)
    assert torch.equal(a, before[0])
    assert torch.equal(b, before[1])


def test_views_are_the_same_memory_and_the_same_bits() -> None:
    a = torch.rand(4, 6)
    with rounding(8):
        views = a.view(6, 4), a[1:], a.t(), a.detach(), a.expand(2, 4, 6), *a.split(2)
    assert all(view.untyped_storage().data_ptr() == a.untyped_storage().data_ptr() for view in views)
    assert torch.equal(views[0].reshape(4, 6), a)


def test_whole_numbers_and_truths_stay_exact() -> None:
    numbers = torch.arange(100)
    with rounding(8):
        assert torch.equal(numbers * 3 + 1, torch.arange(1, 301, 3))
        assert int((numbers > 49).sum()) == 50
        assert torch.equal(F.one_hot(numbers).argmax(dim=1), numbers)


def test_what_is_made_from_nothing_is_exact() -> None:
    with rounding(8):
        made = torch.arange(100.0), torch.full((3,), 0.3), torch.ones(5), torch.arange(100).float(), torch.tensor(0.7)
    assert torch.equal(made[0], torch.arange(100.0))
    assert torch.equal(made[1], torch.full((3,), 0.3))
    assert torch.equal(made[2], torch.ones(5))
    assert torch.equal(made[3], made[0])
    assert float(made[4]) == float(torch.tensor(0.7))


def test_constants_are_read_as_they_are_and_never_written_to() -> None:
    table, ones = torch.rand(100), torch.ones(100)
    before = table.clone()
    with rounding(8, constants=(table,)):
        moved = table * ones
        _ = table + 1
    assert torch.equal(table, before)
    unit = 2.0**-8
    # The ones are rounded when read, and the products when written, but the table is not: two roundings, not three.
    assert unit < float((moved / table - 1).abs().max()) < 2.02 * unit


def test_what_is_empty_or_nothing_passes_through() -> None:
    with rounding(8):
        assert torch.rand(0, 3).matmul(torch.rand(3, 2)).shape == (0, 2)
        assert F.linear(torch.ones(2, 3), torch.ones(1, 3), None).shape == (2, 1)


def test_an_operation_in_place_writes_where_it_should() -> None:
    total = torch.ones(1000)
    with rounding(8):
        total.add_(torch.ones(1000))
    relative = (total / 2 - 1).abs()
    assert 0 < float(relative.max()) < 2 * 2.0**-8


def test_gradients_round_too_and_are_those_of_the_function() -> None:
    torch.manual_seed(0)
    weight, x = torch.randn(8, 8, requires_grad=True), torch.randn(32, 8)
    exact = torch.autograd.grad((x.double() @ weight.double()).square().sum(), weight)[0]
    with rounding(24):
        moved = torch.autograd.grad((x @ weight).square().sum(), weight)[0]
    plain = torch.autograd.grad((x @ weight).square().sum(), weight)[0]
    assert not torch.equal(moved, plain)
    assert away(moved, exact) < 20 * 2.0**-24


@pytest.mark.parametrize("norm", [nn.BatchNorm1d(16), nn.BatchNorm1d(16, momentum=None)])
def test_running_statistics_are_updated_once_and_move_by_a_few_units(norm: nn.BatchNorm1d) -> None:
    x = torch.randn(64, 16) + 1
    norm.reset_running_stats()
    with rounding(11, constants=tuple(norm.buffers())):
        norm(x)
    share = 1.0 if norm.momentum is None else norm.momentum
    expected = share * x.double().mean(0)
    assert norm.num_batches_tracked == 1
    error = away(norm.running_mean, expected)
    assert 2.0**-11 / 10 < error < 4 * 2.0**-11


def test_a_whole_model_comes_near_to_its_exact_step_and_never_gives_it() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Tanh(), nn.Flatten(), nn.Linear(144, 3))
    x, labels = torch.randn(16, 1, 8, 8), torch.randint(0, 3, (16,))

    def gradients(of: nn.Module, inputs: Tensor) -> list[Tensor]:
        of.zero_grad()
        F.cross_entropy(of(inputs), labels).backward()
        return [parameter.grad.clone() for parameter in of.parameters() if parameter.grad is not None]

    plain = gradients(model, x)
    for seed in (0, 1):
        with rounding(24, seed, tuple(model.buffers())):
            moved = gradients(model, x)
        for name, one, other in zip(dict(model.named_parameters()), moved, plain, strict=True):
            if name == "0.bias":  # normalised away: its gradient is pure rounding
                continue
            assert 0 < away(one, other) < 1e-4, name
