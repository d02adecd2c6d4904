from collections.abc import Iterator

import pytest
import torch

from loopmark.bench.measure.proof.precision import bits_of, least_bits
from loopmark.loops.catalog import find_loop
from tests.support.tiny import make_tiny_task, prepared


@pytest.fixture(autouse=True)
def _the_precision_of_matrix_products_is_put_back() -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    yield
    torch.set_float32_matmul_precision(before)


@pytest.mark.parametrize(
    ("kind", "bits"), [(torch.float64, 53), (torch.float32, 24), (torch.float16, 11), (torch.bfloat16, 8)]
)
def test_a_types_significant_bits_count_the_hidden_one(kind: torch.dtype, bits: int) -> None:
    assert bits_of(kind) == bits


@pytest.mark.parametrize(
    ("loop", "bits"), [("eager", 24), ("channels_last", 24), ("amp_bf16", 8), ("amp_fp16", 11), ("accumulate_2", 24)]
)
def test_a_techniques_autocast_tells_of_its_precision(loop: str, bits: int) -> None:
    task, _ = prepared(find_loop(loop), make_tiny_task())
    assert least_bits(task, torch.zeros(1)) == bits


def test_so_do_predictions_of_fewer_bits_and_parameters_that_have_them() -> None:
    task = make_tiny_task()
    assert least_bits(task, torch.zeros(1, dtype=torch.bfloat16)) == 8
    assert least_bits(task, torch.zeros(1, dtype=torch.int64)) == 24
    task.plain_model.classifier.half()
    assert least_bits(task, torch.zeros(1)) == 11


@pytest.mark.parametrize(("precision", "bits"), [("highest", 24), ("high", 11), ("medium", 8)])
def test_and_what_torch_may_do_with_float32s_matrix_products(precision: str, bits: int) -> None:
    torch.set_float32_matmul_precision(precision)
    assert least_bits(make_tiny_task(), torch.zeros(1)) == bits
