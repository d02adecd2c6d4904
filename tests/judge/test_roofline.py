"""Rooflines of work and ceilings that are known."""

from dataclasses import replace

import pytest

from loopmark.bench.judge.roofline import Roofline, flops_of, kinds_of, roofline
from loopmark.bench.judge.statistics import Estimate
from loopmark.bench.records.ceilings import Ceiling, Ceilings
from loopmark.bench.records.run import PhaseWork
from tests.support.synthetic import environment, machine

GIGA = 1e9


def exactly(value: float) -> Estimate:
    return Estimate(value, value, value)


def ceiling(kind: str, dtype: str | None, value: float, spread: float = 0.0) -> Ceiling:
    unit = "flops per second" if dtype else "bytes per second"
    return Ceiling(kind, dtype, value, value * (1 - spread), value * (1 + spread), unit, 1024, 30)  # type: ignore[arg-type]


def ceilings(*more: Ceiling, spread: float = 0.0) -> Ceilings:
    """100 GFLOP/s in float32, 400 in bfloat16, 10 GB/s."""
    known = (
        ceiling("matrix product", "float32", 100 * GIGA, spread),
        ceiling("matrix product", "bfloat16", 400 * GIGA, spread),
        ceiling("copy", None, 10 * GIGA, spread),
    )
    return Ceilings("2026-01-01T00:00:00+00:00", 1.0, 1.0, 0, machine(), environment(), "cpu", (*known, *more))


WORK = (
    PhaseWork("forward", {"float32": 1 * GIGA}, 1e6),  # 10 ms of arithmetic, 0.1 ms of memory
    PhaseWork("backward", {"float32": 2 * GIGA}, 2e6),  # 20 ms, 0.2 ms
    PhaseWork("optimizer", {}, 1e8),  # 10 ms of memory
)
TOOK = {"forward": 0.020, "backward": 0.025, "optimizer": 0.040}


def judged(work: tuple[PhaseWork, ...] = WORK, seconds: float = 0.080, **options: object) -> Roofline:
    given: dict[str, object] = {"ceilings": ceilings(), "baseline_flops": flops_of(WORK), **options}
    found = roofline(work, TOOK, exactly(seconds), **given)  # type: ignore[arg-type]
    assert found is not None
    return found


def test_a_phase_takes_at_least_as_long_as_the_slower_of_its_arithmetic_and_its_memory() -> None:
    phases = judged().phases
    assert {name: roof.limit_seconds.value for name, roof in phases.items()} == pytest.approx(
        {"forward": 0.010, "backward": 0.020, "optimizer": 0.010}
    )
    assert {name: roof.limited_by for name, roof in phases.items()} == {
        "forward": "arithmetic",
        "backward": "arithmetic",
        "optimizer": "memory",
    }


def test_its_share_is_how_much_of_that_limit_it_reaches() -> None:
    assert {name: roof.share for name, roof in judged().phases.items()} == pytest.approx(
        {"forward": 0.5, "backward": 0.8, "optimizer": 0.25}
    )


def test_the_phases_of_a_step_follow_one_another_and_so_do_their_limits() -> None:
    found = judged(seconds=0.080)
    assert found.step_limit_seconds.value == pytest.approx(0.040)
    assert found.share.value == pytest.approx(0.5)


def test_utilisation_counts_the_arithmetic_alone() -> None:
    assert judged(seconds=0.060).utilisation.value == pytest.approx(0.5)


def test_utilisation_counts_what_the_baseline_needs_and_not_what_a_loop_does_again() -> None:
    again = tuple(replace(w, flops={kind: 2 * n for kind, n in w.flops.items()}) for w in WORK)
    assert judged(again, seconds=0.060).utilisation.value == pytest.approx(judged(seconds=0.060).utilisation.value)


def test_a_loop_is_measured_by_the_ceiling_of_the_type_that_it_multiplies_in() -> None:
    half = tuple(replace(w, flops={"bfloat16": flops_of([w])} if w.flops else {}) for w in WORK)
    assert judged(half, seconds=0.060).utilisation.value == pytest.approx(0.125)


@pytest.mark.parametrize(("seconds", "taken"), [(0.080, 0.0), (0.060, 0.5), (0.040, 1.0), (0.100, -0.5)])
def test_of_the_speedup_that_is_possible_a_loop_has_taken_its_share(seconds: float, taken: float) -> None:
    assert judged(seconds=seconds, baseline_seconds=0.080).taken == pytest.approx(taken)


def test_nothing_is_taken_of_what_is_not_possible_and_by_the_baseline() -> None:
    assert judged(baseline_seconds=0.030).taken is None
    assert judged().taken is None


def test_the_interval_allows_for_both_the_ceilings_and_the_steps() -> None:
    found = roofline(WORK, TOOK, Estimate(0.08, 0.07, 0.09), ceilings(spread=0.1), flops_of(WORK))
    assert found is not None
    assert found.share.low == pytest.approx(0.040 / 1.1 / 0.09)
    assert found.share.high == pytest.approx(0.040 / 0.9 / 0.07)


@pytest.mark.parametrize("missing", ["float32", None])
def test_where_a_ceiling_is_not_known_nothing_is_said(missing: str | None) -> None:
    known = replace(ceilings(), ceilings=tuple(c for c in ceilings().ceilings if c.dtype != missing))
    assert roofline(WORK, TOOK, exactly(0.08), known, flops_of(WORK)) is None


def test_a_step_of_nothing_that_is_counted_has_no_roofline() -> None:
    assert roofline((PhaseWork("forward", {}, 8.0),), TOOK, exactly(0.08), ceilings(), 0.0) is None
    assert roofline((), TOOK, exactly(0.08), ceilings(), 0.0) is None


def test_what_is_plotted_is_operations_a_byte_against_operations_a_second() -> None:
    forward = judged().phases["forward"]
    assert forward.intensity == pytest.approx(1000)
    assert forward.flops_per_second == pytest.approx(50 * GIGA)


def test_the_types_of_a_step_are_told_the_one_with_the_most_operations_first() -> None:
    mixed = (PhaseWork("forward", {"float32": 1.0, "bfloat16": 9.0}, 1.0), PhaseWork("loss", {"float32": 2.0}, 1.0))
    assert kinds_of(mixed) == ("bfloat16", "float32")


@pytest.mark.parametrize(("rate", "slow"), [(1, {"float16": 0.01}), (95, {}), (400, {})])
def test_a_type_that_the_device_is_surely_slower_in_than_in_float32_is_told(rate: float, slow: object) -> None:
    work = (PhaseWork("forward", {"float16": 1 * GIGA, "float32": GIGA}, 1e6),)
    known = ceilings(ceiling("matrix product", "float16", rate * GIGA, spread=0.04), spread=0.04)
    assert judged(work, ceilings=known).slow_types == slow


def test_the_slow_types_of_others_are_not_its_own() -> None:
    known = ceilings(ceiling("matrix product", "float16", 1 * GIGA))
    assert judged(ceilings=known).slow_types == {}
