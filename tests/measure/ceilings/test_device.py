"""What is measured of a device: of this CPU for real, and the work that each operation really does."""

import math
from pathlib import Path

import pytest
import torch

from loopmark.bench.measure.ceilings import products as products_module
from loopmark.bench.measure.ceilings.copies import copies, filled
from loopmark.bench.measure.ceilings.crew import measure_ceilings
from loopmark.bench.measure.ceilings.device import ceilings_of, targets_of
from loopmark.bench.measure.ceilings.launches import launches
from loopmark.bench.measure.ceilings.products import products
from loopmark.bench.measure.ceilings.stopwatch import HostStopwatch
from loopmark.bench.measure.ceilings.target import Target
from loopmark.bench.measure.ceilings.transfers import transfers
from loopmark.bench.measure.crew import crew_of
from loopmark.bench.measure.plan import Wish, make_plan
from loopmark.bench.records.ceilings import Ceilings, LeftOut
from loopmark.loops.technique import Skip
from tests.support.synthetic import machine

CPU = torch.device("cpu")
GIB = 2**30


def products_here(free_bytes: int = 8 * GIB) -> dict[str | None, Target | LeftOut]:
    return {one.dtype: one for one in products(CPU, free_bytes, 0, HostStopwatch())}


def test_products_come_in_every_type_that_the_loops_multiply_in() -> None:
    found = products_here()
    assert list(found) == ["float32", "tf32", "bfloat16", "float16", "float8_e4m3fn"]
    for name in ("tf32", "float8_e4m3fn"):
        absent = found[name]
        assert isinstance(absent, LeftOut)
        assert "needs a CUDA device" in absent.reason


@pytest.mark.parametrize(
    ("capability", "lacks"), [((8, 0), "float8 needs compute capability 8.9; this device has 8.0"), ((8, 9), None)]
)
def test_float8_needs_units_for_it(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], lacks: str | None
) -> None:
    monkeypatch.setattr(products_module, "needs_cuda", lambda *_: None)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    assert products_module._float8_lacks(torch.device("cuda")) == lacks


def test_a_float8_product_is_what_its_rounded_matrices_come_to() -> None:
    operation = products_module._float8_product(CPU, products_module.FLOAT8, 0, 256)
    left, right = operation.args[:2]  # type: ignore[attr-defined]
    product = operation()
    assert isinstance(product, torch.Tensor)
    assert product.dtype == torch.bfloat16
    torch.testing.assert_close(product.float(), left.float() @ right.float(), rtol=0.01, atol=0.3)
    assert left.is_contiguous()
    assert right.t().is_contiguous()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_a_product_is_of_two_random_matrices_of_its_type(dtype: str) -> None:
    target = products_here()[dtype]
    assert isinstance(target, Target)
    product = target.prepare(256)()
    assert isinstance(product, torch.Tensor)
    assert product.dtype == getattr(torch, dtype)
    assert product.shape == (256, 256)
    assert 12 < float(product.float().std()) < 20  # of 256 products of normal numbers the sum's is 16
    assert target.work(256) == 2 * 256**3


def test_a_product_stays_within_its_share_of_the_memory() -> None:
    target = products_here(free_bytes=GIB)["float32"]
    assert isinstance(target, Target)
    assert 3 * 4 * target.sizes[-1] ** 2 <= GIB / 32
    assert target.sizes == (256, 512, 1024)


def test_float32_is_multiplied_in_full_and_what_was_chosen_before_comes_back() -> None:
    target = products_here()["float32"]
    assert isinstance(target, Target)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        with target.context():
            assert torch.get_float32_matmul_precision() == "highest"
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)


def test_a_copy_is_of_tensors_far_larger_than_the_cache() -> None:
    target = copies(CPU, 8 * GIB, 2**20, 0, HostStopwatch())
    assert isinstance(target, Target)
    assert target.sizes == (4 * 2**20, 8 * 2**20, 16 * 2**20)
    copied = target.prepare(target.sizes[0])()
    assert isinstance(copied, torch.Tensor)
    assert copied.numel() * copied.element_size() == target.sizes[0]
    assert float(copied.std()) > 0.9
    assert target.work(target.sizes[0]) == 2 * target.sizes[0]  # read and written


def test_a_copy_that_memory_has_no_room_for_is_left_out() -> None:
    found = copies(CPU, 2**30, 2**28, 0, HostStopwatch())
    assert isinstance(found, LeftOut)
    assert found.reason == (
        "two tensors of 4 times the last-level cache of 256 MiB are more than a quarter of the 1024 MiB that are free"
    )


@pytest.mark.parametrize("length", [1, 10, 2**20, 2**20 + 3, 3 * 2**20])
def test_data_is_random_to_the_last_number(length: int) -> None:
    tensor = filled(torch.zeros(length), seed=0)
    assert bool((tensor != 0).all())
    assert torch.equal(tensor, filled(torch.zeros(length), seed=0))


def test_the_smallest_operation_works_on_one_element() -> None:
    target = launches(CPU)[0]
    assert isinstance(target, Target)
    operation = target.prepare(target.sizes[0])
    assert operation() == -torch.ones(1)


def test_a_cpu_has_no_transfers_and_no_launches_of_its_own() -> None:
    absent = [one for one in (*launches(CPU), *transfers(CPU, 0, HostStopwatch())) if isinstance(one, LeftOut)]
    assert [(one.kind, one.variant) for one in absent] == [
        ("launch", "device"),
        ("host to device", None),
        ("device to host", None),
    ]
    assert all(one.reason for one in absent)


def test_a_gpu_is_sent_to_and_from_memory_that_is_pinned_and_such_as_is_not() -> None:
    wanted = transfers(torch.device("cuda"), 0, HostStopwatch())
    assert [(one.kind, one.variant) for one in wanted if isinstance(one, Target)] == [
        ("host to device", "pinned"),
        ("host to device", "pageable"),
        ("device to host", "pinned"),
        ("device to host", "pageable"),
    ]
    assert all(one.work(2**20) == 2**20 for one in wanted if isinstance(one, Target))  # across the bus, one way


def test_every_target_of_this_cpu_does_its_work_with_finite_numbers() -> None:
    for target in targets_of(CPU, (0,), seed=0):
        if isinstance(target, Target) and target.kind != "copy":  # which takes a good part of the memory
            with target.context():
                done = target.prepare(target.sizes[0])()
            assert isinstance(done, torch.Tensor), target
            assert bool(done.isfinite().all()), target


def found_here(folder: Path) -> Ceilings:
    plan = make_plan(Wish(command=[], device="cpu", threads=1))
    with crew_of(plan, folder) as crew:
        return measure_ceilings(crew, plan, machine(), budget_seconds=2.0)


def test_a_real_survey_in_a_process_of_its_own_is_whole_and_plausible(tmp_path: Path) -> None:
    precision, threads = torch.get_float32_matmul_precision(), torch.get_num_threads()
    found = found_here(tmp_path)
    asked = {(one.kind, one.dtype, one.variant) for one in targets_of(CPU, (0,), seed=0)}
    told = [(one.kind, one.dtype, one.variant) for one in (*found.ceilings, *found.left_out)]
    assert len(told) == len(set(told))
    assert set(told) == asked
    for one in found.ceilings:
        assert 0 < one.low <= one.value <= one.high < math.inf
        assert one.samples >= 6
        assert one.best_size in {tried.size for tried in one.tried}
        assert all(value > 0 for tried in one.tried for value in tried.values)
        assert one.disturbance is not None
        assert one.disturbance.sampled_seconds > 0
    assert all(one.reason for one in found.left_out)
    assert (torch.get_float32_matmul_precision(), torch.get_num_threads()) == (precision, threads)


def test_a_device_that_nobody_knows_how_to_measure_is_skipped_with_the_reason() -> None:
    with pytest.raises(Skip, match="a device of type meta"):
        ceilings_of(torch.device("meta"), (0,), budget_seconds=1.0, seed=0)
