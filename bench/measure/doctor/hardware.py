"""Checks of the processor and the memory: other users' load, limits, layout and steadiness."""

import math
import re

from loopmark.bench.measure.cgroup import cpu_quota, cpuset, numbers
from loopmark.bench.measure.doctor.host import HostView, check_of, counted, graded, known, listed, spans
from loopmark.bench.records.checks import Check, CheckResult

CPU = "sys/devices/system/cpu"
NO_TURBO, BOOST = f"{CPU}/intel_pstate/no_turbo", f"{CPU}/cpufreq/boost"
SELF_CHOOSING = ("intel_pstate", "amd-pstate-epp")
"""Drivers with which the processor chooses its clock itself: their ``powersave`` is a hint, not the lowest clock."""
POWERCAP = "sys/class/powercap"
HUGE = "sys/kernel/mm/transparent_hugepage/enabled"
NODES = "sys/devices/system/node"
WAITED = "some avg10="  # in a pressure file: per cent of the last ten seconds in which some task waited
LITTLE_LEFT = 0.1  # share of all memory; with less left, the kernel may reclaim memory during a run; chosen
MEMORY_WAITED_MUCH = 1.0  # per cent of the last ten seconds in which a task waited for memory; chosen
WAITED_LITTLE, WAITED_MUCH = 1.0, 5.0
"""Per cent of the last ten seconds in which a task waited for a core. Chosen: a quiet machine shows under one."""
BUSY_CORES = 0.5
"""The least mean number of running or waiting tasks, over the last minute, of a machine that is not idle. Chosen."""
STOLEN_LITTLE, STOLEN_MUCH = 0.001, 0.01
"""Shares of the time in which the cores had work. Chosen: a thousandth, and the size of a typical difference."""
STEAL = 8  # field of the stolen time in a `cpuN` line of /proc/stat, see proc(5)
BUSY = (1, 2, 3, 6, 7, STEAL)  # fields of time with work: user, nice, system, both kinds of interrupts, stolen


@check_of("processor", "load by others")
def load(check: Check, host: HostView) -> CheckResult:
    """Other processes take the cores away in the middle of a step, and replace the contents of their caches."""
    tasks = known(_figure(host, "proc/loadavg", r"\A"), "the kernel shows no load")
    cores, waited = len(host.online()), _figure(host, "proc/pressure/cpu", WAITED)
    reading = f"{tasks:.3g} tasks on average in the last minute"
    if cores:
        reading += f", on {counted(cores, 'core')}"
    if waited is not None:
        reading += f"; in {waited:.3g} % of the last 10 s a task waited"
    remedy = "End other programs, or wait. Your own run still counts for a minute or two after its end."
    command = "ps -eo pcpu,pid,user,comm --sort=-pcpu | head"
    bad = (waited or 0) >= WAITED_MUCH or bool(cores and tasks > cores)
    return graded(check, reading, remedy, command, bad=bad, poor=(waited or 0) >= WAITED_LITTLE or tasks >= BUSY_CORES)


@check_of("processor", "stolen time")
def steal(check: Check, host: HostView) -> CheckResult:
    """A hypervisor that gives the core to another machine stops the step, which then looks slow without a cause of
    its own."""
    names = {f"cpu{core}" for core in host.cores}
    rows = [line.split() for line in (host.text("proc/stat") or "").splitlines()]
    rows = [row for row in rows if row[:1] and row[0] in names and len(row) > STEAL]
    wanted = sum(int(row[field]) for row in rows for field in BUSY)
    known(wanted or None, "the kernel does not count it for the cores used")
    share = sum(int(row[STEAL]) for row in rows) / wanted
    reading = f"{share:.2%}".replace("%", " %") + " of the time with work since the machine was started"
    remedy = (
        "Use a machine with dedicated cores, or measure when its neighbours are quiet. A run's report shows the time "
        "stolen during its blocks."
    )
    if share == 0 and host.virtual():
        return check.good("none reported; not every hypervisor reports it")
    return graded(check, reading, remedy, bad=share >= STOLEN_MUCH, poor=share >= STOLEN_LITTLE)


def _figure(host: HostView, path: str, label: str) -> float | None:
    """The number after ``label`` at the start of a line; None without such a line."""
    found = re.search(rf"^{label}(\d+(?:\.\d*)?)(?!\S)", host.text(path) or "", re.MULTILINE)
    return float(found[1]) if found else None


@check_of("processor", "hardware threads")
def siblings(check: Check, host: HostView) -> CheckResult:
    """Two hardware threads of one core share its units and caches: a thread of the step slows down while its sibling
    works."""
    shared = [numbers(host.text(f"{CPU}/cpu{core}/topology/thread_siblings_list") or "") for core in host.cores]
    if not shared or not all(shared):
        return check.not_known("the kernel does not show which hardware threads share a core")
    whole = len(set(shared))
    if whole < len(shared):
        return check.could_be_better(
            f"{host.core_list()} are hardware threads of {counted(whole, 'core')}",
            "Use no more threads than there are whole cores.",
            f"loopmark run --threads {whole}",
        )
    idle = sorted({sibling for group in shared for sibling in group} - set(host.cores))
    if idle:
        return check.good(
            f"{host.core_list()} share no core with each other; Loopmark does not use their siblings, "
            f"{listed('core', idle)}, but other programs may"
        )
    if host.virtual():
        return check.not_known("a virtual machine shows none; on the host, two of its cores may share one core")
    return check.good(f"{host.core_list()} are whole cores")


@check_of("processor", "CPU quota")
def quota(check: Check, host: HostView) -> CheckResult:
    """A control group that has used up its quota stops until the next period, in the middle of a step."""
    found = known(cpu_quota(host.root), "no control group is visible")
    if math.isinf(found.cores):
        return check.good("none")
    reading = f"{found.cores:g} cores for {counted(host.threads, 'thread')}"
    if found.throttled_periods:
        reading += f", used up in {counted(found.throttled_periods, 'period')} so far"
    remedy = "Give the container or the service at least as many cores as there are threads, or no quota."
    command = f"docker update --cpus {host.threads} CONTAINER"
    if found.cores < host.threads:
        return check.bad(reading, remedy, command)
    if found.throttled_periods:
        return check.could_be_better(reading, f"{remedy} Other processes in it may have used it.", command)
    return check.good(reading)


@check_of("processor", "allowed cores")
def allowed_cores(check: Check, host: HostView) -> CheckResult:
    """If there are more threads than allowed cores, the threads take turns on them."""
    allowed = known(cpuset(host.root), "no control group lists its allowed cores")
    reading = f"{host.core_list()} used, of {len(allowed)} allowed"
    if online := host.online():
        reading += f" and {len(online)} of the machine"
    outside = tuple(core for core in host.cores if core not in allowed)
    if outside:
        return check.bad(
            f"{reading}; {listed('core', outside)} not allowed",
            "Start Loopmark on the allowed cores.",
            f"taskset --cpu-list {spans(allowed)} loopmark run",
        )
    return check.good(reading)


@check_of("processor", "isolated cores")
def isolated_cores(check: Check, host: HostView) -> CheckResult:
    """The kernel does not balance threads among cores that were isolated at boot: all threads of a step may stay on
    one of them."""
    path = f"{CPU}/isolated"
    known(host.present(path) or None, "the kernel does not show which cores are isolated")
    isolated = tuple(core for core in numbers(host.text(path) or "") if core in host.cores)
    if not isolated:
        return check.good("none of the used cores")
    if host.threads == 1:
        return check.good(f"{listed('core', isolated)}, for one thread")
    return check.bad(
        f"{listed('core', isolated)}, for {host.threads} threads",
        "Use one thread, or reserve cores with a cpuset partition instead of `isolcpus` on the kernel's command line.",
        "loopmark run --threads 1",
    )


@check_of("processor", "frequency governor")
def governor(check: Check, host: HostView) -> CheckResult:
    """A governor that follows the load raises the clock late. After each wait for its turn, a process's first steps
    run slower, and short steps suffer more than long ones."""
    folders = {core: f"{CPU}/cpu{core}/cpufreq" for core in host.cores}
    chosen = {core: host.text(f"{folder}/scaling_governor") for core, folder in folders.items()}
    known = sorted({name for name in chosen.values() if name is not None})
    if not known:
        remark = "; in a virtual machine the host chooses the clock" if host.virtual() else ""
        return check.not_known(f"the kernel shows no governor{remark}")
    reading = f"{', '.join(known)} on {host.core_list()}"
    if known == ["performance"]:
        return check.good(reading)
    remedy = "Use the governor `performance` while measuring; the processor then draws more power when idle."
    command = "sudo cpupower frequency-set -g performance"
    slow = [folders[core] for core, name in chosen.items() if name == "powersave"]
    if any(host.text(f"{folder}/scaling_driver") not in SELF_CHOOSING for folder in slow):
        return check.bad(f"{reading}, which keeps the lowest clock", remedy, command)
    return check.could_be_better(reading, remedy, command)


@check_of("processor", "clock boost")
def boost(check: Check, host: HostView) -> CheckResult:
    """A boosted clock depends on the temperature and the number of busy cores, so it drifts during a run and between
    runs."""
    no_turbo, allowed = host.number(NO_TURBO), host.number(BOOST)
    if no_turbo is None and allowed is None:
        remark = "; in a virtual machine the host controls it" if host.virtual() else ""
        return check.not_known(f"the kernel shows no switch for it{remark}")
    path, off = (NO_TURBO, 1) if no_turbo is not None else (BOOST, 0)
    if (no_turbo if no_turbo is not None else allowed) == off:
        return check.good("off: steadier, but slower than the processor's maximum")
    return check.could_be_better(
        "on",
        "Switch it off to compare small differences: steps become slower and steadier. Leave it on to measure the "
        "speed of training in daily use.",
        f"echo {off} | sudo tee /{path}",
    )


@check_of("processor", "energy counter")
def energy_counter(check: Check, host: HostView) -> CheckResult:
    """Joules are reported only where the processor's own counters (RAPL) can be read."""
    zones = sorted(zone for zone in (host.root / POWERCAP).glob("intel-rapl:*") if zone.name.count(":") == 1)
    if not zones:
        remark = "; a virtual machine usually has none" if host.virtual() else ""
        return check.not_known(f"the kernel shows none{remark}")
    closed = [zone for zone in zones if host.number(f"{POWERCAP}/{zone.name}/energy_uj") is None]
    if not closed:
        return check.good(f"{counted(len(zones), 'package')} can be read")
    return check.could_be_better(
        f"{counted(len(closed), 'package')} of {len(zones)} cannot be read",
        "Let users read them until the next start. They reveal to every user something about other users' work, so "
        "only root may read them by default.",
        f"sudo chmod a+r /{POWERCAP}/intel-rapl:*/energy_uj",
    )


@check_of("memory", "huge pages")
def huge_pages(check: Check, host: HostView) -> CheckResult:
    """With small pages, a step spends time on address lookups, and this time differs from launch to launch."""
    chosen = (host.text(HUGE) or "").partition("[")[2].partition("]")[0]
    known(chosen or None, "the kernel shows no setting for them")
    if chosen == "always":
        return check.good("always")
    if chosen == "madvise":
        return check.could_be_better(
            "madvise: only programs that request them get them",
            "Let torch request them for tensors on a CPU, or enable them for all programs.",
            "THP_MEM_ALLOC_ENABLE=1 loopmark run",
            f"echo always | sudo tee /{HUGE}",
        )
    return check.could_be_better(chosen, "Enable them for all programs.", f"echo always | sudo tee /{HUGE}")


@check_of("memory", "swap")
def swap(check: Check, host: HostView) -> CheckResult:
    """A page that was swapped out must be read from the disk, in the middle of a step."""
    total, free = _gibibytes(host, "SwapTotal"), _gibibytes(host, "SwapFree")
    if not total:
        return check.good("none is set up")
    reading = f"{total - free:.1f} of {total:.1f} GiB in use"
    if total == free:
        return check.good(reading)
    return check.could_be_better(
        reading,
        "End programs that fill the memory. Or, if the swapped data fits into memory, switch swap off while "
        "measuring (`sudo swapon -a` undoes it).",
        "sudo swapoff -a",
    )


@check_of("memory", "memory left")
def memory_left(check: Check, host: HostView) -> CheckResult:
    """When memory is short, the kernel reclaims memory while a step waits, or kills a process."""
    total, left = _gibibytes(host, "MemTotal"), _gibibytes(host, "MemAvailable")
    waited = _figure(host, "proc/pressure/memory", WAITED)
    reading = f"{left:.1f} of {total:.1f} GiB"
    if waited is not None:
        reading += f"; in {waited:.3g} % of the last 10 s a task waited for memory"
    remedy, command = "End programs that fill the memory.", "ps -eo rss,pid,user,comm --sort=-rss | head"
    poor = bool(waited) or left < LITTLE_LEFT * total
    return graded(check, reading, remedy, command, bad=(waited or 0) >= MEMORY_WAITED_MUCH, poor=poor)


@check_of("memory", "NUMA nodes")
def numa_nodes(check: Check, host: HostView) -> CheckResult:
    """Memory of another node is slower. Chance decides where a step's memory lies, so launches differ."""
    nodes = {
        node: numbers(host.text(f"{NODES}/node{node}/cpulist") or "")
        for node in numbers(host.text(f"{NODES}/online") or "")
    }
    if not any(nodes.values()):
        return check.not_known("the kernel shows no nodes")
    if len(nodes) == 1:
        return check.good("one")
    used = tuple(node for node, cores in nodes.items() if set(cores) & set(host.cores))
    if len(used) == 1:
        return check.good(f"{len(nodes)}; {host.core_list()} are of {listed('node', used)}")
    if not used:
        return check.not_known(f"{len(nodes)}; none of them shows the cores used")
    largest = max(used, key=lambda node: len(nodes[node]))
    return check.could_be_better(
        f"{len(nodes)}; {host.core_list()} are of {listed('node', used)}",
        "Keep a run on one node's cores and memory, with at most one thread per core of the node.",
        f"numactl --cpunodebind={largest} --membind={largest} loopmark run",
    )


@check_of("memory", "NUMA balancing")
def numa_balancing(check: Check, host: HostView) -> CheckResult:
    """During the steps, the kernel unmaps pages briefly to see which core uses them, and moves them."""
    level = known(host.number("proc/sys/kernel/numa_balancing"), "the kernel does not show it")
    nodes = numbers(host.text(f"{NODES}/online") or "")
    if not level or len(nodes) == 1:
        return check.good("off" if not level else "on, without effect on one node")
    return check.could_be_better("on", "Switch it off while measuring.", "sudo sysctl kernel.numa_balancing=0")


def _gibibytes(host: HostView, name: str) -> float:
    return known(_figure(host, "proc/meminfo", rf"{name}:\s*"), "the kernel does not show it") / 2**20
