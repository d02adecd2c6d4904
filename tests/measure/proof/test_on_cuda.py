"""The comparison with eager on a real device: loops that train like eager must not depart, and others must."""

from collections.abc import Iterator
from functools import partial

import pytest
import torch

from loopmark.bench.measure.meters import energy_meter
from loopmark.loops.catalog import TECHNIQUES, WORKLOADS, find_loop
from loopmark.loops.loop import EAGER
from loopmark.loops.technique import Skip
from tests.measure.proof.proofs import judged

pytestmark = pytest.mark.cuda
CUDA = torch.device("cuda")
LOOPS = (
    "eager",
    *TECHNIQUES,
    "amp_fp16+fused_optimizer",
    "amp_bf16+cuda_graph",
    "amp_fp16+fused_optimizer+cuda_graph",
    "channels_last+cuda_graph",
    "compile+cuda_graph",
)
BY_DESIGN = {("resnet", "checkpoint")}
"""Running statistics are updated twice."""


@pytest.fixture(autouse=True)
def _compiled_code_is_forgotten() -> Iterator[None]:
    yield
    torch.compiler.reset()


@pytest.mark.parametrize("workload", ["regression_mlp", "resnet", "gpt"])
@pytest.mark.parametrize("name", LOOPS)
def test_what_trains_as_eager_does_is_not_said_to_depart(workload: str, name: str) -> None:
    loop = find_loop(name)
    if reason := loop.lacks(CUDA):
        pytest.skip(reason)
    try:
        found = judged(loop, partial(WORKLOADS[workload].make, CUDA, "small", None, 0))
    except Skip as skip:
        pytest.skip(str(skip))
    assert (found.verdict == "departs") == ((workload, name) in BY_DESIGN), found


def test_eager_is_the_same_to_the_last_bit_with_deterministic_kernels() -> None:
    torch.backends.cudnn.deterministic = True
    try:
        assert judged(EAGER, partial(WORKLOADS["resnet"].make, CUDA, "small", None, 0)).verdict == "same"
    finally:
        torch.backends.cudnn.deterministic = False


def test_batch_normalisation_over_parts_departs_in_sixteen_bits_too() -> None:
    make = partial(WORKLOADS["resnet"].make, CUDA, "small", None, 0)
    assert judged(find_loop("amp_bf16+accumulate_2"), make).verdict == "departs"


def test_energy_is_counted_while_the_device_works() -> None:
    meter = energy_meter(CUDA)
    before = meter.joules()
    if before != before:
        pytest.skip("this device or driver counts no energy")
    a = torch.randn(8192, 8192, device=CUDA)
    for _ in range(100):
        a = a @ a / 100
    torch.cuda.synchronize()
    assert meter.joules() > before
