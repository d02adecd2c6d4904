"""What the NVIDIA driver says of a GPU, through NVML; it is only read, never set."""

import pynvml
import torch

THROTTLES = {
    0x04: "power cap",
    0x08: "hardware slowdown",
    0x20: "thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "hardware power brake",
}
"""The reasons for a lower clock that disturb a measurement, which an idle or application-set clock does not, by their
bits in nvml.h (nvmlClocksEventReasons): their names in pynvml have changed."""

if hasattr(pynvml, "nvmlDeviceGetCurrentClocksEventReasons"):
    _clock_reasons = pynvml.nvmlDeviceGetCurrentClocksEventReasons
else:  # an older pynvml
    _clock_reasons = pynvml.nvmlDeviceGetCurrentClocksThrottleReasons


class GpuMonitor:
    """One CUDA device as NVML sees it. Figures that the driver does not give are NaN, empty or 0."""

    def __init__(self, device: torch.device) -> None:
        """Raises pynvml.NVMLError where the driver's library cannot be used."""
        pynvml.nvmlInit()
        # By identity: NVML counts every device of the machine, CUDA those in CUDA_VISIBLE_DEVICES.
        identity = f"GPU-{torch.cuda.get_device_properties(device).uuid}"
        self._handle = pynvml.nvmlDeviceGetHandleByUUID(identity.encode())

    def sm_clock_hertz(self) -> float:
        """The streaming multiprocessors' clock just now."""
        try:
            return float(pynvml.nvmlDeviceGetClockInfo(self._handle, pynvml.NVML_CLOCK_SM)) * 1e6
        except pynvml.NVMLError:
            return float("nan")

    def throttle_reasons(self) -> str:
        """Why the clock is held down just now, joined by ``, ``; empty when it is not."""
        try:
            now = _clock_reasons(self._handle)
        except pynvml.NVMLError:
            return ""
        return ", ".join(text for bit, text in THROTTLES.items() if now & bit)

    def joules(self) -> float:
        """Energy that the board has spent since its driver was loaded; NaN before Volta."""
        try:
            return float(pynvml.nvmlDeviceGetTotalEnergyConsumption(self._handle)) / 1e3
        except pynvml.NVMLError:
            return float("nan")

    def processes(self) -> int:
        """How many processes hold a compute context on the device; their ids may be of another namespace."""
        try:
            return len(pynvml.nvmlDeviceGetComputeRunningProcesses(self._handle))
        except pynvml.NVMLError:
            return 0


def monitor_of(device: torch.device) -> GpuMonitor | None:
    """The monitor of a CUDA device; None for other devices, and where NVML cannot be used."""
    if device.type != "cuda":
        return None
    try:
        return GpuMonitor(device)
    except pynvml.NVMLError:
        return None


def driver_version() -> str | None:
    """The NVIDIA driver's version; None where there is none."""
    try:
        pynvml.nvmlInit()
        version = pynvml.nvmlSystemGetDriverVersion()
    except pynvml.NVMLError:
        return None
    return version if isinstance(version, str) else version.decode()
