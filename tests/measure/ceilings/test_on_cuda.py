"""All ceilings of a real CUDA device are there and plausible together, and the device is left unchanged."""

import pytest
import torch

from loopmark.bench.measure.ceilings.microbenchmarks import free_bytes, last_level_cache_bytes, transfers
from loopmark.bench.measure.ceilings.sampling import EventStopwatch, Microbenchmark, QueueStopwatch
from loopmark.bench.measure.ceilings.survey import ceilings_of, microbenchmarks_of
from loopmark.bench.records.ceilings import Ceiling
from loopmark.loops.switches import tf32

pytestmark = pytest.mark.cuda
CUDA = torch.device("cuda:0")


@pytest.fixture(scope="module")
def ceilings() -> dict[tuple[str, str | None, str | None], Ceiling]:
    found = ceilings_of(CUDA, (), budget_seconds=30.0, seed=0)
    return {(one.kind, one.dtype, one.variant): one for one in found.ceilings}


FoundCeilings = dict[tuple[str, str | None, str | None], Ceiling]


def test_everything_has_a_ceiling(ceilings: FoundCeilings) -> None:
    asked = {
        (one.kind, one.dtype, one.variant) for one in microbenchmarks_of(CUDA, (), 0) if isinstance(one, Microbenchmark)
    }
    assert set(ceilings) == asked
    assert all(0 < one.low <= one.value <= one.high and one.samples >= 6 for one in ceilings.values())


@pytest.mark.skipif(torch.cuda.is_available() and bool(tf32.lacks(CUDA)), reason="this device has no TensorFloat-32")
def test_tensorfloat_32_multiplies_faster_than_float32_and_16_bits_faster_still(ceilings: FoundCeilings) -> None:
    single, tensor, half = (ceilings["matrix product", dtype, None].value for dtype in ("float32", "tf32", "bfloat16"))
    assert single < tensor < half


def test_the_devices_memory_is_faster_than_the_bus(ceilings: FoundCeilings) -> None:
    copy = ceilings["copy", None, None].value
    assert all(copy > one.value for key, one in ceilings.items() if "host" in key[0].split())


def test_pinned_memory_is_no_slower_than_pageable(ceilings: FoundCeilings) -> None:
    for kind in ("host to device", "device to host"):
        assert ceilings[kind, None, "pinned"].value > 0.9 * ceilings[kind, None, "pageable"].value


def test_precision_is_put_back(ceilings: FoundCeilings) -> None:
    assert torch.get_float32_matmul_precision() == "highest"


def test_the_cache_and_the_memory_are_the_devices() -> None:
    properties = torch.cuda.get_device_properties(CUDA)
    assert last_level_cache_bytes(CUDA, ()) == properties.L2_cache_size
    assert 0 < free_bytes(CUDA) <= properties.total_memory


def test_a_device_that_sleeps_is_timed_by_its_own_clock() -> None:
    stopwatch = EventStopwatch(CUDA)
    one, ten = (stopwatch.seconds(lambda: torch.cuda._sleep(10_000_000), repeats) for repeats in (1, 10))
    assert one > 1e-3
    assert 8 < ten / one < 12


def test_the_host_enqueues_while_the_device_is_held() -> None:
    element = torch.ones(1, device=CUDA)
    for by_host in (True, False):
        assert 0 < QueueStopwatch(CUDA, by_host=by_host).seconds(element.neg_, 300) / 300 < 1e-3


@pytest.mark.parametrize("number", range(4))
def test_a_transfer_brings_its_data(number: int) -> None:
    benchmark = transfers(CUDA, 0, EventStopwatch(CUDA))[number]
    assert isinstance(benchmark, Microbenchmark)
    brought = benchmark.prepare(2**20)()
    assert isinstance(brought, torch.Tensor)
    torch.cuda.synchronize()
    assert brought.device.type == ("cuda" if benchmark.kind == "host to device" else "cpu")
    assert brought.is_pinned() == (benchmark.kind == "device to host" and benchmark.variant == "pinned")
    assert float(brought.std()) > 0.9
