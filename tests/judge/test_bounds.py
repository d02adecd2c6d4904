"""The bound of each phase, found from the laps of a simulated queue with a known truth."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pandas as pd
import pytest

from loopmark.bench.judge.bounds import Roofline, bounds, flops_of, kinds_of, roofline
from loopmark.bench.judge.statistics import Estimate
from loopmark.bench.records.ceilings import Ceiling, Ceilings
from loopmark.bench.records.run import PhaseWork
from tests.support.synthetic import environment, machine

ORDER = ("data", "forward", "backward", "optimizer")
US = 1e-6


@dataclass
class Queue:
    """A host that launches kernels, and a device that runs them in order with a delay after their launch.

    Args:
        room: number of kernels that may wait before the host has to.
    """

    latency: float = 5 * US
    room: int = 1000
    host: float = 0.0
    device: float = 0.0
    ends: list[float] = field(default_factory=list)

    def launch(self, host_seconds: float, kernel_seconds: float) -> None:
        """Launch one kernel, or an event, which takes no time."""
        if len(self.ends) >= self.room:
            self.host = max(self.host, self.ends[-self.room])
        self.host += host_seconds
        self.device = max(self.device, self.host + self.latency) + kernel_seconds
        self.ends.append(self.device)


Phase = tuple[int, float, float]
"""Number of kernels, seconds to launch each, duration of each in seconds."""


def laps(phases: dict[str, Phase], steps: int = 3, blocks: int = 4, room: int = 1000) -> pd.DataFrame:
    """The rows of blocks that each begin with an idle device, as recorded by a clock with events and stamps."""
    rows = []
    for block in range(blocks):
        queue = Queue(room=room)
        queue.launch(0.0, 0.0)
        before = (queue.host, queue.device)
        for step in range(steps):
            for name, (kernels, host_seconds, kernel_seconds) in phases.items():
                for _ in range(kernels):
                    queue.launch(host_seconds, kernel_seconds)
                queue.launch(0.0, 0.0)
                now = (queue.host, queue.device)
                rows.append((0, 0, 0, block, block * steps + step, name, now[0] - before[0], now[1] - before[1]))
                before = now
    names = ["case", "launch", "round", "block", "step", "phase", "host_seconds", "device_seconds"]
    return pd.DataFrame(rows, columns=names)


def verdicts(table: pd.DataFrame, order: Sequence[str] = ORDER) -> dict[str, str]:
    return {phase: bound.by for phase, bound in bounds(table, order).items()}


def test_a_device_that_is_quicker_than_the_launches_waits_for_them() -> None:
    assert verdicts(laps({"forward": (100, 10 * US, 2 * US), "backward": (200, 10 * US, 3 * US)})) == {
        "forward": "launch-bound",
        "backward": "launch-bound",
    }


def test_a_device_that_is_slower_than_the_launches_bounds_the_phases_itself() -> None:
    assert verdicts(laps({"forward": (100, 5 * US, 50 * US), "backward": (200, 5 * US, 80 * US)})) == {
        "forward": "device-bound",
        "backward": "device-bound",
    }


def test_a_phase_whose_launches_are_slow_is_bound_by_the_device_while_the_host_is_far_enough_ahead() -> None:
    table = laps({"forward": (100, 5 * US, 50 * US), "optimizer": (100, 10 * US, 5 * US)})
    assert verdicts(table) == {"forward": "device-bound", "optimizer": "device-bound"}


def test_a_phase_in_which_the_device_uses_up_the_hosts_lead_is_launch_bound() -> None:
    table = laps({"forward": (20, 5 * US, 20 * US), "optimizer": (100, 10 * US, 5 * US)})
    assert verdicts(table) == {"forward": "device-bound", "optimizer": "launch-bound"}


def test_a_host_that_waits_for_room_in_the_queue_is_not_what_bounds_the_phase() -> None:
    table = laps({"forward": (400, 5 * US, 50 * US)}, steps=6, room=50)
    (bound,) = bounds(table, ORDER).values()
    assert bound.host_seconds == pytest.approx(bound.device_seconds, rel=0.01)
    assert bound.by == "device-bound"


def test_the_first_step_of_a_block_finds_the_device_idle_and_does_not_count_where_there_are_more() -> None:
    phases = {"data": (2, 20 * US, 5 * US), "forward": (100, 5 * US, 50 * US)}
    assert verdicts(laps(phases, steps=4))["data"] == "device-bound"
    assert verdicts(laps(phases, steps=1))["data"] == "launch-bound"


def test_the_figures_are_those_of_the_two_clocks() -> None:
    bound = bounds(laps({"forward": (100, 5 * US, 50 * US)}, steps=2), ORDER)["forward"]
    assert bound.host_seconds == pytest.approx(100 * 5 * US)
    assert bound.device_seconds == pytest.approx(100 * 50 * US)
    assert bound.lead_seconds == pytest.approx(2 * (100 * 45) * US, rel=0.01)


@pytest.mark.parametrize("clock", ["host_seconds", "device_seconds"])
def test_where_one_clock_saw_no_phases_nothing_is_said(clock: str) -> None:
    assert bounds(laps({"forward": (100, 5 * US, 50 * US)}).assign(**{clock: float("nan")}), ORDER) == {}


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
