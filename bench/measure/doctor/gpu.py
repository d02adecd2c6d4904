"""Checks of a GPU through its driver: modes, power, clocks, errors, other processes and link. Nothing is set."""

import math

import pynvml

from loopmark.bench.measure.doctor.host import check_of, graded, known
from loopmark.bench.measure.nvml import SW_POWER_CAP, THROTTLES, GpuMonitor
from loopmark.bench.records.checks import Check, CheckResult

IDLE, HELD = 0x01, 0x02  # bits of clock reasons in nvml.h: the GPU is idle; a setting holds the clock
NEAR_DEGREES, CLOSE_DEGREES = 15.0, 5.0
"""Distances from the slowdown temperature called near and close. Chosen: load heats an idle GPU by more than that."""
SAME_WATTS = 1.0  # limits that differ by less count as equal
SILENT = "the driver does not report it"
SWITCH = {True: "on", False: "off"}
COMPUTE_MODES = {
    pynvml.NVML_COMPUTEMODE_DEFAULT: "default",
    pynvml.NVML_COMPUTEMODE_EXCLUSIVE_THREAD: "exclusive thread",
    pynvml.NVML_COMPUTEMODE_PROHIBITED: "prohibited",
    pynvml.NVML_COMPUTEMODE_EXCLUSIVE_PROCESS: "exclusive process",
}


class GpuSettings(GpuMonitor):
    """Settings that stay the same during a run, read by NVML's names; NaN or None where the driver reports none."""

    def whole(self, name: str, *arguments: int) -> int | None:
        value = self._say(name, *arguments)
        return None if value is None else int(value)

    def watts(self, name: str) -> float:
        return self._figure(name, unit=1e-3)

    def hertz(self, name: str, *arguments: int) -> float:
        return self._figure(name, *arguments, unit=1e6)

    def slowdown_celsius(self) -> float:
        """The temperature at which the board slows itself down."""
        limit = self._figure("nvmlDeviceGetTemperatureThreshold", pynvml.NVML_TEMPERATURE_THRESHOLD_SLOWDOWN)
        if math.isnan(limit):  # newer boards report the remaining margin instead
            return self.temperature_celsius() + self._figure("nvmlDeviceGetMarginTemperature")
        return limit

    def company(self) -> int | None:
        """The number of processes with a compute context on the device; None if unknown."""
        found = self._say("nvmlDeviceGetComputeRunningProcesses")
        return None if found is None else len(found)


@check_of("GPU", "persistence mode")
def persistence_mode(check: Check, gpu: GpuSettings) -> CheckResult:
    """Without it, the driver shuts the GPU down when its last process ends. The next process waits for it to start,
    and begins with the clocks and temperature of a cold start."""
    if known(gpu.whole("nvmlDeviceGetPersistenceMode"), SILENT) == pynvml.NVML_FEATURE_ENABLED:
        return check.good("on")
    return check.could_be_better(
        "off", "Switch it on; it lasts until the next start.", f"sudo nvidia-smi -i {gpu.board} -pm 1"
    )


@check_of("GPU", "compute mode")
def compute_mode(check: Check, gpu: GpuSettings) -> CheckResult:
    """Loopmark keeps a process of every loop on the GPU while they take turns. In an exclusive mode, all but one
    fail."""
    mode = known(gpu.whole("nvmlDeviceGetComputeMode"), SILENT)
    reading = COMPUTE_MODES.get(mode, f"mode {mode}")
    if mode == pynvml.NVML_COMPUTEMODE_DEFAULT:
        return check.good(reading)
    return check.bad(reading, "Let several processes use it.", f"sudo nvidia-smi -i {gpu.board} -c DEFAULT")


@check_of("GPU", "memory errors")
def memory_errors(check: Check, gpu: GpuSettings) -> CheckResult:
    """Error correction (ECC) costs some boards memory and bandwidth, so runs with and without it are not comparable.
    Failing memory may slow a step down, or corrupt it."""
    on, soon = known(gpu.ecc(), f"{SILENT}; the board may have no ECC"), gpu.ecc(after_next_start=True)
    lost, corrected = (
        gpu.whole("nvmlDeviceGetTotalEccErrors", kind, pynvml.NVML_VOLATILE_ECC)
        for kind in (pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, pynvml.NVML_MEMORY_ERROR_TYPE_CORRECTED)
    )
    kinds = {"uncorrected": lost, "corrected": corrected}
    counts = ", ".join(f"{count:,} {kind}" for kind, count in kinds.items() if count is not None)
    reading = f"ECC {SWITCH[on]}" + (f"; {counts} since the driver was loaded" if counts else "")
    look = f"nvidia-smi -i {gpu.board} -q -d ECC,ROW_REMAPPER"
    if lost:
        return check.bad(reading, "Check this GPU's memory before trusting its results.", look)
    if corrected:
        return check.could_be_better(reading, "Check whether the number grows.", look)
    if soon is not None and soon != on:
        return check.could_be_better(
            f"{reading}; {SWITCH[soon]} after the next start",
            "Restart the machine, or undo the change, before runs that will be compared.",
            f"sudo nvidia-smi -i {gpu.board} -e {int(on)}",
        )
    return check.good(reading)


@check_of("GPU", "MIG")
def instances(check: Check, gpu: GpuSettings) -> CheckResult:
    """A MIG instance has only a part of the GPU, and shares its power and clocks with the other instances."""
    if not known(gpu.mig(), f"{SILENT}; most boards do not support it"):
        return check.good("off")
    return check.could_be_better(
        "on",
        "Use the whole GPU. This removes its instances and ends the programs on them.",
        f"sudo nvidia-smi -i {gpu.board} -mig 0",
    )


@check_of("GPU", "power limit")
def power_limit(check: Check, gpu: GpuSettings) -> CheckResult:
    """A board at its power limit lowers its clock, for some loops more than for others."""
    limit, usual = known(gpu.power_limit_watts(), SILENT), gpu.watts("nvmlDeviceGetPowerManagementDefaultLimit")
    enforced, drawn = gpu.watts("nvmlDeviceGetEnforcedPowerLimit"), gpu.power_watts()
    reading = f"{limit:.0f} W" + (f" of {usual:.0f} W by default" if not math.isnan(usual) else "")
    if not math.isnan(drawn):
        reading += f"; {drawn:.0f} W drawn just now"
    if limit < usual - SAME_WATTS:
        return check.could_be_better(
            reading,
            "Use the board's default limit, if its cooling and power supply allow.",
            f"sudo nvidia-smi -i {gpu.board} -pl {usual:.0f}",
        )
    if enforced < limit - SAME_WATTS:
        return check.could_be_better(
            f"{reading}; {enforced:.0f} W in force",
            "Another limit is in force: the power supply, a cable, or a cap set by the server. Find it and remove it.",
            f"nvidia-smi -i {gpu.board} -q -d POWER",
        )
    return check.good(reading)


@check_of("GPU", "throttling")
def throttling(check: Check, gpu: GpuSettings) -> CheckResult:
    """A throttled clock slows every step down, for as long as the reason lasts."""
    reasons = known(gpu.clock_reasons(), SILENT)
    now = gpu.throttle_reasons()
    if not now:
        return check.good("none just now" + (", with nothing to do" if reasons & IDLE else ""))
    look = f"nvidia-smi -i {gpu.board} -q -d PERFORMANCE,TEMPERATURE,POWER"
    if reasons & sum(THROTTLES) == SW_POWER_CAP:
        return check.could_be_better(now, "End other programs on the GPU, or check its power limit.", look)
    return check.bad(now, "Let it cool, and check its cooling and power supply.", look)


@check_of("GPU", "temperature")
def temperature(check: Check, gpu: GpuSettings) -> CheckResult:
    """A hot board draws more power for the same work, and slows itself down."""
    now = known(gpu.temperature_celsius(), SILENT)
    slowdown = known(gpu.slowdown_celsius(), f"{now:.0f} °C; the driver does not report its slowdown temperature")
    reading = f"{now:.0f} °C; it slows down at {slowdown:.0f} °C"
    remedy = "Let it cool, and check its cooling."
    return graded(check, reading, remedy, bad=now >= slowdown - CLOSE_DEGREES, poor=now >= slowdown - NEAR_DEGREES)


@check_of("GPU", "clocks")
def clocks(check: Check, gpu: GpuSettings) -> CheckResult:
    """A clock that follows temperature and power drifts during a run and between runs."""
    highest_sm, highest_memory = (
        gpu.hertz("nvmlDeviceGetMaxClockInfo", kind) for kind in (pynvml.NVML_CLOCK_SM, pynvml.NVML_CLOCK_MEM)
    )
    usual, wanted = (
        gpu.hertz("nvmlDeviceGetClock", pynvml.NVML_CLOCK_SM, which)
        for which in (pynvml.NVML_CLOCK_ID_APP_CLOCK_DEFAULT, pynvml.NVML_CLOCK_ID_APP_CLOCK_TARGET)
    )
    reading = f"multiprocessors {_of(gpu.sm_clock_hertz(), highest_sm)}"
    reading += f", memory {_of(gpu.memory_clock_hertz(), highest_memory)}"
    reasons = known(gpu.clock_reasons(), f"{reading}; the driver does not report the reason")
    if reasons & HELD or wanted < usual:
        return check.good(f"{reading}; held by a setting")
    choice, hint = "MHZ", ""
    if not math.isnan(usual):
        choice, hint = f"{usual / 1e6:.0f}", " Start with the driver's default compute clock."
    return check.could_be_better(
        f"{reading}; no setting fixes them",
        "To compare small differences, lock the clock at a value that it keeps under load (see each block's clock in "
        f"a run's blocks.parquet).{hint} Steps are then slower than in daily use; `-rgc` undoes it.",
        f"sudo nvidia-smi -i {gpu.board} -lgc {choice}",
    )


@check_of("GPU", "energy counter")
def energy_counter(check: Check, gpu: GpuSettings) -> CheckResult:
    """Joules are reported only where the board counts them."""
    known(gpu.joules(), f"{SILENT}; boards before Volta, and MIG instances, have no counter")
    return check.good("can be read")


@check_of("GPU", "other processes")
def other_processes(check: Check, gpu: GpuSettings) -> CheckResult:
    """A process that computes on the same GPU slows the step down; an idle process still holds memory."""
    number = known(gpu.company(), SILENT)
    if not number:
        return check.good("none")
    return check.bad(
        f"{number:,}",
        "End them, or wait until they end.",
        f"nvidia-smi -i {gpu.board} --query-compute-apps=pid,name,used_memory --format=csv",
    )


@check_of("GPU", "PCI Express link")
def link(check: Check, gpu: GpuSettings) -> CheckResult:
    """Batches copied from the host use this link, in the phase `data`."""
    generation, highest, lanes, most = (
        known(gpu.whole(f"nvmlDeviceGet{which}PcieLink{what}"), SILENT)
        for what in ("Generation", "Width")
        for which in ("Curr", "Max")
    )
    reading = f"generation {generation} of {highest}, {lanes} of {most} lanes"
    if lanes < most:
        return check.could_be_better(
            reading,
            "Check that the board is firmly in a full-width slot. Some links use fewer lanes while idle, so check "
            "again during a run.",
            f"nvidia-smi -i {gpu.board} -q -d PCIE",
        )
    if generation < highest:
        return check.not_known(f"{reading}; an idle link slows down, so check it during a run")
    return check.good(reading)


def _of(*hertz: float) -> str:
    """``1,410 of 1,980 MHz``: a clock now, and its maximum."""
    return " of ".join("?" if math.isnan(clock) else f"{clock / 1e6:,.0f}" for clock in hertz) + " MHz"
