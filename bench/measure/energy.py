"""Energy spent so far, in joules, by whichever counter this machine shows; only ever read."""

from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

import torch

from loopmark.bench.measure.nvml import monitor_of

_POWERCAP = Path("/sys/class/powercap")


class EnergyMeter(Protocol):
    """A counter of energy. It is updated a few tens of times a second: for windows of a second or so."""

    def joules(self) -> float:
        """Since some moment in the past; NaN where nothing counts it."""


class NoMeter:
    """For a machine that shows no counter."""

    def joules(self) -> float:
        """Not known."""
        return float("nan")


class PackageMeter:
    """The processor's packages, by the kernel's powercap counters (RAPL): all that they did, whoever asked for it.

    Args:
        zones: a folder for each package, with ``energy_uj``, microjoules that start again at ``max_energy_range_uj``.
    """

    def __init__(self, zones: Iterable[Path]) -> None:
        self._zones = list(zones)
        self._last = [self._read(zone) for zone in self._zones]
        self._total = 0

    def joules(self) -> float:
        """Since the meter was made."""
        for index, zone in enumerate(self._zones):
            now = self._read(zone)
            spent = now - self._last[index]
            self._total += spent if spent >= 0 else spent + int((zone / "max_energy_range_uj").read_text())
            self._last[index] = now
        return self._total / 1e6

    @staticmethod
    def _read(zone: Path) -> int:
        return int((zone / "energy_uj").read_text())


def energy_meter(device: torch.device, powercap: Path = _POWERCAP) -> EnergyMeter:
    """The counter that goes with ``device``: the GPU's own, or the processor's packages where they can be read."""
    if device.type == "cuda":
        monitor = monitor_of(device)
        return monitor if monitor is not None else NoMeter()
    if device.type != "cpu":
        return NoMeter()
    # intel-rapl:0 is a package, intel-rapl:0:1 a part of it; AMD's are called so too.
    zones = sorted(zone for zone in powercap.glob("intel-rapl:*") if zone.name.count(":") == 1)
    try:
        return PackageMeter(zones) if zones else NoMeter()
    except (OSError, ValueError):  # since 2020 only root may read them
        return NoMeter()
