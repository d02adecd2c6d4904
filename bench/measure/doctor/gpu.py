"""How a GPU is set up, as its driver tells it; never set here."""

import math

import pynvml

from loopmark.bench.measure.nvml import SW_POWER_CAP, THROTTLES, GpuMonitor
from loopmark.bench.records.checks import Check, Finding

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


SILENT = "the driver does not say"

PERSISTENCE = Check(
    "GPU",
    "persistence mode",
    "Without it the driver puts the GPU down when its last process ends, and the next one waits for it to come up, "
    "with clocks and temperature of a cold start.",
)
COMPUTE = Check(
    "GPU",
    "compute mode",
    "Loopmark keeps a process of every loop on the GPU while they take turns; in an exclusive mode all but one fail.",
)
ECC = Check(
    "GPU",
    "memory errors",
    "Correcting errors (ECC) costs some boards memory and bandwidth, so that runs with and without it do not compare; "
    "a memory that fails may slow a step down, or spoil it.",
)
MIG = Check(
    "GPU",
    "MIG",
    "An instance of a GPU has a part of it, and shares power and clocks with the others.",
)


def persistence_mode(gpu: GpuSettings) -> Finding:
    """Whether the driver stays."""
    on = gpu.persistence()
    if on is None:
        return PERSISTENCE.not_known(SILENT)
    if on:
        return PERSISTENCE.good("on")
    return PERSISTENCE.could_be_better(
        "off", "Switch it on; it lasts until the next start.", f"sudo nvidia-smi -i {gpu.board} -pm 1"
    )


def compute_mode(gpu: GpuSettings) -> Finding:
    """Whether several processes may share the GPU."""
    mode = gpu.compute_mode()
    if mode is None:
        return COMPUTE.not_known(SILENT)
    if mode == "default":
        return COMPUTE.good(mode)
    return COMPUTE.bad(mode, "Let several processes use it.", f"sudo nvidia-smi -i {gpu.board} -c DEFAULT")


def memory_errors(gpu: GpuSettings) -> Finding:
    """Whether they are corrected, and how many there were."""
    on, soon = gpu.ecc(), gpu.ecc_after_next_start()
    if on is None:
        return ECC.not_known(f"{SILENT}; a board without ECC cannot")
    lost, corrected = gpu.uncorrected_errors(), gpu.corrected_errors()
    counts = [
        f"{count:,} {kind}" for count, kind in ((lost, "uncorrected"), (corrected, "corrected")) if count is not None
    ]
    reading = f"ECC {_switch(on)}" + (f"; {', '.join(counts)} since the driver was loaded" if counts else "")
    look = f"nvidia-smi -i {gpu.board} -q -d ECC,ROW_REMAPPER"
    if lost:
        return ECC.bad(reading, "Do not trust what this GPU computes before its memory was looked at.", look)
    if corrected:
        return ECC.could_be_better(reading, "See whether they become more.", look)
    if soon is not None and soon != on:
        return ECC.could_be_better(
            f"{reading}; {_switch(soon)} after the next start",
            "Start the machine again, or take the change back, before runs that are to compare.",
            f"sudo nvidia-smi -i {gpu.board} -e {int(on)}",
        )
    return ECC.good(reading)


def instances(gpu: GpuSettings) -> Finding:
    """Whether the GPU is cut into instances."""
    on = gpu.mig()
    if on is None:
        return MIG.not_known(f"{SILENT}; most boards cannot be divided")
    if not on:
        return MIG.good("off")
    return MIG.could_be_better(
        "on",
        "Use the whole GPU; its instances, and what runs on them, go away.",
        f"sudo nvidia-smi -i {gpu.board} -mig 0",
    )


def _switch(on: bool) -> str:
    return "on" if on else "off"


IDLE, HELD = 0x01, 0x02
"""Why a clock is what it is, by its bit in nvml.h: nobody computes; somebody has set it."""
NEAR_DEGREES, CLOSE_DEGREES = 15.0, 5.0
"""How far from slowing down is called near, and close. Chosen: an idle GPU rises by more than that under load."""
SAME_WATTS = 1.0
"""Limits that differ by less are one."""

LIMIT = Check("GPU", "power limit", "A board at its power limit lowers its clock, more for one loop than for another.")
THROTTLE = Check(
    "GPU", "throttling", "A clock that is held down makes every step slower, for as long as the reason lasts."
)
HEAT = Check("GPU", "temperature", "A hot board draws more power for the same work, and slows itself down.")
CLOCKS = Check(
    "GPU",
    "clocks",
    "A clock that rises and falls with temperature and power drifts during a run and from one run to the next.",
)
COUNTER = Check("GPU", "energy counter", "Joules to the target are told only where the board counts them.")


def power_limit(gpu: GpuSettings) -> Finding:
    """The limit that was set, against the board's own and the one in force."""
    limit, usual = gpu.power_limit_watts(), gpu.default_power_limit_watts()
    enforced, drawn = gpu.enforced_power_limit_watts(), gpu.power_watts()
    if math.isnan(limit):
        return LIMIT.not_known(SILENT)
    reading = f"{limit:.0f} W" + (f" of {usual:.0f} W by default" if not math.isnan(usual) else "")
    if not math.isnan(drawn):
        reading += f"; {drawn:.0f} W drawn just now"
    if limit < usual - SAME_WATTS:
        return LIMIT.could_be_better(
            reading,
            "Use the board's own limit, if its cooling and its supply allow.",
            f"sudo nvidia-smi -i {gpu.board} -pl {usual:.0f}",
        )
    if enforced < limit - SAME_WATTS:
        return LIMIT.could_be_better(
            f"{reading}; {enforced:.0f} W in force",
            "Something besides the board's setting limits it: its power supply, a cable, or a cap of the server's.",
            f"nvidia-smi -i {gpu.board} -q -d POWER",
        )
    return LIMIT.good(reading)


def throttling(gpu: GpuSettings) -> Finding:
    """Why the clock is held down just now."""
    reasons = gpu.clock_reasons()
    if reasons is None:
        return THROTTLE.not_known(SILENT)
    now = gpu.throttle_reasons()
    if not now:
        return THROTTLE.good("none just now" + (", with nothing to do" if reasons & IDLE else ""))
    look = f"nvidia-smi -i {gpu.board} -q -d PERFORMANCE,TEMPERATURE,POWER"
    if reasons & sum(THROTTLES) == SW_POWER_CAP:
        return THROTTLE.could_be_better(now, "End what computes on the GPU, or look at its power limit.", look)
    return THROTTLE.bad(now, "Let it cool, and look after its cooling and its power supply.", look)


def temperature(gpu: GpuSettings) -> Finding:
    """How far the board is from slowing itself down."""
    now, slowdown = gpu.temperature_celsius(), gpu.slowdown_celsius()
    if math.isnan(now):
        return HEAT.not_known(SILENT)
    if math.isnan(slowdown):
        return HEAT.not_known(f"{now:.0f} °C; the driver does not say when it slows down")
    reading = f"{now:.0f} °C; it slows down at {slowdown:.0f} °C"
    remedy = "Let it cool, and look after its cooling."
    if now >= slowdown - CLOSE_DEGREES:
        return HEAT.bad(reading, remedy)
    if now >= slowdown - NEAR_DEGREES:
        return HEAT.could_be_better(reading, remedy)
    return HEAT.good(reading)


def clocks(gpu: GpuSettings) -> Finding:
    """Whether somebody holds the clock; what it is just now says little while nothing computes."""
    reasons = gpu.clock_reasons()
    reading = f"multiprocessors {_of(gpu.sm_clock_hertz(), gpu.highest_sm_clock_hertz())}"
    reading += f", memory {_of(gpu.memory_clock_hertz(), gpu.highest_memory_clock_hertz())}"
    usual, wanted = gpu.default_sm_clock_hertz(), gpu.application_sm_clock_hertz()
    if reasons is None:
        return CLOCKS.not_known(f"{reading}; the driver does not say why")
    if reasons & HELD or (wanted < usual):
        return CLOCKS.good(f"{reading}; held by a setting")
    choice, hint = "MHZ", ""
    if not math.isnan(usual):
        choice, hint = f"{usual / 1e6:.0f}", " The driver's own default for computing is a first try."
    return CLOCKS.could_be_better(
        f"{reading}; no setting shows that holds them",
        "To compare small differences, lock the clock to one that it keeps under load (blocks.parquet "
        f"of a run has it block by block).{hint} What is then measured is slower than in daily use; `-rgc` undoes it.",
        f"sudo nvidia-smi -i {gpu.board} -lgc {choice}",
    )


def energy_counter(gpu: GpuSettings) -> Finding:
    """Whether joules can be told."""
    if math.isnan(gpu.joules()):
        return COUNTER.not_known(f"{SILENT}; boards before Volta, and parts of a board, have none")
    return COUNTER.good("can be read")


def _of(now_hertz: float, highest_hertz: float) -> str:
    return f"{_megahertz(now_hertz)} of {_megahertz(highest_hertz)} MHz"


def _megahertz(hertz: float) -> str:
    return "?" if math.isnan(hertz) else f"{hertz / 1e6:,.0f}"


OTHERS = Check(
    "GPU",
    "other processes",
    "A process that computes on the same GPU takes turns with the step; one that only waits still holds memory.",
)
LINK = Check(
    "GPU",
    "PCI Express link",
    "Batches that are copied from the host cross it, within the phase `data`.",
)


def other_processes(gpu: GpuSettings) -> Finding:
    """Who else has a context there; this command has none."""
    number = gpu.company()
    if number is None:
        return OTHERS.not_known(SILENT)
    if not number:
        return OTHERS.good("none")
    return OTHERS.bad(
        f"{number:,}",
        "End them, or wait for them.",
        f"nvidia-smi -i {gpu.board} --query-compute-apps=pid,name,used_memory --format=csv",
    )


def link(gpu: GpuSettings) -> Finding:
    """Its generation and lanes, against what board and machine can have."""
    generation, highest = gpu.link_generation(), gpu.highest_link_generation()
    lanes, most = gpu.link_lanes(), gpu.most_link_lanes()
    if generation is None or highest is None or lanes is None or most is None:
        return LINK.not_known(SILENT)
    reading = f"generation {generation} of {highest}, {lanes} of {most} lanes"
    if lanes < most:
        return LINK.could_be_better(
            reading,
            "See whether the board sits well in a slot of full width; some links give up lanes while idle, so look "
            "again during a run.",
            f"nvidia-smi -i {gpu.board} -q -d PCIE",
        )
    if generation < highest:
        return LINK.not_known(f"{reading}; an idle link slows down, so only a run can show its generation")
    return LINK.good(reading)
