"""Who else wants the processor: other processes, and other virtual machines."""

import re

from loopmark.bench.measure.doctor.host import Host, counted
from loopmark.bench.records.checks import Check, Finding

WAITED_LITTLE, WAITED_MUCH = 1.0, 5.0
"""Per cent of the last ten seconds in which a task waited for a core. Chosen: a quiet machine shows less than one."""
BUSY_CORES = 0.5
"""Tasks that run or wait, as a mean of the last minute, from which on the machine is not called idle. Chosen."""
STOLEN_LITTLE, STOLEN_MUCH = 0.001, 0.01
"""Of the time in which the cores had work. Chosen: a thousandth, and the size of the differences people look for."""
STEAL = 8
"""Its field in a ``cpuN`` line of /proc/stat, see proc(5)."""
BUSY = (1, 2, 3, 6, 7, STEAL)
"""Time with work: user, nice, system, both kinds of interrupts, and what was stolen."""

LOAD = Check(
    "processor",
    "load by others",
    "Whoever else runs takes the cores away in the middle of a step, and empties their caches.",
)
STOLEN = Check(
    "processor",
    "stolen time",
    "A hypervisor that gives the core to another machine stops a step, which then looks slow for no reason of its own.",
)


def load(host: Host) -> Finding:
    """What ran beside this command."""
    means = (host.text("proc/loadavg") or "").split()
    if not means or not _is_number(means[0]):
        return LOAD.not_known("the kernel shows no load")
    tasks, cores, waited = float(means[0]), len(host.online()), waiting(host, "cpu")
    reading = f"{tasks:.3g} tasks on average in the last minute"
    if cores:
        reading += f", on {counted(cores, 'core')}"
    if waited is not None:
        reading += f"; in {waited:.3g} % of the last 10 s one had to wait"
    remedy = "End what else runs, or wait; a run of your own that has just ended counts for a minute or two."
    command = "ps -eo pcpu,pid,user,comm --sort=-pcpu | head"
    if (waited or 0) >= WAITED_MUCH or (cores and tasks > cores):
        return LOAD.bad(reading, remedy, command)
    if (waited or 0) >= WAITED_LITTLE or tasks >= BUSY_CORES:
        return LOAD.could_be_better(reading, remedy, command)
    return LOAD.good(reading)


def steal(host: Host) -> Finding:
    """The share of the cores' time that a hypervisor has kept since they were started."""
    names = {f"cpu{core}" for core in host.cores}
    rows = [line.split() for line in (host.text("proc/stat") or "").splitlines()]
    rows = [row for row in rows if row[:1] and row[0] in names and len(row) > STEAL]
    wanted = sum(int(row[field]) for row in rows for field in BUSY)
    if not wanted:
        return STOLEN.not_known("the kernel does not count it for the cores used")
    share = sum(int(row[STEAL]) for row in rows) / wanted
    reading = f"{share:.2%}".replace("%", " %") + " of the time with work since the machine was started"
    remedy = (
        "Use a machine with cores of its own, or measure when its neighbours are quiet; a run's report tells what was "
        "stolen during its blocks."
    )
    if share >= STOLEN_MUCH:
        return STOLEN.bad(reading, remedy)
    if share >= STOLEN_LITTLE:
        return STOLEN.could_be_better(reading, remedy)
    if share == 0 and host.virtual():
        return STOLEN.good("none is told; not every hypervisor tells")
    return STOLEN.good(reading)


def waiting(host: Host, resource: str) -> float | None:
    """Per cent of the last ten seconds in which some task waited for ``resource``; None where it is not counted."""
    found = re.search(r"^some avg10=([\d.]+)", host.text(f"proc/pressure/{resource}") or "", re.MULTILINE)
    return float(found[1]) if found and _is_number(found[1]) else None


def _is_number(text: str) -> bool:
    return re.fullmatch(r"\d+(\.\d*)?", text) is not None
