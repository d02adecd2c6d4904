"""The switch that makes cuDNN try its algorithms."""

import pytest
import torch

from loopmark.loops.catalog import TECHNIQUES, WORKLOADS, find_loop
from loopmark.loops.technique import Skip
from loopmark.loops.user_code import BadSpec
from tests.support.tiny import CPU

PREPARE = TECHNIQUES["cudnn_benchmark"].prepare
assert PREPARE is not None


def test_it_turns_the_switch_for_a_model_with_convolutions() -> None:
    torch.backends.cudnn.benchmark = False
    PREPARE(WORKLOADS["resnet"].make(CPU, "small", None, 0))
    assert torch.backends.cudnn.benchmark


def test_a_model_without_convolutions_is_skipped_with_the_reason() -> None:
    with pytest.raises(Skip, match="needs a model with convolutions"):
        PREPARE(WORKLOADS["regression"].make(CPU, "small", None, 0))


def test_a_cpu_lacks_it() -> None:
    assert "cudnn_benchmark needs a CUDA device" in (find_loop("cudnn_benchmark").lacks(CPU) or "")


def test_it_does_not_go_with_deterministic() -> None:
    with pytest.raises(BadSpec, match="exclude each other"):
        find_loop("cudnn_benchmark+deterministic")
