"""Meters read with a block's time: disturbances, peak memory and energy."""

import contextlib
import math
import os
import resource
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from loopmark.bench.measure.loader import turns_on_a_core
from loopmark.bench.measure.nvml import GpuMonitor, monitor_of

if TYPE_CHECKING:
    import pandas as pd

_STAT = Path("/proc/stat")
_STEAL_FIELD = 8
"""Field of a ``cpuN`` line of /proc/stat, see proc(5): time the hypervisor gave to other guests, in clock ticks."""


@dataclass(frozen=True)
class Disturbance:
    """The disturbances of one block. GPU figures are empty or NaN without a GPU."""

    involuntary_switches: int
    """Times the kernel took a core away from a thread of the process while it still had work, at least: a time that its
    own children, such as a loader's workers, got a core counts as theirs."""
    steal_seconds: float
    """Time the hypervisor gave to other guests while a pinned core had work, counted in steps of 10 ms."""
    sm_clock_hertz: float
    throttle_reasons: str
    foreign_processes: int
    """Processes of other programs on the GPU; 0 where the driver lists fewer than our own, as in containers."""


class DisturbanceMeter:
    """Reads the counters before and after a block, outside its timing."""

    def __init__(self, cores: Sequence[int], gpu: GpuMonitor | None) -> None:
        self._names = {f"cpu{core}" for core in cores}
        self._gpu = gpu
        self._before = (0, 0, 0.0)

    def begin(self) -> None:
        self._before = self._switches(), turns_on_a_core(), self._steal_seconds()

    def end(self, own_processes: int) -> Disturbance:
        """The disturbances since ``begin``. ``own_processes``: this run's processes with a context on the GPU."""
        switches, own_turns, steal = self._before
        gpu = self._gpu
        return Disturbance(
            involuntary_switches=max(0, self._switches() - switches - (turns_on_a_core() - own_turns)),
            steal_seconds=self._steal_seconds() - steal,
            sm_clock_hertz=gpu.sm_clock_hertz() if gpu else math.nan,
            throttle_reasons=gpu.throttle_reasons() if gpu else "",
            foreign_processes=foreign(gpu.pids(), own_processes) if gpu else 0,
        )

    def _switches(self) -> int:
        return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw

    def _steal_seconds(self) -> float:
        if not _STAT.exists():
            return 0.0
        rows = (line.split() for line in _STAT.read_text().splitlines() if line.startswith("cpu"))
        ticks = sum(int(row[_STEAL_FIELD]) for row in rows if row[0] in self._names and len(row) > _STEAL_FIELD)
        return ticks / os.sysconf("SC_CLK_TCK")


def foreign(pids: Sequence[int], own_processes: int) -> int:
    """The number of ``pids``, the processes on the GPU, that do not belong to this run.

    Every descendant of this process's parent belongs to the run: Inductor's compile workers may be listed. The other
    side of a comparison has a parent of its own, so the number never exceeds what ``own_processes`` leaves. Where this
    process is not listed, the ids are from another namespace, and only their number is used. The number is also used
    where the process tree cannot be read.
    """
    if len(pids) <= own_processes:
        return 0
    if os.getpid() in pids:
        import psutil

        with contextlib.suppress(psutil.Error):  # the process has ended, or access to it is denied
            parent = psutil.Process(os.getppid())  # seldom reached: this reads every process of the machine
            strangers = set(pids) - {parent.pid, *(child.pid for child in parent.children(recursive=True))}
            return min(len(strangers), len(pids) - own_processes)
    return len(pids) - own_processes


BUSY = 0.5
"""A machine counts as busy where a core was taken away in more than this share of blocks. It was 0.2 on an otherwise
idle shared machine."""


def busy(blocks: "pd.DataFrame") -> list[str]:
    """A warning where other processes took a core away in most blocks; else an empty list."""
    disturbed = (blocks["involuntary_switches"] > 0) | (blocks["steal_seconds"] > 0)
    if not len(blocks) or (share := float(disturbed.mean())) <= BUSY:
        return []
    text = f"other processes took the cores away in {100 * share:.0f} % of the blocks"
    return [f"{text}; run loopmark doctor, and measure again"]


@dataclass(frozen=True)
class DeviceMemoryUse:
    """A device's memory as a process sees it, in bytes."""

    reserved: int  # the most that torch's allocator has reserved for this process
    free: int  # not in use by any process


class AcceleratorMemory:
    """Peak bytes allocated by torch's allocator on an accelerator other than CUDA."""

    kind = "device memory allocated"

    def __init__(self, device: torch.device) -> None:
        """Raises RuntimeError where the allocator keeps no statistics."""
        self._device = device
        self.reset()
        self.read()

    def reset(self) -> None:
        torch.accelerator.reset_peak_memory_stats(self._device)

    def read(self) -> int:
        return int(torch.accelerator.max_memory_allocated(self._device))


class DeviceMemory:
    """Peak bytes allocated by torch's CUDA allocator, plus the memory held by CUDA graphs.

    A replay allocates nothing: its memory lies in the graph's own pool, which the allocator counts as free.
    """

    kind = "device memory allocated or held by graphs"

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def reset(self) -> None:
        torch.cuda.reset_peak_memory_stats(self._device)

    def read(self) -> int:
        index = self._device.index or 0
        held = sum(
            segment["total_size"] - segment["allocated_size"]
            for segment in torch.cuda.memory_snapshot()
            if segment["device"] == index and tuple(segment.get("segment_pool_id", (0, 0))) != (0, 0)
        )
        return int(torch.cuda.max_memory_allocated(self._device)) + int(held)


class ResidentMemory:
    """Bytes of this process, or another one, in physical memory, including torch's own code and data."""

    kind = "resident set"

    def __init__(self, pid: int | None = None) -> None:
        self._files = Path(f"/proc/{pid or 'self'}")

    def reset(self) -> None:
        """Reset the peak, where the kernel allows it (Linux 4.0 and later)."""
        try:
            (self._files / "clear_refs").write_text("5")
        except OSError:
            self.kind = "resident set since launch"

    def read(self) -> int | None:
        if (status := self._files / "status").exists():
            line = next((row for row in status.read_text().splitlines() if row.startswith("VmHWM:")), None)
            return int(line.split()[1]) * 1024 if line else None
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


PeakMemory = DeviceMemory | AcceleratorMemory | ResidentMemory


def peak_memory_of(device: torch.device) -> PeakMemory:
    """The meter of peak memory since its ``reset``."""
    if device.type == "cuda":
        return DeviceMemory(device)
    if device.type != "cpu":
        with contextlib.suppress(RuntimeError, AttributeError):  # AttributeError: torch before 2.9
            return AcceleratorMemory(device)
    return ResidentMemory()


def held_on(device: torch.device) -> DeviceMemoryUse | None:
    """This process's peak reserved memory on ``device``, and the free memory; None where they are unknown."""
    if device.type != "cuda":
        return None
    return DeviceMemoryUse(torch.cuda.max_memory_reserved(device), torch.cuda.mem_get_info(device)[0])


class NoMeter:
    """The meter of a machine without an energy counter."""

    def joules(self) -> float:
        return math.nan


class PackageMeter:
    """The energy of the processor's packages, used by any process, from the kernel's powercap counters (RAPL).

    Each package has a folder in ``zones``; its ``energy_uj`` counts microjoules and wraps at ``max_energy_range_uj``.
    """

    def __init__(self, zones: Iterable[Path]) -> None:
        self._zones = list(zones)
        self._last = [self._read(zone) for zone in self._zones]
        self._total = 0

    def joules(self) -> float:
        """Joules since the meter was created."""
        for index, zone in enumerate(self._zones):
            now = self._read(zone)
            spent = now - self._last[index]
            self._total += spent if spent >= 0 else spent + int((zone / "max_energy_range_uj").read_text())
            self._last[index] = now
        return self._total / 1e6

    @staticmethod
    def _read(zone: Path) -> int:
        return int((zone / "energy_uj").read_text())


EnergyMeter = GpuMonitor | PackageMeter | NoMeter
"""A counter of energy. It is updated a few tens of times a second, so windows last about a second."""


def energy_meter(device: torch.device, powercap: Path = Path("/sys/class/powercap")) -> EnergyMeter:
    """The energy counter for ``device``: the GPU's own, or the processor's packages where they can be read."""
    if device.type == "cuda":
        return monitor_of(device) or NoMeter()
    # intel-rapl:0 is a package and intel-rapl:0:1 a part of it. AMD's zones have the same names.
    zones = sorted(zone for zone in powercap.glob("intel-rapl:*") if zone.name.count(":") == 1)
    with contextlib.suppress(OSError, ValueError):  # since 2020 only root can read them
        if device.type == "cpu" and zones:
            return PackageMeter(zones)
    return NoMeter()


WINDOW_SECONDS = 1.0
LEAST_WINDOW_SECONDS = 0.4
"""The window is shorter with several launches, so that a case's total time on energy stays about the same."""
MOST_WINDOWS = 3  # windows to wait for the counter to move


@dataclass(frozen=True)
class Spent:
    """Time and energy of some steps."""

    steps: int
    seconds: float
    joules: float

    @property
    def joules_per_step(self) -> float | None:
        """Joules a step; None where there is no counter, or it did not move."""
        return self.joules / self.steps if self.steps and math.isfinite(self.joules) and self.joules > 0 else None


NOTHING = Spent(0, 0.0, math.nan)


def spend(
    take_steps: Callable[[], int],
    meter: EnergyMeter,
    window_seconds: float = WINDOW_SECONDS,
    now: Callable[[], float] = time.perf_counter,
) -> Spent:
    """Time and energy of steps over about ``window_seconds``, from one update of the counter to another.

    ``take_steps`` completes some steps and returns their number.
    """
    if math.isnan(before := meter.joules()):
        return NOTHING
    begun = now()
    while meter.joules() == before:  # steps before the first update are not counted
        take_steps()
        if now() - begun > MOST_WINDOWS * window_seconds and meter.joules() == before:
            return NOTHING
    start, first, steps = now(), meter.joules(), 0
    while True:
        last = meter.joules()
        steps += take_steps()
        joules, seconds = meter.joules(), now() - start
        if seconds >= window_seconds and joules != last:
            return Spent(steps, seconds, joules - first)
        if seconds > MOST_WINDOWS * window_seconds:
            return NOTHING
