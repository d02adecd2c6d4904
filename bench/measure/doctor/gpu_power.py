"""Power, heat and clocks of a GPU."""

import math

from loopmark.bench.measure.doctor.gpu_modes import SILENT
from loopmark.bench.measure.doctor.gpu_settings import GpuSettings
from loopmark.bench.measure.nvml import SW_POWER_CAP, THROTTLES
from loopmark.bench.records.checks import Check, Finding

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
