import math
from pathlib import Path

import pytest
import torch

from loopmark.bench.measure.energy import NoMeter, PackageMeter, energy_meter

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
    package(tmp_path, 999_999, "intel-rapl:0:0")  # a part of the first: it would count twice
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
