"""A step's memory on a real device."""

import pytest
import torch

from loopmark.bench.measure.memory_profile import follow
from loopmark.loops.catalog import find_loop
from loopmark.loops.technique import Skip
from tests.support.tiny import make_tiny_task

pytestmark = pytest.mark.cuda
CUDA = torch.device("cuda")


@pytest.mark.parametrize("loop", ["eager", "accumulate_4", "checkpoint", "compile"])
def test_the_allocators_peaks_bound_its_own_history(loop: str) -> None:
    step = follow(make_tiny_task(CUDA, batch_size=64), find_loop(loop))

    assert step.kind == "device memory allocated"
    assert not step.ran_eagerly
    for stretch in step.stretches:
        assert stretch.end_bytes <= stretch.peak_bytes <= (stretch.peak_reserved_bytes or 0)
        assert all(moment <= stretch.peak_bytes for moment in stretch.moments)  # peaks are rounded up
    assert any(stretch.moments for stretch in step.stretches)
    assert step.fragmentation_bytes is not None
    assert step.fragmentation_bytes >= 0


def test_the_history_ends_where_the_allocator_says_it_does() -> None:
    step = follow(make_tiny_task(CUDA, batch_size=64), find_loop("eager"))
    grown = [s.moments[-1] - s.end_bytes for s in step.stretches if s.moments]

    # Requested bytes are a little less than each block's size. They agree within that rounding, and do not drift.
    assert max(grown) - min(grown) < 512 * 200


def test_a_captured_step_is_skipped_with_the_reason() -> None:
    with pytest.raises(Skip, match="cuda_graph replays captured work"):
        follow(make_tiny_task(CUDA), find_loop("cuda_graph"))
