"""The cores that Loopmark would use: whether they are whole, its own to use, and balanced among its threads."""

import math

from loopmark.bench.measure.cgroup import cpu_quota, cpuset, numbers
from loopmark.bench.measure.doctor.host import Host, counted, listed, spans
from loopmark.bench.records.checks import Check, Finding

SIBLINGS = Check(
    "processor",
    "hardware threads",
    "Two hardware threads of one core share its units and caches: a thread of the step slows down whenever its sibling "
    "works.",
)
QUOTA = Check(
    "processor",
    "CPU quota",
    "A control group that has spent its quota stands still until the next period, in the middle of a step.",
)
ALLOWED = Check(
    "processor",
    "allowed cores",
    "Threads that are pinned to fewer cores than there are threads take turns on them.",
)
ISOLATED = Check(
    "processor",
    "isolated cores",
    "The kernel does not balance threads among cores that it was booted to isolate: all threads of a step may stay on "
    "one of them.",
)


def siblings(host: Host) -> Finding:
    """Whether two of the cores used are hardware threads of one core."""
    shared = [numbers(host.text(_topology(core)) or "") for core in host.cores]
    if not shared or not all(shared):
        return SIBLINGS.not_known("the kernel does not show which hardware threads share a core")
    whole = len(set(shared))
    if whole < len(shared):
        return SIBLINGS.could_be_better(
            f"{host.core_list()} are hardware threads of {counted(whole, 'core')}",
            "Use no more threads than there are whole cores.",
            f"loopmark run --threads {whole}",
        )
    idle = sorted({sibling for group in shared for sibling in group} - set(host.cores))
    if idle:
        return SIBLINGS.good(
            f"{host.core_list()} share nothing with each other; Loopmark leaves their siblings, "
            f"{listed('core', idle)}, idle, and others may not"
        )
    if host.virtual():
        return SIBLINGS.not_known("a virtual machine shows none; on its host, two of its cores may share one")
    return SIBLINGS.good(f"{host.core_list()} are whole cores")


def _topology(core: int) -> str:
    return f"sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list"


def quota(host: Host) -> Finding:
    """How much processor time this process's control group may take."""
    found = cpu_quota(host.root)
    if found is None:
        return QUOTA.not_known("no control group is shown")
    waited = (
        f", and was spent in {counted(found.throttled_periods, 'period')} so far" if found.throttled_periods else ""
    )
    if math.isinf(found.cores):
        return QUOTA.good("none")
    reading = f"{found.cores:g} cores for {counted(host.threads, 'thread')}{waited}"
    remedy = "Give the container or the service at least as many cores as there are threads, or no quota."
    commands = (f"docker update --cpus {host.threads} CONTAINER",)
    if found.cores < host.threads:
        return QUOTA.bad(reading, remedy, *commands)
    if found.throttled_periods:
        return QUOTA.could_be_better(reading, f"{remedy} Others in it may have spent it.", *commands)
    return QUOTA.good(reading)


def allowed_cores(host: Host) -> Finding:
    """Whether the control group lets Loopmark have the cores it would pin its processes to."""
    allowed, online = cpuset(host.root), host.online()
    if allowed is None:
        return ALLOWED.not_known("no control group tells which cores it may use")
    reading = f"{host.core_list()} used, of {len(allowed)} allowed"
    if online:
        reading += f" and {len(online)} of the machine"
    outside = tuple(core for core in host.cores if core not in allowed)
    if outside:
        return ALLOWED.bad(
            f"{reading}; {listed('core', outside)} outside of it",
            "Start Loopmark within the cores allowed.",
            f"taskset --cpu-list {spans(allowed)} loopmark run",
        )
    return ALLOWED.good(reading)


def isolated_cores(host: Host) -> Finding:
    """Whether the kernel was told to leave the cores used alone, which it then does among a step's threads too."""
    path = "sys/devices/system/cpu/isolated"
    if not host.present(path):
        return ISOLATED.not_known("the kernel does not show which cores are isolated")
    isolated = tuple(core for core in numbers(host.text(path) or "") if core in host.cores)
    if not isolated:
        return ISOLATED.good("none of those used")
    if host.threads == 1:
        return ISOLATED.good(f"{listed('core', isolated)}, for one thread")
    return ISOLATED.bad(
        f"{listed('core', isolated)}, for {host.threads} threads",
        "Use one thread, or set cores aside by a cpuset partition instead of `isolcpus` on the kernel's command line.",
        "loopmark run --threads 1",
    )
