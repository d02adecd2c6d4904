"""Every loop without compilation trains each small workload like eager; test_lessons has the compiled ones."""

from functools import cache

import pytest

from loopmark.loops.catalog import TECHNIQUES, WORKLOADS, find_loop
from loopmark.loops.loop import EAGER
from loopmark.loops.task import Task
from loopmark.loops.technique import Skip
from tests.support.tiny import CPU, losses_of, prepared

STEPS = 10
WORKLOAD_NAMES = ("regression_mlp", "resnet", "gpt")
UNCOMPILED = (
    *(name for name in TECHNIQUES if "compile" not in name),
    "accumulate_4",
    "amp_bf16+fused_optimizer",
    "amp_fp16+fused_optimizer",
    "channels_last+checkpoint",
)
BY_DESIGN: dict[str, str] = {}
"""Techniques that train another model than eager on purpose, each with the reason."""
FLOAT32_TOLERANCE = {"regression_mlp": 1e-4, "resnet": 0.01, "gpt": 1e-4}
TOLERANCE_16_BITS = {"regression_mlp": 0.01, "resnet": 0.1, "gpt": 0.001}
"""Relative tolerance of the first losses. Batch normalisation magnifies rounding and other kernels' changes."""


def tolerance_of(name: str, workload: str) -> float:
    return TOLERANCE_16_BITS[workload] if "amp" in name else FLOAT32_TOLERANCE[workload]


def make(workload: str, seed: int = 0) -> Task:
    return WORKLOADS[workload].make(CPU, "small", None, seed)


@cache
def eager_losses(workload: str) -> tuple[float, ...]:
    return tuple(losses_of(*prepared(EAGER, make(workload)), STEPS))


@pytest.mark.parametrize("name", UNCOMPILED)
@pytest.mark.parametrize("workload", WORKLOAD_NAMES)
def test_it_trains_like_eager(workload: str, name: str) -> None:
    loop = find_loop(name)
    if reason := loop.lacks(CPU) or BY_DESIGN.get(name):
        pytest.skip(reason)
    if workload == "resnet" and "accumulate" in name:
        pytest.skip("batch normalisation sees the parts, not the batch, so this one trains differently by design")
    try:
        task, step = prepared(loop, make(workload))
    except Skip as skip:
        pytest.skip(str(skip))
    assert losses_of(task, step, STEPS) == pytest.approx(eager_losses(workload), rel=tolerance_of(name, workload))


@pytest.mark.parametrize("workload", WORKLOAD_NAMES)
def test_another_seed_trains_otherwise_by_more_than_any_tolerance(workload: str) -> None:
    losses = losses_of(*prepared(EAGER, make(workload, seed=1)), STEPS)
    assert losses != pytest.approx(eager_losses(workload), rel=TOLERANCE_16_BITS[workload])


def test_batch_normalisation_makes_accumulation_train_otherwise_as_its_page_says() -> None:
    task, step = prepared(find_loop("accumulate_4"), make("resnet"))
    assert losses_of(task, step, STEPS) != pytest.approx(eager_losses("resnet"), rel=FLOAT32_TOLERANCE["resnet"])
