"""Control groups' limits on processor and memory, read from cgroup v2, v1, or both side by side."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MOUNT = Path("sys/fs/cgroup")
HYBRID = MOUNT / "unified"  # where v2 is mounted beside v1
MEMORY_1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
MEMORY_2 = ("memory.max", "memory.current", "inactive_file")
"""The files of a group's limit and use, and the row of its memory.stat with memory that can be freed at once."""


@dataclass(frozen=True)
class Quota:
    """The processor time that the group may use."""

    cores: float  # seconds of processor a second; infinite without a quota
    throttled_periods: int
    """Periods so far in which the group had used up its quota and waited; 0 without a counter."""


def cpu_quota(root: Path) -> Quota | None:
    """The tightest quota of this process's group and its parent groups; None without a control group."""
    if not (levels := [*_levels(root, "cpu")]):
        return None
    return Quota(min(map(_cores, levels)), max(_counted(level / "cpu.stat", "nr_throttled") for level in levels))


def cpuset(root: Path) -> tuple[int, ...] | None:
    """The logical cores that this process's group may use; None where no control group lists them."""
    for level in _levels(root, "cpuset"):
        for name in ("cpuset.cpus.effective", "cpuset.effective_cpus", "cpuset.cpus"):
            if listed := text_of(level / name):
                return numbers(listed)
    return None


def memory_rooms(root: Path) -> Iterator[int]:
    """Bytes left in each control group with a limit: this process's group and its parents (see cgroups(7))."""
    for level in _levels(root, "memory"):
        limit_file, use_file, idle_row = MEMORY_1 if (level / MEMORY_1[0]).exists() else MEMORY_2
        limit, used = (text_of(level / name) or "" for name in (limit_file, use_file))
        if limit.isdecimal() and used.isdecimal():
            yield max(0, int(limit) - int(used) + _counted(level / "memory.stat", idle_row))


def free_host_bytes(root: Path = Path("/")) -> int:
    """Bytes that a process can still allocate, by the system and by every control group of this process."""
    import psutil

    return min([int(psutil.virtual_memory().available), *memory_rooms(root)])


def numbers(listed: str) -> tuple[int, ...]:
    """The numbers in a kernel's list of cores or nodes, such as ``0-2,7``; invalid parts are ignored."""
    found: list[int] = []
    for part in listed.strip().split(","):
        first, _, last = part.partition("-")
        if first.isdecimal() and (last or first).isdecimal():
            found.extend(range(int(first), int(last or first) + 1))
    return tuple(found)


def _levels(root: Path, controller: str) -> Iterator[Path]:
    """The folders of this process's group under ``controller`` and of its parent groups, the nearest first.

    With v1 and v2 side by side, each controller belongs to one of them: v1 is used where it has the controller.
    """
    lines = (text_of(root / "proc/self/cgroup") or "").splitlines()
    groups = {parts[1]: parts[2] for line in lines if len(parts := line.split(":", 2)) == 3}
    # v2's hierarchy has no name.
    hierarchy = next((names for names in groups if controller in names.split(",")), "")
    candidates = [MOUNT / hierarchy, MOUNT / controller] if hierarchy else [HYBRID, MOUNT]
    mount = next((root / folder for folder in candidates if (root / folder).is_dir()), None)
    if mount is None or hierarchy not in groups:
        return
    group = mount / groups[hierarchy].strip("/")
    # A container that sees its own group as the root may see a path of the host, which does not exist here.
    level = group if ".." not in group.parts and group.is_dir() else mount
    while level != mount:
        yield level
        level = level.parent
    yield mount


def _cores(level: Path) -> float:
    limit = (
        text_of(level / "cpu.max") or f"{text_of(level / 'cpu.cfs_quota_us')} {text_of(level / 'cpu.cfs_period_us')}"
    )
    quota, _, period = limit.partition(" ")
    if not (quota.isdecimal() and period.isdecimal() and int(period)):
        return math.inf  # v2's "max" and v1's -1 are no limit
    return int(quota) / int(period)


def _counted(path: Path, name: str) -> int:
    """The number in the row ``name`` of a file of name-number rows; 0 without that row."""
    rows = (row.split() for row in (text_of(path) or "").splitlines())
    value = next((row[1] for row in rows if len(row) == 2 and row[0] == name), "0")
    return int(value) if value.isdecimal() else 0


def text_of(path: Path) -> str | None:
    """The text of a small file; None if it is empty or unreadable."""
    try:
        return path.read_text(errors="replace").strip() or None
    except OSError:
        return None
