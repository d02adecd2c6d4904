"""The loops, above all the graph, on a real device. Deterministic kernels allow tests for equality."""

import gc
import os
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import pairwise

import pytest
import torch
from _pytest.mark import ParameterSet

from loopmark.bench.measure.properties.prepared_loop import PreparedLoop
from loopmark.bench.measure.properties.step_trace import watch
from loopmark.bench.measure.properties.training_checks import gradients_leak
from loopmark.loops.catalog import TECHNIQUES, WORKLOADS, find_loop
from loopmark.loops.cuda_graphs import WARMUP_STEPS, Graphed, GraphedStep
from loopmark.loops.loop import EAGER
from loopmark.loops.task import Task
from loopmark.loops.technique import Skip
from tests.support.tiny import drive, losses_of, make_tiny_task, prepared

pytestmark = pytest.mark.cuda
CUDA = torch.device("cuda")
WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
"""The variable that the technique `deterministic` sets."""
STEPS = WARMUP_STEPS + 7
LOOPS = (
    "eager",
    *TECHNIQUES,
    "accumulate_4",
    "amp_fp16+accumulate_4",
    "amp_bf16+fused_optimizer",
    "channels_last+checkpoint",
    "compile+compile_optimizer",
    "checkpoint+compile",
)
GRAPHED = (
    "cuda_graph",
    "amp_bf16+cuda_graph",
    "amp_fp16+fused_optimizer+cuda_graph",
    "fused_optimizer+cuda_graph",
    "foreach_optimizer+cuda_graph",
    "channels_last+cuda_graph",
    "compile+cuda_graph",
    "compile_optimizer+cuda_graph",
    "accumulate_4+cuda_graph",
    "amp_bf16+accumulate_4+cuda_graph",
    "amp_bf16+graph_phases",
    "amp_fp16+fused_optimizer+graph_phases",
    "compile+graph_phases",
    "accumulate_4+graph_phases",
    "amp_bf16+graph_model",
    "channels_last+graph_model",
    "fused_optimizer+graph_model",
)


ALL = tuple(dict.fromkeys((*LOOPS, *GRAPHED)))
LARGE = ("eager", "amp_bf16", "compile", "cuda_graph")
"""The loops whose first loss at the large size is checked in the short set."""
LARGE_SECONDS = 1800
"""Time limit of one test at the large size: tuning every kernel of a large model exceeds the usual limit."""


def long_where_combined(names: Iterable[str]) -> list[str | ParameterSet]:
    """``names`` as parameters; combinations of techniques are marked long."""
    return [pytest.param(name, marks=pytest.mark.long) if "+" in name else name for name in names]


@pytest.fixture(autouse=True)
def _kernels_are_deterministic(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    workspace = os.environ.get(WORKSPACE)
    yield
    if workspace is None:
        os.environ.pop(WORKSPACE, None)
    else:
        os.environ[WORKSPACE] = workspace
    torch.compiler.reset()


def make(workload: str, seed: int = 0) -> Task:
    if workload == "tiny":
        return make_tiny_task(CUDA, seed=seed)
    return WORKLOADS[workload].make(CUDA, "small", None, seed)


def losses(name: str, workload: str) -> list[float]:
    loop = find_loop(name)
    if reason := loop.lacks(CUDA):
        pytest.skip(reason)
    try:
        return losses_of(*prepared(loop, make(workload)), STEPS)
    except Skip as skip:
        pytest.skip(str(skip))


@pytest.mark.parametrize("workload", WORKLOADS)
def test_a_graphs_losses_are_eagers_on_every_small_workload(workload: str) -> None:
    # Not bit by bit: a capturable optimizer counts its steps on the device, and rounds its bias correction differently.
    assert losses("cuda_graph", workload) == pytest.approx(losses("eager", workload), rel=1e-3)


@pytest.mark.parametrize("workload", WORKLOADS)
@pytest.mark.parametrize("name", LARGE)
def test_a_large_models_first_loss_is_that_of_the_same_model_in_eager(name: str, workload: str) -> None:
    loop = find_loop(name)
    if reason := loop.lacks(CUDA):
        pytest.skip(reason)
    make_large = partial(WORKLOADS[workload].make, CUDA, "large", None, 0)
    found = losses_of(*prepared(loop, make_large()), WARMUP_STEPS + 2 if "graph" in name else 1)
    gc.collect()
    torch.cuda.empty_cache()
    assert found[0] == pytest.approx(losses_of(*prepared(EAGER, make_large()), 1)[0], rel=0.02)


@pytest.mark.parametrize(
    "size", ["small", pytest.param("large", marks=[pytest.mark.long, pytest.mark.timeout(LARGE_SECONDS)])]
)
@pytest.mark.parametrize("workload", WORKLOADS)
@pytest.mark.parametrize("name", long_where_combined(name for name in ALL if name != "eager"))
def test_every_loop_starts_to_train_every_workload_as_eager_does(name: str, workload: str, size: str) -> None:
    # A few steps only: batch normalisation over parts of a batch, and sixteen bits, diverge over time.
    loop = find_loop(name)
    if reason := loop.lacks(CUDA):
        pytest.skip(reason)
    loose = 0.1 if any(part in name for part in ("amp", "tf32", "accumulate")) else 0.02
    try:
        found = losses_of(*prepared(loop, WORKLOADS[workload].make(CUDA, size, None, 0)), WARMUP_STEPS + 2)
    except Skip as skip:
        pytest.skip(str(skip))
    finally:
        gc.collect()  # a graphed model refers to itself
        torch.cuda.empty_cache()
    eagers = losses_of(*prepared(EAGER, WORKLOADS[workload].make(CUDA, size, None, 0)), WARMUP_STEPS + 2)
    # A scaler that skips its first steps repeats their losses. Once it has settled, they fall like eager's.
    if "amp_fp16" not in name:
        assert found == pytest.approx(eagers, rel=loose)
    assert found[0] == pytest.approx(eagers[0], rel=loose)


@pytest.mark.parametrize("name", long_where_combined(GRAPHED))
def test_a_graphs_losses_are_those_of_the_loop_that_it_captured(name: str) -> None:
    without = "+".join(part for part in name.split("+") if "graph" not in part) or "eager"
    assert losses(name, "tiny") == pytest.approx(losses(without, "tiny"), rel=1e-3)


@pytest.mark.parametrize("name", long_where_combined(ALL))
def test_it_trains_like_eager(name: str) -> None:
    loose = 0.05 if "amp" in name or "tf32" in name else 1e-3
    assert losses(name, "tiny") == pytest.approx(losses("eager", "tiny"), rel=loose)


@pytest.mark.parametrize("name", long_where_combined(ALL))
def test_gradients_do_not_leak_from_one_step_into_the_next(name: str) -> None:
    loop = find_loop(name)
    if reason := loop.lacks(CUDA):
        pytest.skip(reason)
    try:
        task, step = prepared(loop, make("tiny"))
    except Skip as skip:
        pytest.skip(str(skip))
    losses_of(task, step, WARMUP_STEPS + 1)
    if isinstance(step, Graphed):
        # A replay overwrites the gradients that it was captured with: poison them in place.
        batch = task.next_batch()
        for parameter in task.model.parameters():
            assert parameter.grad is not None
            parameter.grad.fill_(1e4)
        moved = [parameter.detach().clone() for parameter in task.model.parameters()]
        drive(task, step, batch)
        shifts = [(p.detach() - before).abs().max() for p, before in zip(task.model.parameters(), moved, strict=True)]
        assert all(float(parameter.grad.abs().max()) < 1e2 for parameter in _with_gradients(task))
        assert all(float(shift) < 0.1 for shift in shifts)
    else:
        assert gradients_leak(PreparedLoop(task, step)) is False


def _with_gradients(task: Task) -> list[torch.nn.Parameter]:
    scale = task.scaler.get_scale()
    found = [parameter for parameter in task.model.parameters() if parameter.grad is not None]
    for parameter in found:
        assert parameter.grad is not None
        parameter.grad.div_(scale)
    return found


@pytest.mark.parametrize("name", ["eager", "amp_bf16", "compile", "accumulate_4"])
def test_only_the_optimizer_phase_moves_parameters(name: str) -> None:
    task, step = prepared(find_loop(name), make("tiny"))
    drive(task, step)
    assert not isinstance(step, GraphedStep)
    assert [lap.phase for lap in watch(PreparedLoop(task, step)).laps if lap.moved] == ["optimizer"]


@pytest.mark.parametrize("name", ["eager", "cuda_graph", "amp_bf16+cuda_graph"])
def test_the_same_seed_gives_the_same_losses_bit_for_bit_and_another_seed_others(name: str) -> None:
    loop = find_loop(name)
    first, again, other = (losses_of(*prepared(loop, make("tiny", seed), seed), STEPS) for seed in (0, 0, 1))
    assert first == again
    assert first != other


@pytest.mark.parametrize("workload", ["resnet", "gpt"])
def test_a_replays_phases_add_up_to_its_own_total(workload: str) -> None:
    task, step = prepared(find_loop("cuda_graph"), make(workload))
    assert isinstance(step, GraphedStep)
    losses_of(task, step, WARMUP_STEPS + 3)
    if not step.marks:
        pytest.skip("this torch has no external events")
    names = [name for name, _ in step.marks]
    assert names == ["", "zero_grad", "forward", "loss", "backward", "optimizer"]
    batch = task.next_batch()
    for _ in range(5):
        drive(task, step, batch)
        torch.cuda.synchronize()
        events = [event for _, event in step.marks]
        laps = [a.elapsed_time(b) for a, b in pairwise(events)]
        assert all(lap >= 0 for lap in laps)
        assert sum(laps) == pytest.approx(events[0].elapsed_time(events[-1]), rel=0.01)


def test_float16_under_a_graph_skips_and_counts_an_overflow_on_the_device() -> None:
    task, step = prepared(find_loop("amp_fp16+fused_optimizer+cuda_graph"), make("tiny"))
    losses_of(task, step, WARMUP_STEPS + 2)
    before = [parameter.detach().clone() for parameter in task.model.parameters()]
    skipped = float(task.scaler.skipped)  # type: ignore[attr-defined]
    task.scaler.update(2.0**120)
    drive(task, step)
    assert float(task.scaler.skipped) == skipped + 1  # type: ignore[attr-defined]
    assert all(torch.equal(p, b) for p, b in zip(task.model.parameters(), before, strict=True))


def test_a_graphs_losses_and_eagers_differ_where_the_batches_do() -> None:
    task, step = prepared(EAGER, make("tiny", seed=1))
    assert losses_of(task, step, STEPS) != pytest.approx(losses("cuda_graph", "tiny"), rel=1e-3)
