"""How the processor's clock is chosen."""

from loopmark.bench.measure.doctor.host import Host
from loopmark.bench.records.checks import Check, Finding

CPU = "sys/devices/system/cpu"
NO_TURBO, BOOST = f"{CPU}/intel_pstate/no_turbo", f"{CPU}/cpufreq/boost"
SELF_CHOOSING = ("intel_pstate", "amd-pstate-epp")
"""Drivers under which the processor chooses its clock itself: their ``powersave`` is no lowest clock, only a hint."""

GOVERNOR = Check(
    "processor",
    "frequency governor",
    "A governor that follows the load raises the clock late: after each turn that a process had to "
    "wait, its first steps run slower, and short steps more than long ones.",
)
TURBO = Check(
    "processor",
    "clock boost",
    "A boosted clock depends on temperature and on how many cores are busy, so that it drifts during a run and from "
    "one run to the next.",
)


def governor(host: Host) -> Finding:
    """The governors of the cores used."""
    folders = {core: f"{CPU}/cpu{core}/cpufreq" for core in host.cores}
    chosen = {core: host.text(f"{folder}/scaling_governor") for core, folder in folders.items()}
    known = sorted({name for name in chosen.values() if name is not None})
    if not known:
        return GOVERNOR.not_known(
            "the kernel shows no governor"
            + ("; in a virtual machine the host chooses the clock" if host.virtual() else "")
        )
    reading = f"{', '.join(known)} on {host.core_list()}"
    if known == ["performance"]:
        return GOVERNOR.good(reading)
    remedy = "Use the governor `performance` while measuring; the processor then draws more power when idle."
    command = "sudo cpupower frequency-set -g performance"
    lowest = [
        core
        for core, name in chosen.items()
        if name == "powersave" and host.text(f"{folders[core]}/scaling_driver") not in SELF_CHOOSING
    ]
    if lowest:
        return GOVERNOR.bad(f"{reading}, which holds the lowest clock", remedy, command)
    return GOVERNOR.could_be_better(reading, remedy, command)


def boost(host: Host) -> Finding:
    """Whether the clock may rise above the one it can hold."""
    no_turbo, allowed = host.number(NO_TURBO), host.number(BOOST)
    if no_turbo is None and allowed is None:
        return TURBO.not_known(
            "the kernel shows no switch for it" + ("; in a virtual machine the host has it" if host.virtual() else "")
        )
    path, off = (NO_TURBO, 1) if no_turbo is not None else (BOOST, 0)
    if (no_turbo if no_turbo is not None else allowed) == off:
        return TURBO.good("off: steadier, and slower than the processor can")
    return TURBO.could_be_better(
        "on",
        "Switch it off to compare small differences: steps get slower and steadier. Leave it on to learn how fast "
        "training is in daily use.",
        f"echo {off} | sudo tee /{path}",
    )
