"""A GPU's state, read from the NVIDIA driver through NVML. Nothing is set."""

import math
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pynvml

from loopmark.bench.records.run import POWER_CAP, GpuState

if TYPE_CHECKING:
    import torch

SILENCE = (pynvml.NVMLError, pynvml.NVMLLibraryMismatchError)
"""NVML's errors where the driver does not give a value; the second one where it is older than pynvml."""


SW_POWER_CAP = 0x04
THROTTLES = {
    SW_POWER_CAP: POWER_CAP,
    0x08: "hardware slowdown",
    0x20: "thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "hardware power brake",
}
"""The reasons for a lower clock that disturb a measurement; idle or application-set clocks do not. The keys are the
bits in nvml.h (nvmlClocksEventReasons), because their names in pynvml have changed."""


class GpuMonitor:
    """One CUDA device's current state from NVML. Figures that the driver does not give are NaN, None, empty or 0."""

    def __init__(self, uuid: str) -> None:
        """Raises pynvml.NVMLError where the driver's library cannot be used or does not know the device.

        Args:
            uuid: torch's ``GPU-…`` of a GPU, or of a MIG instance, which the driver names ``MIG-…``. Indices would not
                match: NVML counts every device of the machine, CUDA those in CUDA_VISIBLE_DEVICES.
        """
        self._uuid = uuid
        pynvml.nvmlInit()
        try:
            self._handle = self._tenant = pynvml.nvmlDeviceGetHandleByUUID(uuid.encode())
        except pynvml.NVMLError as error:
            try:
                self._tenant = pynvml.nvmlDeviceGetHandleByUUID(uuid.replace("GPU-", "MIG-", 1).encode())
                self._handle = pynvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(self._tenant)
            except pynvml.NVMLError:
                raise error from None
        self._shared = self._handle is not self._tenant  # clocks and power are then the whole board's

    @property
    def board(self) -> str:
        """The driver's name of the whole board: ``GPU-…``."""
        return _text(self._say("nvmlDeviceGetUUID") or self._uuid)

    def sm_clock_hertz(self) -> float:
        return self._figure("nvmlDeviceGetClockInfo", pynvml.NVML_CLOCK_SM, unit=1e6)

    def memory_clock_hertz(self) -> float:
        return self._figure("nvmlDeviceGetClockInfo", pynvml.NVML_CLOCK_MEM, unit=1e6)

    def clock_reasons(self) -> int | None:
        """The reasons for the current clock, as the bits of nvml.h; None where the driver does not give them."""
        for name in ("nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetCurrentClocksThrottleReasons"):
            if (bits := self._say(name)) is not None:  # one function: older drivers and pynvml know the older name
                return int(bits)
        return None

    def throttle_reasons(self) -> str:
        """The reasons why the clock is throttled now, joined by ``, ``; empty if it is not."""
        now = self.clock_reasons() or 0
        return ", ".join(text for bit, text in THROTTLES.items() if now & bit)

    def temperature_celsius(self) -> float:
        """The GPU's temperature; its memory may be hotter."""
        for name in ("nvmlDeviceGetTemperature", "nvmlDeviceGetTemperatureV"):
            if (degrees := self._say(name, pynvml.NVML_TEMPERATURE_GPU)) is not None:  # CUDA 14 will remove the first
                return float(degrees)
        return math.nan

    def power_watts(self) -> float:
        """Power of the whole board now, or on newer boards over the last second; NaN for a MIG instance."""
        return math.nan if self._shared else self._figure("nvmlDeviceGetPowerUsage", unit=1e-3)

    def power_limit_watts(self) -> float:
        return self._figure("nvmlDeviceGetPowerManagementLimit", unit=1e-3)

    def ecc(self, *, after_next_start: bool = False) -> bool | None:
        """True if memory errors are corrected; None for a board without ECC, or where the driver does not give it."""
        modes = self._say("nvmlDeviceGetEccMode")
        return None if modes is None else modes[1 if after_next_start else 0] == pynvml.NVML_FEATURE_ENABLED

    def mig(self) -> bool | None:
        """True if the device is split into MIG instances; None where that is impossible or unknown."""
        modes = self._say("nvmlDeviceGetMigMode")
        return None if modes is None else modes[0] == pynvml.NVML_DEVICE_MIG_ENABLE

    def joules(self) -> float:
        """Energy used by the board since its driver was loaded; NaN before Volta, and for a MIG instance."""
        return math.nan if self._shared else self._figure("nvmlDeviceGetTotalEnergyConsumption", unit=1e-3)

    def state(self) -> GpuState:
        """The current state of the device."""
        return GpuState(
            temperature_celsius=_known(self.temperature_celsius()),
            power_watts=_known(self.power_watts()),
            power_limit_watts=_known(self.power_limit_watts()),
            sm_clock_hertz=_known(self.sm_clock_hertz()),
            memory_clock_hertz=_known(self.memory_clock_hertz()),
            ecc=self.ecc(),
            mig=self.mig(),
        )

    def pids(self) -> tuple[int, ...]:
        """The ids of processes with a compute context on the device. They may belong to another namespace."""
        return tuple(one.pid for one in self._ask(self._tenant, "nvmlDeviceGetComputeRunningProcesses") or ())

    def _figure(self, name: str, *arguments: int, unit: float = 1.0) -> float:
        """A figure in our unit; ``unit`` is the size of NVML's unit in it."""
        value = self._say(name, *arguments)
        return math.nan if value is None else float(value) * unit

    def _say(self, name: str, *arguments: int) -> Any:
        """The value of an NVML function for the board; None where the driver or pynvml lacks it."""
        return self._ask(self._handle, name, *arguments)

    def _ask(self, handle: Any, name: str, *arguments: int) -> Any:
        function: Callable[..., Any] | None = getattr(pynvml, name, None)
        with suppress(*SILENCE):
            return function(handle, *arguments) if function else None
        return None


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def monitor_of(device: "torch.device") -> GpuMonitor | None:
    """The monitor of a CUDA device; None for other devices, and where NVML cannot be used."""
    if device.type != "cuda":
        return None
    import torch  # not above: `loopmark doctor` needs only the driver

    with suppress(pynvml.NVMLError):
        return GpuMonitor(f"GPU-{torch.cuda.get_device_properties(device).uuid}")
    return None


def device_names() -> tuple[str, ...]:
    """The name of every GPU of the machine, in the driver's order; empty without a driver."""
    with suppress(pynvml.NVMLError):
        pynvml.nvmlInit()
        handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]
        return tuple(_text(pynvml.nvmlDeviceGetName(handle)) for handle in handles)
    return ()


def driver_version() -> str | None:
    """The NVIDIA driver's version; None without a driver."""
    with suppress(pynvml.NVMLError):
        pynvml.nvmlInit()
        return _text(pynvml.nvmlSystemGetDriverVersion())
    return None


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode()
