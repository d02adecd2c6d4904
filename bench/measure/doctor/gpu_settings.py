"""How a GPU is set up, as its driver tells it; never set here."""

import math

import pynvml

from loopmark.bench.measure.nvml import GpuMonitor

COMPUTE_MODES = {
    pynvml.NVML_COMPUTEMODE_DEFAULT: "default",
    pynvml.NVML_COMPUTEMODE_EXCLUSIVE_THREAD: "exclusive thread",
    pynvml.NVML_COMPUTEMODE_PROHIBITED: "prohibited",
    pynvml.NVML_COMPUTEMODE_EXCLUSIVE_PROCESS: "exclusive process",
}


class GpuSettings(GpuMonitor):
    """What a run does not change. What the driver does not tell is NaN or None."""

    def persistence(self) -> bool | None:
        """Whether the driver stays loaded while nobody uses the device."""
        mode = self._say("nvmlDeviceGetPersistenceMode")
        return None if mode is None else mode == pynvml.NVML_FEATURE_ENABLED

    def compute_mode(self) -> str | None:
        """Who may have a context on the device: ``default`` is anyone."""
        mode = self._say("nvmlDeviceGetComputeMode")
        return None if mode is None else COMPUTE_MODES.get(mode, f"mode {mode}")

    def default_power_limit_watts(self) -> float:
        """The limit that the board comes with."""
        return self._figure("nvmlDeviceGetPowerManagementDefaultLimit", unit=1e-3)

    def enforced_power_limit_watts(self) -> float:
        """The least of all limits, that of the machine's own power supply included."""
        return self._figure("nvmlDeviceGetEnforcedPowerLimit", unit=1e-3)

    def highest_sm_clock_hertz(self) -> float:
        """What the multiprocessors' clock may rise to."""
        return self._figure("nvmlDeviceGetMaxClockInfo", pynvml.NVML_CLOCK_SM, unit=1e6)

    def highest_memory_clock_hertz(self) -> float:
        """What the memory's clock may rise to."""
        return self._figure("nvmlDeviceGetMaxClockInfo", pynvml.NVML_CLOCK_MEM, unit=1e6)

    def default_sm_clock_hertz(self) -> float:
        """The multiprocessors' clock that the board is meant to compute with."""
        return self._figure(
            "nvmlDeviceGetClock", pynvml.NVML_CLOCK_SM, pynvml.NVML_CLOCK_ID_APP_CLOCK_DEFAULT, unit=1e6
        )

    def application_sm_clock_hertz(self) -> float:
        """The multiprocessors' clock that somebody has asked for."""
        return self._figure("nvmlDeviceGetClock", pynvml.NVML_CLOCK_SM, pynvml.NVML_CLOCK_ID_APP_CLOCK_TARGET, unit=1e6)

    def slowdown_celsius(self) -> float:
        """From which temperature on the board slows itself down."""
        limit = self._figure("nvmlDeviceGetTemperatureThreshold", pynvml.NVML_TEMPERATURE_THRESHOLD_SLOWDOWN)
        if math.isnan(limit):  # newer boards give what is left of it instead
            return self.temperature_celsius() + self._figure("nvmlDeviceGetMarginTemperature")
        return limit

    def ecc_after_next_start(self) -> bool | None:
        """Whether memory errors will be corrected."""
        modes = self._say("nvmlDeviceGetEccMode")
        return None if modes is None else modes[1] == pynvml.NVML_FEATURE_ENABLED

    def corrected_errors(self) -> int | None:
        """Memory errors that were corrected since the driver was loaded."""
        return self._errors(pynvml.NVML_MEMORY_ERROR_TYPE_CORRECTED)

    def uncorrected_errors(self) -> int | None:
        """Memory errors that could not be corrected since the driver was loaded."""
        return self._errors(pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED)

    def link_generation(self) -> int | None:
        """The PCI Express generation that the link runs at now."""
        return self._whole("nvmlDeviceGetCurrPcieLinkGeneration")

    def highest_link_generation(self) -> int | None:
        """The highest PCI Express generation of this board in this machine."""
        return self._whole("nvmlDeviceGetMaxPcieLinkGeneration")

    def link_lanes(self) -> int | None:
        """The PCI Express lanes that the link uses now."""
        return self._whole("nvmlDeviceGetCurrPcieLinkWidth")

    def most_link_lanes(self) -> int | None:
        """The most PCI Express lanes of this board in this machine."""
        return self._whole("nvmlDeviceGetMaxPcieLinkWidth")

    def company(self) -> int | None:
        """How many processes hold a compute context on the device."""
        found = self._say("nvmlDeviceGetComputeRunningProcesses")
        return None if found is None else len(found)

    def _errors(self, kind: int) -> int | None:
        return self._whole("nvmlDeviceGetTotalEccErrors", kind, pynvml.NVML_VOLATILE_ECC)

    def _whole(self, name: str, *arguments: int) -> int | None:
        value = self._say(name, *arguments)
        return None if value is None else int(value)
