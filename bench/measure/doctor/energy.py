"""Whether the energy that a step takes on a CPU can be counted."""

from loopmark.bench.measure.doctor.host import Host, counted
from loopmark.bench.records.diagnosis import Check, Finding

POWERCAP = "sys/class/powercap"

COUNTER = Check(
    "processor",
    "energy counter",
    "Joules to the target are told only where the processor's own counters (RAPL) can be read.",
)


def energy_counter(host: Host) -> Finding:
    """The packages' counters, which loopmark.bench.measure.meters reads."""
    zones = sorted(zone for zone in (host.root / POWERCAP).glob("intel-rapl:*") if zone.name.count(":") == 1)
    if not zones:
        return COUNTER.not_known(
            "the kernel shows none" + ("; a virtual machine usually has none" if host.virtual() else "")
        )
    closed = [zone for zone in zones if host.number(f"{POWERCAP}/{zone.name}/energy_uj") is None]
    if not closed:
        return COUNTER.good(f"{counted(len(zones), 'package')} can be read")
    return COUNTER.could_be_better(
        f"{counted(len(closed), 'package')} of {len(zones)} cannot be read",
        "Let users read them until the next start. They tell every user something of what others compute, which is "
        "why only root may by default.",
        f"sudo chmod a+r /{POWERCAP}/intel-rapl:*/energy_uj",
    )
