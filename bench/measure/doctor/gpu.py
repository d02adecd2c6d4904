"""A GPU as its driver shows it, which is only read: its modes, power, clocks, errors, company and link."""

import math

import pynvml

from loopmark.bench.measure.doctor.host import check_of, known
from loopmark.bench.measure.nvml import SW_POWER_CAP, THROTTLES, GpuMonitor
from loopmark.bench.records.checks import Check, CheckResult

IDLE, HELD = 0x01, 0x02  # why a clock is what it is, by its bit in nvml.h: nobody computes; somebody has set it
NEAR_DEGREES, CLOSE_DEGREES = 15.0, 5.0
"""How far from slowing down is called near, and close. Chosen: an idle GPU rises by more than that under load."""
SAME_WATTS = 1.0  # limits that differ by less are one
SILENT = "the driver does not say"
SWITCH = {True: "on", False: "off"}
COMPUTE_MODES = {
    pynvml.NVML_COMPUTEMODE_DEFAULT: "default",
    pynvml.NVML_COMPUTEMODE_EXCLUSIVE_THREAD: "exclusive thread",
    pynvml.NVML_COMPUTEMODE_PROHIBITED: "prohibited",
    pynvml.NVML_COMPUTEMODE_EXCLUSIVE_PROCESS: "exclusive process",
}


class GpuSettings(GpuMonitor):
    """What a run does not change, asked by NVML's own names. What the driver does not tell is NaN or None."""

    def whole(self, name: str, *arguments: int) -> int | None:
        value = self._say(name, *arguments)
        return None if value is None else int(value)

    def watts(self, name: str) -> float:
        return self._figure(name, unit=1e-3)

    def hertz(self, name: str, *arguments: int) -> float:
        return self._figure(name, *arguments, unit=1e6)

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

    def company(self) -> int | None:
        """How many processes hold a compute context on the device."""
        found = self._say("nvmlDeviceGetComputeRunningProcesses")
        return None if found is None else len(found)


@check_of("GPU", "persistence mode")
def persistence_mode(check: Check, gpu: GpuSettings) -> CheckResult:
    """Without it the driver puts the GPU down when its last process ends, and the next one waits for it to come up,
    with clocks and temperature of a cold start."""
    if known(gpu.whole("nvmlDeviceGetPersistenceMode"), SILENT) == pynvml.NVML_FEATURE_ENABLED:
        return check.good("on")
    return check.could_be_better(
        "off", "Switch it on; it lasts until the next start.", f"sudo nvidia-smi -i {gpu.board} -pm 1"
    )


@check_of("GPU", "compute mode")
def compute_mode(check: Check, gpu: GpuSettings) -> CheckResult:
    """Loopmark keeps a process of every loop on the GPU while they take turns; in an exclusive mode all but one
    fail."""
    mode = known(gpu.whole("nvmlDeviceGetComputeMode"), SILENT)
    reading = COMPUTE_MODES.get(mode, f"mode {mode}")
    if mode == pynvml.NVML_COMPUTEMODE_DEFAULT:
        return check.good(reading)
    return check.bad(reading, "Let several processes use it.", f"sudo nvidia-smi -i {gpu.board} -c DEFAULT")


@check_of("GPU", "memory errors")
def memory_errors(check: Check, gpu: GpuSettings) -> CheckResult:
    """Correcting errors (ECC) costs some boards memory and bandwidth, so that runs with and without it do not compare;
    a memory that fails may slow a step down, or spoil it."""
    on, soon = known(gpu.ecc(), f"{SILENT}; a board without ECC cannot"), gpu.ecc_after_next_start()
    lost, corrected = (
        gpu.whole("nvmlDeviceGetTotalEccErrors", kind, pynvml.NVML_VOLATILE_ECC)
        for kind in (pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, pynvml.NVML_MEMORY_ERROR_TYPE_CORRECTED)
    )
    kinds = {"uncorrected": lost, "corrected": corrected}
    counts = ", ".join(f"{count:,} {kind}" for kind, count in kinds.items() if count is not None)
    reading = f"ECC {SWITCH[on]}" + (f"; {counts} since the driver was loaded" if counts else "")
    look = f"nvidia-smi -i {gpu.board} -q -d ECC,ROW_REMAPPER"
    if lost:
        return check.bad(reading, "Do not trust what this GPU computes before its memory was looked at.", look)
    if corrected:
        return check.could_be_better(reading, "See whether they become more.", look)
    if soon is not None and soon != on:
        return check.could_be_better(
            f"{reading}; {SWITCH[soon]} after the next start",
            "Start the machine again, or take the change back, before runs that are to compare.",
            f"sudo nvidia-smi -i {gpu.board} -e {int(on)}",
        )
    return check.good(reading)


@check_of("GPU", "MIG")
def instances(check: Check, gpu: GpuSettings) -> CheckResult:
    """An instance of a GPU has a part of it, and shares power and clocks with the others."""
    if not known(gpu.mig(), f"{SILENT}; most boards cannot be divided"):
        return check.good("off")
    return check.could_be_better(
        "on",
        "Use the whole GPU; its instances, and what runs on them, go away.",
        f"sudo nvidia-smi -i {gpu.board} -mig 0",
    )


@check_of("GPU", "power limit")
def power_limit(check: Check, gpu: GpuSettings) -> CheckResult:
    """A board at its power limit lowers its clock, more for one loop than for another."""
    limit, usual = known(gpu.power_limit_watts(), SILENT), gpu.watts("nvmlDeviceGetPowerManagementDefaultLimit")
    enforced, drawn = gpu.watts("nvmlDeviceGetEnforcedPowerLimit"), gpu.power_watts()
    reading = f"{limit:.0f} W" + (f" of {usual:.0f} W by default" if not math.isnan(usual) else "")
    if not math.isnan(drawn):
        reading += f"; {drawn:.0f} W drawn just now"
    if limit < usual - SAME_WATTS:
        return check.could_be_better(
            reading,
            "Use the board's own limit, if its cooling and its supply allow.",
            f"sudo nvidia-smi -i {gpu.board} -pl {usual:.0f}",
        )
    if enforced < limit - SAME_WATTS:
        return check.could_be_better(
            f"{reading}; {enforced:.0f} W in force",
            "Something besides the board's setting limits it: its power supply, a cable, or a cap of the server's.",
            f"nvidia-smi -i {gpu.board} -q -d POWER",
        )
    return check.good(reading)


@check_of("GPU", "throttling")
def throttling(check: Check, gpu: GpuSettings) -> CheckResult:
    """A clock that is held down makes every step slower, for as long as the reason lasts."""
    reasons = known(gpu.clock_reasons(), SILENT)
    now = gpu.throttle_reasons()
    if not now:
        return check.good("none just now" + (", with nothing to do" if reasons & IDLE else ""))
    look = f"nvidia-smi -i {gpu.board} -q -d PERFORMANCE,TEMPERATURE,POWER"
    if reasons & sum(THROTTLES) == SW_POWER_CAP:
        return check.could_be_better(now, "End what computes on the GPU, or look at its power limit.", look)
    return check.bad(now, "Let it cool, and look after its cooling and its power supply.", look)


@check_of("GPU", "temperature")
def temperature(check: Check, gpu: GpuSettings) -> CheckResult:
    """A hot board draws more power for the same work, and slows itself down."""
    now = known(gpu.temperature_celsius(), SILENT)
    slowdown = known(gpu.slowdown_celsius(), f"{now:.0f} °C; the driver does not say when it slows down")
    reading = f"{now:.0f} °C; it slows down at {slowdown:.0f} °C"
    remedy = "Let it cool, and look after its cooling."
    if now >= slowdown - CLOSE_DEGREES:
        return check.bad(reading, remedy)
    if now >= slowdown - NEAR_DEGREES:
        return check.could_be_better(reading, remedy)
    return check.good(reading)


@check_of("GPU", "clocks")
def clocks(check: Check, gpu: GpuSettings) -> CheckResult:
    """A clock that rises and falls with temperature and power drifts during a run and from one run to the next."""
    highest_sm, highest_memory = (
        gpu.hertz("nvmlDeviceGetMaxClockInfo", kind) for kind in (pynvml.NVML_CLOCK_SM, pynvml.NVML_CLOCK_MEM)
    )
    usual, wanted = (
        gpu.hertz("nvmlDeviceGetClock", pynvml.NVML_CLOCK_SM, which)
        for which in (pynvml.NVML_CLOCK_ID_APP_CLOCK_DEFAULT, pynvml.NVML_CLOCK_ID_APP_CLOCK_TARGET)
    )
    reading = f"multiprocessors {_of(gpu.sm_clock_hertz(), highest_sm)}"
    reading += f", memory {_of(gpu.memory_clock_hertz(), highest_memory)}"
    reasons = known(gpu.clock_reasons(), f"{reading}; the driver does not say why")
    if reasons & HELD or wanted < usual:
        return check.good(f"{reading}; held by a setting")
    choice, hint = "MHZ", ""
    if not math.isnan(usual):
        choice, hint = f"{usual / 1e6:.0f}", " The driver's own default for computing is a first try."
    return check.could_be_better(
        f"{reading}; no setting shows that holds them",
        "To compare small differences, lock the clock to one that it keeps under load (blocks.parquet "
        f"of a run has it block by block).{hint} What is then measured is slower than in daily use; `-rgc` undoes it.",
        f"sudo nvidia-smi -i {gpu.board} -lgc {choice}",
    )


@check_of("GPU", "energy counter")
def energy_counter(check: Check, gpu: GpuSettings) -> CheckResult:
    """Joules to the target are told only where the board counts them."""
    known(gpu.joules(), f"{SILENT}; boards before Volta, and parts of a board, have none")
    return check.good("can be read")


@check_of("GPU", "other processes")
def other_processes(check: Check, gpu: GpuSettings) -> CheckResult:
    """A process that computes on the same GPU takes turns with the step; one that only waits still holds memory."""
    number = known(gpu.company(), SILENT)
    if not number:
        return check.good("none")
    return check.bad(
        f"{number:,}",
        "End them, or wait for them.",
        f"nvidia-smi -i {gpu.board} --query-compute-apps=pid,name,used_memory --format=csv",
    )


@check_of("GPU", "PCI Express link")
def link(check: Check, gpu: GpuSettings) -> CheckResult:
    """Batches that are copied from the host cross it, within the phase `data`."""
    generation, highest, lanes, most = (
        known(gpu.whole(f"nvmlDeviceGet{which}PcieLink{what}"), SILENT)
        for what in ("Generation", "Width")
        for which in ("Curr", "Max")
    )
    reading = f"generation {generation} of {highest}, {lanes} of {most} lanes"
    if lanes < most:
        return check.could_be_better(
            reading,
            "See whether the board sits well in a slot of full width; some links give up lanes while idle, so look "
            "again during a run.",
            f"nvidia-smi -i {gpu.board} -q -d PCIE",
        )
    if generation < highest:
        return check.not_known(f"{reading}; an idle link slows down, so only a run can show its generation")
    return check.good(reading)


def _of(*hertz: float) -> str:
    """``1,410 of 1,980 MHz``: a clock just now, and the highest."""
    return " of ".join("?" if math.isnan(clock) else f"{clock / 1e6:,.0f}" for clock in hertz) + " MHz"
