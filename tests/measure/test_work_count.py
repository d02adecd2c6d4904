"""The work of steps whose flops and bytes can be counted by hand."""

from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from loopmark.bench.measure.work_count import Counting, _kind, attention_of, count_work
from loopmark.bench.records.run import PhaseWork
from loopmark.loops.catalog import WORKLOADS, find_loop
from loopmark.loops.loop import EAGER, Loop
from loopmark.loops.task import Task
from tests.support.tiny import CPU, make_tiny_task

ROWS, INPUTS, OUTPUTS = 8, 32, 16
FLOAT = 4


def linear(seed: int = 0) -> Task:
    torch.manual_seed(seed)
    batch = torch.randn(ROWS, INPUTS), torch.randn(ROWS, OUTPUTS)
    return Task(nn.Linear(INPUTS, OUTPUTS, bias=False), F.mse_loss, torch.optim.AdamW, [batch])


def counted(work: Callable[[], object]) -> PhaseWork:
    with Counting() as counting:
        kept = work()
        lap = counting.lap("forward")
        del kept
    return lap


def by_phase(loop: Loop, task: Task) -> dict[str, PhaseWork]:
    return {work.phase: work for work in count_work(task, loop, seed=0)}


def test_a_linear_layers_flops_are_two_for_each_product_and_twice_that_backward_but_for_the_inputs() -> None:
    work = by_phase(EAGER, linear())
    product = 2 * ROWS * INPUTS * OUTPUTS
    assert work["forward"].flops == {"float32": product}
    assert work["backward"].flops == {"float32": product}  # of the weights only: the batch needs no gradient
    assert {name for name, w in work.items() if w.flops} == {"forward", "backward"}


def test_adamw_has_to_read_four_tensors_and_write_three_fused_or_not() -> None:
    parameters = INPUTS * OUTPUTS * FLOAT
    for name in ("eager", "fused_optimizer"):
        assert by_phase(find_loop(name), linear())["optimizer"].least_bytes == pytest.approx(7 * parameters, rel=0.01)


def test_what_is_made_and_dropped_within_a_phase_need_not_move() -> None:
    x = torch.randn(1000)
    assert counted(lambda: ((x * 2 + 1).relu() - 3).sum()).least_bytes == x.nbytes + FLOAT


def test_what_outlives_its_phase_is_written_once_however_often() -> None:
    x = torch.randn(1000)
    assert counted(lambda: (x * 2).add_(1).relu_()).least_bytes == 2 * x.nbytes


def test_what_is_changed_in_place_is_read_and_written() -> None:
    x = torch.randn(1000)
    assert counted(lambda: x.mul_(2).add_(1)).least_bytes == 2 * x.nbytes


def test_a_view_moves_nothing_and_a_gather_reads_no_more_than_it_writes() -> None:
    x = torch.randn(1000, 10)
    assert counted(lambda: x.t()[2:4]).least_bytes == 0
    rows = torch.arange(5)
    assert counted(lambda: x[rows]).least_bytes == 2 * 5 * 10 * FLOAT + rows.nbytes


def test_a_value_that_is_spread_over_many_counts_once() -> None:
    x = torch.randn(1).expand(1000)
    y = torch.randn(1000)
    assert counted(lambda: y.add_(x)).least_bytes == 2 * y.nbytes + FLOAT


def test_the_next_phase_reads_what_the_one_before_it_left() -> None:
    x = torch.randn(1000)
    with Counting() as counting:
        y = x * 2
        counting.lap("forward")
        y.sum()
        assert counting.lap("loss").least_bytes == y.nbytes


@pytest.mark.parametrize("workload", ["regression_mlp", "resnet"])
def test_the_flops_are_those_of_torchs_own_counter(workload: str) -> None:
    def make() -> Task:
        return WORKLOADS[workload].make(CPU, "small", None, 0)

    task = make()
    step = EAGER.prepare(task)
    with FlopCounterMode(display=False) as counter:
        list(step(task, *task.next_batch()))
    total = sum(sum(work.flops.values()) for work in count_work(make(), EAGER, seed=0))
    assert total == counter.get_total_flops() > 0


def test_attention_on_a_cpu_counts_as_its_two_products_do() -> None:
    q, k, v = (torch.randn(2, 4, 64, 16, requires_grad=True) for _ in range(3))
    forward = counted(lambda: F.scaled_dot_product_attention(q, k, v)).flops
    assert forward == {"float32": 2 * (2 * 2 * 4 * 64 * 64 * 16)}
    out = F.scaled_dot_product_attention(q, k, v)
    assert sum(counted(lambda: out.sum().backward()).flops.values()) >= 2 * forward["float32"]


@pytest.mark.parametrize(("backend", "kernel"), [(SDPBackend.MATH, "math"), (SDPBackend.FLASH_ATTENTION, "flash")])
def test_the_kernel_that_attention_ran_in_is_told(backend: SDPBackend, kernel: str) -> None:
    q = torch.randn(2, 4, 64, 16, requires_grad=True)
    with sdpa_kernel(backend):
        assert counted(lambda: F.scaled_dot_product_attention(q, q, q)).attention == (kernel,)
    assert counted(lambda: torch.softmax(q @ q.mT, dim=-1) @ q).attention == ()


@pytest.mark.parametrize(
    ("operation", "kernel"),
    [
        ("_scaled_dot_product_flash_attention", "flash"),
        ("_scaled_dot_product_efficient_attention_backward", "efficient"),
        ("_scaled_dot_product_cudnn_attention", "cudnn"),
        ("_scaled_dot_product_fused_attention_overrideable_backward", "fused"),
        ("_scaled_dot_product_flash_attention_for_cpu_backward", "flash"),
        ("bmm", None),
        ("_softmax", None),
    ],
)
def test_every_kernel_of_torchs_attention_has_its_name(operation: str, kernel: str | None) -> None:
    assert attention_of(getattr(torch.ops.aten, operation).default) == kernel


def test_a_case_of_gpt_says_which_kernel_its_forward_and_backward_had() -> None:
    task = WORKLOADS["gpt"].make(CPU, "small", 2, 0)
    found = {work.phase: work.attention for work in count_work(task, EAGER, seed=0)}
    assert {phase for phase, kernels in found.items() if kernels} == {"forward", "backward"}
    assert found["forward"] == found["backward"] == ("flash",)


@pytest.mark.parametrize(("name", "kind"), [("amp_bf16", "bfloat16"), ("amp_fp16", "float16"), ("eager", "float32")])
def test_products_count_in_the_type_that_they_multiply_in(name: str, kind: str) -> None:
    work = by_phase(find_loop(name), make_tiny_task())
    assert set(work["forward"].flops) == set(work["backward"].flops) == {kind}


@pytest.mark.parametrize("name", ["compile", "compile+compile_optimizer"])
def test_a_compiled_loop_is_counted_as_it_was_before(name: str) -> None:
    compiled, eager = (count_work(make_tiny_task(), loop, seed=0) for loop in (find_loop(name), EAGER))
    assert [(work.phase, work.flops) for work in compiled] == [(work.phase, work.flops) for work in eager]
    # The learning rate of a compiled update is a tensor, which is read.
    assert [work.least_bytes for work in compiled] == pytest.approx([work.least_bytes for work in eager], abs=64)


def test_what_is_computed_again_in_backward_counts_there() -> None:
    again, once = (by_phase(find_loop(name), make_tiny_task()) for name in ("checkpoint", "eager"))
    assert again["forward"].flops == once["forward"].flops
    assert again["backward"].flops["float32"] > once["backward"].flops["float32"]
    assert again["forward"].least_bytes < once["forward"].least_bytes


def test_a_phase_that_repeats_is_summed_and_the_tail_counts_for_the_last_one() -> None:
    def step(task: Task, inputs: Tensor, targets: Tensor) -> Iterator[str]:
        for _ in range(3):
            task.model(inputs)
            yield "forward"
        task.model(inputs)

    (work,) = (w for w in count_work(linear(), Loop("own", step), seed=0) if w.phase == "forward")
    assert work.flops == {"float32": 4 * 2 * ROWS * INPUTS * OUTPUTS}


def test_what_is_overwritten_is_not_read() -> None:
    x, y = torch.randn(1000), torch.randn(1000)
    assert counted(lambda: x.copy_(y)).least_bytes == 2 * x.nbytes
    assert counted(lambda: x.zero_()).least_bytes == x.nbytes
    assert counted(lambda: torch.mul(x, y, out=torch.empty(1000))).least_bytes == 3 * x.nbytes


def test_memory_that_is_set_aside_and_not_written_does_not_move() -> None:
    assert counted(lambda: torch.empty(1000)).least_bytes == 0


def test_what_is_captured_and_replayed_is_counted_as_it_is_before(monkeypatch: pytest.MonkeyPatch) -> None:
    def out_of_sight(*_: object, **__: object) -> None:
        raise AssertionError("captured, and so not counted")

    monkeypatch.setattr(torch.cuda, "make_graphed_callables", out_of_sight)
    assert count_work(make_tiny_task(), find_loop("graph_model"), seed=0) == count_work(make_tiny_task(), EAGER, seed=0)


ON_CUDA = SimpleNamespace(dtype=torch.float32, device=torch.device("cuda:0"))


@pytest.mark.parametrize(("capability", "kind"), [((7, 5), "float32"), ((8, 0), "tf32"), ((9, 0), "tf32")])
def test_a_float32_convolution_is_one_in_tf32_only_where_the_device_has_it(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], kind: str
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)

    assert torch.backends.cudnn.allow_tf32  # torch's default
    assert _kind(ON_CUDA, convolves=True) == kind
