"""The measurements of a device, on this CPU for real, and the true work of each operation."""

import math
from pathlib import Path

import pytest
import torch

from loopmark.bench.measure.ceilings import microbenchmarks
from loopmark.bench.measure.ceilings.microbenchmarks import (
    copies,
    filled,
    last_level_cache_bytes,
    launches,
    microbenchmarks_of,
    products,
    transfers,
)
from loopmark.bench.measure.ceilings.sampling import HostStopwatch, Microbenchmark
from loopmark.bench.measure.ceilings.survey import ceilings_of, measure_ceilings
from loopmark.bench.measure.plan import PlanOptions, make_plan
from loopmark.bench.measure.pool import worker_pool
from loopmark.bench.records.ceilings import Ceilings, LeftOut
from loopmark.loops.technique import Skip
from tests.support.synthetic import machine

CPU = torch.device("cpu")
GIB = 2**30


def products_here(free_bytes: int = 8 * GIB) -> dict[str | None, Microbenchmark | LeftOut]:
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
    monkeypatch.setattr(microbenchmarks, "needs_cuda", lambda *_: None)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    assert microbenchmarks._float8_lacks(torch.device("cuda")) == lacks


def test_a_float8_product_is_what_its_rounded_matrices_come_to() -> None:
    operation = microbenchmarks._float8_product(CPU, microbenchmarks.FLOAT8, 0, 256)
    left, right = operation.args[:2]  # type: ignore[attr-defined]
    product = operation()
    assert isinstance(product, torch.Tensor)
    assert product.dtype == torch.bfloat16
    torch.testing.assert_close(product.float(), left.float() @ right.float(), rtol=0.01, atol=0.3)
    assert left.is_contiguous()
    assert right.t().is_contiguous()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_a_product_is_of_two_random_matrices_of_its_type(dtype: str) -> None:
    benchmark = products_here()[dtype]
    assert isinstance(benchmark, Microbenchmark)
    product = benchmark.prepare(256)()
    assert isinstance(product, torch.Tensor)
    assert product.dtype == getattr(torch, dtype)
    assert product.shape == (256, 256)
    assert 12 < float(product.float().std()) < 20  # the sum of 256 products of normal numbers has a deviation of 16
    assert benchmark.work(256) == 2 * 256**3


def test_a_product_stays_within_its_share_of_the_memory() -> None:
    benchmark = products_here(free_bytes=GIB)["float32"]
    assert isinstance(benchmark, Microbenchmark)
    assert 3 * 4 * benchmark.sizes[-1] ** 2 <= GIB / 32
    assert benchmark.sizes == (256, 512, 1024)


def test_float32_is_multiplied_in_full_and_what_was_chosen_before_comes_back() -> None:
    benchmark = products_here()["float32"]
    assert isinstance(benchmark, Microbenchmark)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        with benchmark.context():
            assert torch.get_float32_matmul_precision() == "highest"
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)


def test_a_copy_is_of_tensors_far_larger_than_the_cache() -> None:
    benchmark = copies(CPU, 8 * GIB, 2**20, 0, HostStopwatch())
    assert isinstance(benchmark, Microbenchmark)
    assert benchmark.sizes == (4 * 2**20, 8 * 2**20, 16 * 2**20)
    copied = benchmark.prepare(benchmark.sizes[0])()
    assert isinstance(copied, torch.Tensor)
    assert copied.numel() * copied.element_size() == benchmark.sizes[0]
    assert float(copied.std()) > 0.9
    assert benchmark.work(benchmark.sizes[0]) == 2 * benchmark.sizes[0]  # read and written


def test_a_copy_that_memory_has_no_room_for_is_left_out() -> None:
    found = copies(CPU, 2**30, 2**28, 0, HostStopwatch())
    assert isinstance(found, LeftOut)
    assert found.reason == (
        "two tensors of 4 times the last-level cache of 256 MiB are more than a quarter of the 1024 MiB of free memory"
    )


@pytest.mark.parametrize("length", [1, 10, 2**20, 2**20 + 3, 3 * 2**20])
def test_data_is_random_to_the_last_number(length: int) -> None:
    tensor = filled(torch.zeros(length), seed=0)
    assert bool((tensor != 0).all())
    assert torch.equal(tensor, filled(torch.zeros(length), seed=0))


def test_the_smallest_operation_works_on_one_element() -> None:
    benchmark = launches(CPU)[0]
    assert isinstance(benchmark, Microbenchmark)
    operation = benchmark.prepare(benchmark.sizes[0])
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
    assert [(one.kind, one.variant) for one in wanted if isinstance(one, Microbenchmark)] == [
        ("host to device", "pinned"),
        ("host to device", "pageable"),
        ("device to host", "pinned"),
        ("device to host", "pageable"),
    ]
    assert all(one.work(2**20) == 2**20 for one in wanted if isinstance(one, Microbenchmark))  # across the bus, one way


def test_every_target_of_this_cpu_does_its_work_with_finite_numbers() -> None:
    for benchmark in microbenchmarks_of(CPU, (0,), seed=0):
        if isinstance(benchmark, Microbenchmark) and benchmark.kind != "copy":  # it takes a large part of the memory
            with benchmark.context():
                done = benchmark.prepare(benchmark.sizes[0])()
            assert isinstance(done, torch.Tensor), benchmark
            assert bool(done.isfinite().all()), benchmark


def found_here(folder: Path) -> Ceilings:
    plan = make_plan(PlanOptions(command=[], device="cpu", threads=1))
    with worker_pool(plan, folder) as pool:
        return measure_ceilings(pool, plan, machine(), budget_seconds=2.0)


def test_a_real_survey_in_a_process_of_its_own_is_whole_and_plausible(tmp_path: Path) -> None:
    precision, threads = torch.get_float32_matmul_precision(), torch.get_num_threads()
    found = found_here(tmp_path)
    asked = {(one.kind, one.dtype, one.variant) for one in microbenchmarks_of(CPU, (0,), seed=0)}
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
    with pytest.raises(Skip, match="devices of type meta"):
        ceilings_of(torch.device("meta"), (0,), budget_seconds=1.0, seed=0)


CPU = torch.device("cpu")


def cache(cpus: Path, core: int, index: int, level: int, kind: str, size: str, shared: str) -> None:
    folder = cpus / f"cpu{core}" / "cache" / f"index{index}"
    folder.mkdir(parents=True)
    for name, value in (("level", str(level)), ("type", kind), ("size", size), ("shared_cpu_list", shared)):
        (folder / name).write_text(f"{value}\n")


def test_caches_that_cores_share_are_counted_once_and_others_together(tmp_path: Path) -> None:
    for core, shared in ((0, "0-1"), (1, "0-1"), (2, "2-3"), (3, "2-3")):
        cache(tmp_path, core, 0, 1, "Data", "32K", str(core))
        cache(tmp_path, core, 1, 1, "Instruction", "64K", str(core))
        cache(tmp_path, core, 3, 3, "Unified", "16M", shared)
    assert last_level_cache_bytes(CPU, (0, 1), tmp_path) == 16 * 2**20
    assert last_level_cache_bytes(CPU, (0, 1, 2), tmp_path) == 32 * 2**20


@pytest.mark.parametrize("size", ["", "0K", "big", "M"])
def test_a_kernel_that_does_not_tell_is_no_cache_of_no_size(tmp_path: Path, size: str) -> None:
    cache(tmp_path, 0, 3, 3, "Unified", size, "0")
    assert last_level_cache_bytes(CPU, (0,), tmp_path) is None
    assert last_level_cache_bytes(CPU, (), tmp_path) is None
