"""What bounds each phase, told from the laps of a simulated queue whose truth is known."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import pandas as pd
import pytest

from loopmark.bench.judge.bound import bounds

ORDER = ("data", "forward", "backward", "optimizer")
US = 1e-6


@dataclass
class Queue:
    """A host that launches kernels and a device that works them off in order, some time after their launch.

    Args:
        room: how many kernels may wait before the host has to.
    """

    latency: float = 5 * US
    room: int = 1000
    host: float = 0.0
    device: float = 0.0
    ends: list[float] = field(default_factory=list)

    def launch(self, host_seconds: float, kernel_seconds: float) -> None:
        """One kernel, or an event, which takes no time."""
        if len(self.ends) >= self.room:
            self.host = max(self.host, self.ends[-self.room])
        self.host += host_seconds
        self.device = max(self.device, self.host + self.latency) + kernel_seconds
        self.ends.append(self.device)


Phase = tuple[int, float, float]
"""Kernels, seconds to launch each, seconds that each takes."""


def laps(phases: dict[str, Phase], steps: int = 3, blocks: int = 4, room: int = 1000) -> pd.DataFrame:
    """The rows of blocks that each begin with an idle device, as a clock with events and stamps sees them."""
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
