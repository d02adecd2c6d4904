"""The energy of steps whose truth is known, by a counter that stands still between its updates."""

import math
from dataclasses import dataclass

import pytest

from loopmark.bench.measure.spending import MOST_WINDOWS, NOTHING, spend


@dataclass
class World:
    """Steps of 3 ms that draw 200 W, and a counter that is updated every 97 ms."""

    update_seconds: float = 0.097
    step_seconds: float = 0.003
    watts: float = 200.0
    seconds: float = 0.05

    def take_steps(self) -> int:
        self.seconds += 5 * self.step_seconds
        return 5

    def joules(self) -> float:
        return self.watts * self.update_seconds * math.floor(self.seconds / self.update_seconds)

    def now(self) -> float:
        return self.seconds


def test_the_joules_of_a_step_are_recovered_although_the_counter_stands_still_between_its_updates() -> None:
    world = World()
    spent = spend(world.take_steps, world, now=world.now)
    assert spent.seconds >= 1.0
    assert spent.joules_per_step == pytest.approx(200 * 0.003, rel=0.03)
    # A window from anywhere to anywhere could be off by an update at either end.
    assert 0.097 / spent.seconds > 0.08


def test_a_machine_without_a_counter_takes_no_steps_for_it() -> None:
    world = World(watts=math.nan)
    assert spend(world.take_steps, world, now=world.now) == NOTHING
    assert world.seconds == 0.05


def test_a_counter_that_never_moves_is_given_up_on() -> None:
    world = World(watts=0.0)
    spent = spend(world.take_steps, world, now=world.now)
    assert spent.joules_per_step is None
    assert world.seconds < 0.05 + MOST_WINDOWS * 1.0 + 1.0


def test_a_counter_that_stops_moving_is_given_up_on_too() -> None:
    world = World()

    class Stopped:
        joules = staticmethod(lambda: float(int(100 * min(0.5, world.seconds))))

    assert spend(world.take_steps, Stopped(), now=world.now).joules_per_step is None


@pytest.mark.parametrize("step_seconds", [0.5, 1.5, 4.0])
def test_steps_far_longer_than_the_window_have_their_joules_too(step_seconds: float) -> None:
    world = World(step_seconds=step_seconds / 5)
    spent = spend(world.take_steps, world, window_seconds=0.4, now=world.now)
    assert spent.joules_per_step == pytest.approx(200 * step_seconds / 5, rel=0.1)
