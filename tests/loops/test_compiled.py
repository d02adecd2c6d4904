import pytest
import torch

from loops.catalog import WORKLOADS, find_loop
from tests.loops.tiny import CPU, drive, prepared


def test_a_model_that_is_one_of_torchs_own_modules_is_really_compiled() -> None:
    loop = find_loop("compile")
    if reason := loop.lacks(CPU):
        pytest.skip(reason)
    torch.compiler.reset()
    counters = torch._dynamo.utils.counters
    counters.clear()
    drive(*prepared(loop, WORKLOADS["regression_mlp"].make(CPU, "small", None, 0)))  # a Sequential
    assert counters["stats"]["unique_graphs"] == 1
    torch.compiler.reset()
