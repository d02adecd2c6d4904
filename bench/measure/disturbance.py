"""What could have disturbed a block: read before and after it, recorded beside it, never hidden."""

import contextlib
import os
import resource
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from loopmark.bench.measure.nvml import GpuMonitor

_STAT = Path("/proc/stat")
_STEAL_FIELD = 8
"""Of a ``cpuN`` line of /proc/stat, see proc(5): the time a hypervisor gave to others, in clock ticks."""


@dataclass(frozen=True)
class Disturbance:
    """One block's. GPU figures are empty or NaN where there is none."""

    involuntary_switches: int
    """Times the kernel took a core away from a thread of the process while it still had work."""
    steal_seconds: float
    """Time the hypervisor gave to others while a pinned core had work; it is counted in steps of 10 ms."""
    sm_clock_hertz: float
    throttle_reasons: str
    foreign_processes: int
    """Processes on the GPU that are not this run's; 0 where the driver lists fewer than our own, as in containers."""


class DisturbanceMeter:
    """Reads the counters around a block, outside of its timing."""

    def __init__(self, cores: Sequence[int], gpu: GpuMonitor | None) -> None:
        self._names = {f"cpu{core}" for core in cores}
        self._gpu = gpu
        self._before = (0, 0.0)

    def begin(self) -> None:
        """Just before a block."""
        self._before = _switches(), self._steal_seconds()

    def end(self, own_processes: int) -> Disturbance:
        """Just after it. ``own_processes`` of this run hold a context on the GPU."""
        switches, steal = self._before
        gpu = self._gpu
        return Disturbance(
            involuntary_switches=_switches() - switches,
            steal_seconds=self._steal_seconds() - steal,
            sm_clock_hertz=gpu.sm_clock_hertz() if gpu else float("nan"),
            throttle_reasons=gpu.throttle_reasons() if gpu else "",
            foreign_processes=foreign(gpu.pids(), own_processes) if gpu else 0,
        )

    def _steal_seconds(self) -> float:
        if not _STAT.exists():
            return 0.0
        rows = (line.split() for line in _STAT.read_text().splitlines() if line.startswith("cpu"))
        ticks = sum(int(row[_STEAL_FIELD]) for row in rows if row[0] in self._names and len(row) > _STEAL_FIELD)
        return ticks / os.sysconf("SC_CLK_TCK")


def foreign(pids: Sequence[int], own_processes: int) -> int:
    """How many of ``pids``, the processes on the GPU, are not this run's.

    Inductor's compile workers may be among them: whatever descends from this process's parent is the run's own. Where
    this process is not listed, the ids are of another namespace, and only their number counts; so it does where who
    descends from whom cannot be told.
    """
    if len(pids) <= own_processes:
        return 0
    if os.getpid() in pids:
        with contextlib.suppress(psutil.Error):  # a process that is gone meanwhile, or may not be looked at
            parent = psutil.Process(os.getppid())  # seldom asked: it takes a look at every process of the machine
            return len(set(pids) - {parent.pid, *(child.pid for child in parent.children(recursive=True))})
    return len(pids) - own_processes


def _switches() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw
