"""Foreign processes on a GPU, and the energy of steps."""

import math
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
import torch

from loopmark.bench.measure.meters import MOST_WINDOWS, NOTHING, NoMeter, PackageMeter, energy_meter, foreign, spend

ME, INIT = os.getpid(), 1


def test_fewer_processes_than_our_own_say_nothing_of_others() -> None:
    assert foreign([], own_processes=3) == 0
    assert foreign([4_000_001], own_processes=3) == 0


def test_ids_of_another_namespace_are_counted() -> None:
    assert foreign([4_000_001, 4_000_002, 4_000_003], own_processes=2) == 1


def test_a_stranger_among_processes_of_this_namespace_is_foreign() -> None:
    assert foreign([ME, INIT], own_processes=1) == 1


def test_the_other_side_of_a_comparison_is_not_foreign_though_another_server_forked_it() -> None:
    assert foreign([ME, INIT, 4_000_001], own_processes=2) == 1


def test_what_a_worker_started_is_never_foreign() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as compiles:
        try:
            assert foreign([ME, compiles.pid], own_processes=1) == 0
        finally:
            compiles.communicate(b"\n")


@pytest.mark.parametrize("error", [psutil.NoSuchProcess(ME), psutil.AccessDenied(ME)])
@pytest.mark.parametrize("asked", ["__init__", "children"])
def test_where_descent_cannot_be_told_processes_are_counted(
    monkeypatch: pytest.MonkeyPatch, asked: str, error: psutil.Error
) -> None:
    def refuse(*_arguments: object, **_options: object) -> None:
        raise error

    monkeypatch.setattr(psutil.Process, asked, refuse)
    assert foreign([ME, INIT, 4_000_001], own_processes=2) == 1


CPU = torch.device("cpu")


def package(folder: Path, microjoules: int, name: str = "intel-rapl:0") -> Path:
    zone = folder / name
    zone.mkdir(exist_ok=True)
    (zone / "energy_uj").write_text(f"{microjoules}\n")
    (zone / "max_energy_range_uj").write_text("1000000\n")
    return zone


def test_packages_are_added_up_from_when_the_meter_was_made(tmp_path: Path) -> None:
    package(tmp_path, 500_000)
    package(tmp_path, 100_000, "intel-rapl:1")
    package(tmp_path, 999_999, "intel-rapl:0:0")  # a part of the first zone: it would count twice
    meter = energy_meter(CPU, tmp_path)
    package(tmp_path, 700_000)
    package(tmp_path, 150_000, "intel-rapl:1")
    assert meter.joules() == pytest.approx(0.25)


def test_a_counter_that_starts_again_goes_on(tmp_path: Path) -> None:
    zone = package(tmp_path, 900_000)
    meter = PackageMeter([zone])
    package(tmp_path, 100_000)
    assert meter.joules() == pytest.approx(0.2)
    package(tmp_path, 50_000)
    assert meter.joules() == pytest.approx(1.15)


@pytest.mark.parametrize("device", [CPU, torch.device("meta")])
def test_where_nothing_counts_energy_it_is_not_zero_but_unknown(tmp_path: Path, device: torch.device) -> None:
    assert math.isnan(energy_meter(device, tmp_path / "nowhere").joules())


def test_a_counter_that_may_not_be_read_is_none(tmp_path: Path) -> None:
    zone = tmp_path / "intel-rapl:0"
    zone.mkdir()
    assert isinstance(energy_meter(CPU, tmp_path), NoMeter)


@dataclass
class World:
    """Steps of 3 ms at 200 W, and a counter that is updated every 97 ms."""

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
    # A window with arbitrary ends could be off by an update at either end.
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
