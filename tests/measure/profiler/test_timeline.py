"""Costs by phase on known timelines: forward is 10 to 40 µs of a step of 100, backward 50 to 80."""

from typing import Any

import pytest

from loopmark.bench.measure.timeline import NOT_COUNTED, StepCosts, kernel_costs, operator_costs, timeline_of
from loopmark.bench.records.trace import OUTSIDE, Cost
from tests.measure.profiler.events import AUTOGRAD, MAIN, annotation, event, kernel, launch, operator, step

PHASES = ("forward", "backward")
Event = dict[str, Any]


def kernels(*events: Event, phases: tuple[str, ...] = PHASES) -> StepCosts:
    return kernel_costs(timeline_of(events), phases)


def operators(*events: Event, phases: tuple[str, ...] = PHASES) -> StepCosts:
    return operator_costs(timeline_of(events), phases)


def by_phase(costs: StepCosts) -> dict[str, dict[str, float]]:
    """Microseconds per step, rounded to a nanosecond."""
    return {p.phase: {c.name: round(c.seconds_per_step * 1e6, 3) for c in p.costs} for p in costs.phases}


def test_a_kernel_belongs_to_the_phase_that_launched_it_though_it_runs_long_after() -> None:
    costs = kernels(*step(), launch(1, 20), kernel("gemm", 500, 530, 1), launch(2, 60), kernel("relu", 530, 540, 2))
    assert by_phase(costs) == {"forward": {"gemm": 30}, "backward": {"relu": 10}}


def test_backwards_kernels_are_backwards_though_autograds_own_thread_launches_them() -> None:
    costs = kernels(*step(), launch(1, 55, AUTOGRAD), kernel("dgrad", 90, 120, 1))
    assert by_phase(costs) == {"forward": {}, "backward": {"dgrad": 30}}


def test_a_kernel_whose_launch_was_lost_belongs_to_the_operator_that_it_names() -> None:
    costs = kernels(*step(), operator("aten::mm", 15, 20, number=33), kernel("gemm", 60, 70, 9, number=33))
    assert by_phase(costs)["forward"] == {"gemm": 10}


def test_a_kernel_that_nobody_launched_counts_for_no_phase_and_is_told_apart() -> None:
    costs = kernels(*step(), kernel("stray", 20, 30, 9), launch(1, 45), kernel("between phases", 60, 65, 1))

    assert by_phase(costs) == {"forward": {}, "backward": {}}
    assert [(cost.name, cost.calls_per_step) for cost in costs.unattributed] == [("stray", 1), ("between phases", 1)]


def test_kernels_of_a_step_that_does_not_count_are_left_out() -> None:
    before = [annotation(NOT_COUNTED, -200, -100), annotation("forward", -190, -150)]
    costs = kernels(*before, *step(), launch(1, -180), kernel("early", 20, 30, 1))

    assert costs.steps == 1
    assert by_phase(costs) == {"forward": {}, "backward": {}}
    assert costs.unattributed == ()


def test_one_launch_of_a_graph_has_all_its_kernels() -> None:
    costs = kernels(*step(), launch(1, 20), *(kernel(f"k{n}", 100 + n, 101 + n, 1) for n in range(3)))
    assert by_phase(costs)["forward"] == {"k0": 1, "k1": 1, "k2": 1}


def test_without_phases_the_whole_step_has_everything() -> None:
    costs = kernels(annotation("step", 0, 100), launch(1, 5), kernel("gemm", 200, 230, 1), phases=())
    assert by_phase(costs) == {"step": {"gemm": 30}}


def test_kernels_at_the_same_time_on_two_streams_both_count() -> None:
    costs = kernels(*step(), launch(1, 20), kernel("a", 30, 60, 1), launch(2, 25), kernel("b", 40, 70, 2))
    assert by_phase(costs)["forward"] == {"a": 30, "b": 30}


def test_copies_and_fills_of_memory_are_kernels_and_ranges_on_the_device_are_none() -> None:
    costs = kernels(
        *step(),
        launch(1, 20), event("gpu_memcpy", "Memcpy HtoD", 30, 33, 7, correlation=1),
        launch(2, 24), event("gpu_memset", "Memset", 33, 34, 7, correlation=2),
        event("gpu_user_annotation", "forward", 30, 70, 7),
    )  # fmt: skip
    assert by_phase(costs)["forward"] == {"Memcpy HtoD": 3, "Memset": 1}


def test_figures_are_of_an_average_step_and_the_dearest_comes_first() -> None:
    costs = kernels(
        *step(0), launch(1, 20), kernel("small", 30, 32, 1),
        *step(1000), launch(2, 1020), kernel("small", 1030, 1034, 2), launch(3, 1022), kernel("big", 1040, 1060, 3),
    )  # fmt: skip
    forward = costs.phases[0]

    assert costs.steps == 2
    assert forward.costs == (Cost("big", 0.5, pytest.approx(10e-6)), Cost("small", 1, pytest.approx(3e-6)))
    assert forward.host_seconds_per_step == pytest.approx(30e-6)
    assert [forward.share(cost) for cost in forward.costs] == pytest.approx([10 / 13, 3 / 13])


def test_an_operator_counts_without_those_within_it_and_the_phase_adds_up() -> None:
    costs = operators(
        *step(), operator("aten::linear", 12, 36), operator("aten::addmm", 14, 30), operator("aten::copy_", 16, 20)
    )

    assert by_phase(costs)["forward"] == {"aten::addmm": 12, "aten::linear": 8, OUTSIDE: 6, "aten::copy_": 4}
    assert costs.phases[0].seconds_per_step == pytest.approx(costs.phases[0].host_seconds_per_step)


def test_an_operator_of_another_thread_takes_nothing_from_what_waits_for_it() -> None:
    costs = operators(*step(), operator("waits", 12, 38), operator("works", 13, 50, AUTOGRAD))
    assert by_phase(costs)["forward"] == {"works": 37, "waits": 26, OUTSIDE: 4}


def test_operators_that_touch_are_not_within_one_another() -> None:
    costs = operators(*step(), operator("first", 12, 20), operator("second", 20, 25))
    assert by_phase(costs)["forward"] == {OUTSIDE: 17, "first": 8, "second": 5}


def test_an_operator_at_a_phases_end_belongs_to_what_comes_then() -> None:
    costs = operators(*step(), operator("in the gap", 40, 45), operator("at the start", 50, 55))
    assert by_phase(costs) == {"forward": {OUTSIDE: 30}, "backward": {OUTSIDE: 25, "at the start": 5}}


def test_a_persons_own_ranges_are_none_of_ours_whatever_they_are_called() -> None:
    costs = operators(
        *step(), annotation("step", 12, 20), annotation("backward", 22, 24), annotation("forward", 52, 53),
        annotation("forward", 85, 90, AUTOGRAD), annotation("forward", 200, 300),
    )  # fmt: skip

    assert costs.steps == 1
    assert by_phase(costs) == {
        "forward": {OUTSIDE: 20, "step": 8, "backward": 2},
        "backward": {OUTSIDE: 29, "forward": 1},
    }


def test_a_phase_that_comes_twice_in_a_step_is_one_phase() -> None:
    costs = operators(annotation("step", 0, 100), annotation("forward", 0, 10), annotation("forward", 50, 70))
    (forward,) = costs.phases

    assert forward.host_seconds_per_step == pytest.approx(30e-6)
    assert forward.costs == (Cost(OUTSIDE, 2, pytest.approx(30e-6)),)


def test_what_is_around_a_step_counts_for_nothing() -> None:
    costs = operators(annotation("ProfilerStep#1", -5, 105), *step(), operator("before", -4, -1))
    assert by_phase(costs) == {"forward": {OUTSIDE: 30}, "backward": {OUTSIDE: 30}}


def test_a_trace_without_a_step_has_no_phase() -> None:
    assert operators(operator("alone", 0, 1)) == StepCosts(0, ())
    assert kernels(kernel("alone", 0, 1)).phases == ()


def test_times_as_large_as_a_clocks_lose_no_nanosecond() -> None:
    late = 4_720_948_028_111.475
    costs = operators(*step(late), operator("brief", late + 12.001, late + 12.003, MAIN))
    assert by_phase(costs)["forward"]["brief"] == pytest.approx(0.002, abs=0.0011)
