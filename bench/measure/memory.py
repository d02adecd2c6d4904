"""Peak memory of the steps alone: the device's allocator where there is one, else the process's resident set."""

import contextlib
import resource
import sys
from pathlib import Path
from typing import Protocol

import torch

from loopmark.bench.measure.answers import Held

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")


class PeakMemory(Protocol):
    """Tells the highest use of memory since ``reset``."""

    kind: str

    def reset(self) -> None:
        """Forget the peak so far."""

    def read(self) -> int | None:
        """Bytes at the peak since the last reset."""


class DeviceMemory:
    """Bytes that torch's CUDA allocator had handed out at once, and what CUDA graphs hold.

    A replay allocates nothing: what its step needs lies in the graph's own pool, free in the allocator's eyes.
    """

    kind = "device memory allocated or held by graphs"

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def reset(self) -> None:
        """Forget the peak so far."""
        torch.cuda.reset_peak_memory_stats(self._device)

    def read(self) -> int:
        """Bytes at the peak since the last reset."""
        index = self._device.index or 0
        held = sum(
            segment["total_size"] - segment["allocated_size"]
            for segment in torch.cuda.memory_snapshot()
            if segment["device"] == index and tuple(segment.get("segment_pool_id", (0, 0))) != (0, 0)
        )
        return int(torch.cuda.max_memory_allocated(self._device)) + int(held)


class AcceleratorMemory:
    """Bytes that torch's allocator had handed out at once, on a device that is no CUDA device."""

    kind = "device memory allocated"

    def __init__(self, device: torch.device) -> None:
        """Raises RuntimeError where the allocator keeps no statistics."""
        self._device = device
        self.reset()
        self.read()

    def reset(self) -> None:
        """Forget the peak so far."""
        torch.accelerator.reset_peak_memory_stats(self._device)

    def read(self) -> int:
        """Bytes at the peak since the last reset."""
        return int(torch.accelerator.max_memory_allocated(self._device))


class ResidentMemory:
    """Bytes of the process in physical memory: torch's own code and data included."""

    kind = "resident set"

    def reset(self) -> None:
        """Forget the peak so far, where the kernel lets a process do that (Linux 4.0)."""
        try:
            _CLEAR.write_text("5")
        except OSError:
            self.kind = "resident set since launch"

    def read(self) -> int | None:
        """Bytes at the peak since the last reset."""
        if _STATUS.exists():
            line = next((row for row in _STATUS.read_text().splitlines() if row.startswith("VmHWM:")), None)
            return int(line.split()[1]) * 1024 if line else None
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


def peak_memory_of(device: torch.device) -> PeakMemory:
    """The meter for ``device``."""
    if device.type == "cuda":
        return DeviceMemory(device)
    if device.type != "cpu":
        with contextlib.suppress(RuntimeError, AttributeError):  # the latter from a torch before 2.9
            return AcceleratorMemory(device)
    return ResidentMemory()


def held_on(device: torch.device) -> Held | None:
    """What this process has held of ``device`` at most, and what is free of it; None where that is not known."""
    if device.type != "cuda":
        return None
    return Held(torch.cuda.max_memory_reserved(device), torch.cuda.mem_get_info(device)[0])
