"""Time Loopmark's own loops with its own plugin: see the table at the end of a test run."""

import pytest

from loopmark.bench.plugin.loop_benchmark import LoopResult
from loopmark.phases import PHASES

BRIEFLY = {"seconds": 0.3, "launches": 2, "threads": 1, "device": "cpu"}
"""Too brief for a claim: a test must not fail because the machine is busy."""


@pytest.mark.parametrize("loop", ["eager", "foreach_optimizer"])
def test_a_step_of_linear_regression(loop_benchmark, loop: str) -> None:
    result: LoopResult = loop_benchmark("regression", loop, **BRIEFLY)

    assert (result.workload, result.loop) == ("regression", loop)
    if result.step_seconds is None:  # with --benchmark-disable or xdist
        assert not result.measured
        return
    assert 0 < result.step_seconds.value < 10
    assert list(result.phases) == list(PHASES)
    assert (result.ratio is None) == (loop == "eager")
