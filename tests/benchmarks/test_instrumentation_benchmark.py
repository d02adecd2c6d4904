"""Time the stopwatch itself with pytest-benchmark: read the table at the end of a test run, not the pass mark."""

import pytest
import torch

from loopmark.bench.measure.clock import HostClock

STEPS = 1000


class EmptyTask:
    """A task with a free batch, whose step only names its phases."""

    device = torch.device("cpu")
    last_loss = None

    def next_batch(self) -> tuple[int, int]:
        return 0, 0


def empty_step(task, inputs, targets):
    yield "zero_grad"
    yield "forward"
    yield "loss"
    yield "backward"
    yield "optimizer"


@pytest.mark.benchmark(group="1000 empty steps of five phases")
@pytest.mark.parametrize("lapped", [True, False], ids=["with laps", "without laps"])
def test_driving_a_thousand_empty_steps(benchmark, lapped: bool) -> None:
    clock = HostClock(EmptyTask(), empty_step)
    block = benchmark(clock.lapped if lapped else clock.plain, STEPS)

    assert block.steps == STEPS
    assert 0 < block.host_seconds < 60
