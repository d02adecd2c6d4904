"""Memory: its pages, how much is left, and how far away it is."""

from loopmark.bench.measure.cgroup import numbers
from loopmark.bench.measure.doctor.company import waiting
from loopmark.bench.measure.doctor.host import Host, listed
from loopmark.bench.records.checks import Check, Finding

HUGE = "sys/kernel/mm/transparent_hugepage/enabled"
NODES = "sys/devices/system/node"
LITTLE_LEFT = 0.1
"""Of all memory: below it the kernel may have to make room during a run. Chosen."""
WAITED_MUCH = 1.0
"""Per cent of the last ten seconds in which a task waited for memory. Chosen."""

PAGES = Check(
    "memory",
    "huge pages",
    "With small pages a step spends time on looking up addresses, and how much differs from launch to launch.",
)
SWAP = Check(
    "memory",
    "swap",
    "A page that was swapped out has to come back from the disk, in the middle of a step.",
)
PRESSURE = Check(
    "memory",
    "memory left",
    "When memory gets short, the kernel makes room while a step waits, or ends a process.",
)
DISTANCE = Check(
    "memory",
    "NUMA nodes",
    "Memory of another node is further away; whether a step's lies near or far is chance, and differs by launch.",
)
BALANCING = Check(
    "memory",
    "NUMA balancing",
    "The kernel takes pages away for a moment to learn who uses them, and moves them, during the steps.",
)


def huge_pages(host: Host) -> Finding:
    """Whether large allocations get huge pages."""
    chosen = (host.text(HUGE) or "").partition("[")[2].partition("]")[0]
    if not chosen:
        return PAGES.not_known("the kernel shows no setting for them")
    if chosen == "always":
        return PAGES.good("always")
    if chosen == "madvise":
        return PAGES.could_be_better(
            "madvise: only a program that asks for them gets them",
            "Let torch ask for them, for the tensors on a CPU; or let everyone have them, for all programs.",
            "THP_MEM_ALLOC_ENABLE=1 loopmark run",
            f"echo always | sudo tee /{HUGE}",
        )
    return PAGES.could_be_better(chosen, "Let large allocations have them.", f"echo always | sudo tee /{HUGE}")


def swap(host: Host) -> Finding:
    """How much of the memory in use lies on a disk."""
    total, free = _bytes(host, "SwapTotal"), _bytes(host, "SwapFree")
    if total is None or free is None:
        return SWAP.not_known("the kernel does not show it")
    if not total:
        return SWAP.good("none is set up")
    reading = f"{_gib(total - free)} of {_gib(total)} GiB in use"
    if total == free:
        return SWAP.good(reading)
    return SWAP.could_be_better(
        reading,
        "End what fills the memory; or, where what is swapped out fits into it, bring it back and keep it there "
        "while measuring (`sudo swapon -a` undoes it).",
        "sudo swapoff -a",
    )


def memory_left(host: Host) -> Finding:
    """How much memory a run may take, and whether others wait for some."""
    total, left, waited = _bytes(host, "MemTotal"), _bytes(host, "MemAvailable"), waiting(host, "memory")
    if not total or left is None:
        return PRESSURE.not_known("the kernel does not show it")
    reading = f"{_gib(left)} of {_gib(total)} GiB"
    if waited is not None:
        reading += f"; in {waited:.3g} % of the last 10 s a task waited for some"
    remedy, command = "End what fills the memory.", "ps -eo rss,pid,user,comm --sort=-rss | head"
    if (waited or 0) >= WAITED_MUCH:
        return PRESSURE.bad(reading, remedy, command)
    if waited or left < LITTLE_LEFT * total:
        return PRESSURE.could_be_better(reading, remedy, command)
    return PRESSURE.good(reading)


def numa_nodes(host: Host) -> Finding:
    """Whether the cores used, and so their memory, are of one node."""
    nodes = {
        node: numbers(host.text(f"{NODES}/node{node}/cpulist") or "")
        for node in numbers(host.text(f"{NODES}/online") or "")
    }
    if not any(nodes.values()):
        return DISTANCE.not_known("the kernel shows no nodes")
    if len(nodes) == 1:
        return DISTANCE.good("one")
    used = tuple(node for node, cores in nodes.items() if set(cores) & set(host.cores))
    if len(used) == 1:
        return DISTANCE.good(f"{len(nodes)}; {host.core_list()} are of {listed('node', used)}")
    if not used:
        return DISTANCE.not_known(f"{len(nodes)}; none of them shows the cores used")
    largest = max(used, key=lambda node: len(nodes[node]))
    return DISTANCE.could_be_better(
        f"{len(nodes)}; {host.core_list()} are of {listed('node', used)}",
        "Keep a run on one node's cores and memory, with as many threads as it has cores.",
        f"numactl --cpunodebind={largest} --membind={largest} loopmark run",
    )


def numa_balancing(host: Host) -> Finding:
    """Whether the kernel moves pages between nodes by itself."""
    level = host.number("proc/sys/kernel/numa_balancing")
    if level is None:
        return BALANCING.not_known("the kernel does not show it")
    nodes = numbers(host.text(f"{NODES}/online") or "")
    if not level or len(nodes) == 1:
        return BALANCING.good("off" if not level else "on, with nothing to do on one node")
    return BALANCING.could_be_better("on", "Switch it off while measuring.", "sudo sysctl kernel.numa_balancing=0")


def _bytes(host: Host, name: str) -> int | None:
    lines = (line.split() for line in (host.text("proc/meminfo") or "").splitlines())
    kibibytes = next((fields[1] for fields in lines if len(fields) > 1 and fields[0] == f"{name}:"), "")
    return int(kibibytes) * 1024 if kibibytes.isdecimal() else None


def _gib(count: int) -> str:
    return f"{count / 2**30:.1f}"
