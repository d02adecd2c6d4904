"""How much of this machine's memory a process may take without harm to anyone else, and how it is held to that."""

import contextlib
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

SAFE_SHARE = 0.8
"""Of the memory that is free: the rest is for everyone else, and for what a forecast does not see."""

_CGROUPS = Path("/sys/fs/cgroup")
_MEMBERSHIP = Path("/proc/self/cgroup")
_V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
_V2 = ("memory.max", "memory.current", "inactive_file")
"""The files with a group's limit and use, and the row of its memory.stat with what can be given up at once."""


def safe_bytes() -> int:
    """What one process may take: a share of what the system, and every control group around us, has left."""
    import psutil

    try:
        membership = _MEMBERSHIP.read_text()
    except OSError:
        membership = ""
    return int(SAFE_SHARE * min([int(psutil.virtual_memory().available), *cgroup_rooms(_CGROUPS, membership)]))


def cgroup_rooms(root: Path, membership: str) -> Iterator[int]:
    """Bytes that each control group with a limit has left: ours, and those that it lies in (see cgroups(7)).

    Args:
        root: where the groups are mounted.
        membership: the text of /proc/self/cgroup. A container may not see the folder that it names, but the one above.
    """
    for row in membership.splitlines():
        hierarchy, _, rest = row.partition(":")
        controllers, _, path = rest.partition(":")
        if hierarchy == "0":
            yield from _rooms(root, path, _V2)
        elif "memory" in controllers.split(","):
            yield from _rooms(root / "memory", path, _V1)


def forecast_bytes(peaks: Mapping[int, int], batch_size: int) -> int | None:
    """The peak to expect of ``batch_size``, from those that were measured, by their batch size; None from none.

    A line through the two largest: the model and torch itself take the same whatever the batch. One alone is scaled
    whole, which errs on the safe side.
    """
    if not peaks:
        return None
    last = max(peaks)
    before = max((size for size in peaks if size < last), default=None)
    if before is None:
        return round(peaks[last] * max(1.0, batch_size / last))
    slope = max(0.0, (peaks[last] - peaks[before]) / (last - before))
    return round(peaks[last] + slope * max(0, batch_size - last))


def confine(pid: int, most_bytes: int) -> None:
    """Let the process ``pid`` allocate no more than ``most_bytes``, where the system can do that (Linux).

    A forecast may be wrong, and the first size has none: torch's allocation then fails, and no one else's. Should
    memory run out all the same, the system is to end this process and not another.
    """
    if sys.platform == "linux":
        import resource

        with contextlib.suppress(OSError, ValueError):  # it is gone already, or forbids it: the next question will show
            resource.prlimit(pid, resource.RLIMIT_DATA, (most_bytes, most_bytes))
        with contextlib.suppress(OSError):
            Path(f"/proc/{pid}/oom_score_adj").write_text("1000")


def _rooms(mount: Path, path: str, names: tuple[str, str, str]) -> Iterator[int]:
    folder = mount / path.lstrip("/")
    while folder == mount or mount in folder.parents:
        if (room := _room(folder, names)) is not None:
            yield room
        folder = folder.parent


def _room(folder: Path, names: tuple[str, str, str]) -> int | None:
    """What one group has left; None where it has no limit, or cannot be read."""
    limit_name, use_name, idle_name = names
    try:
        limit, used = (folder / limit_name).read_text().strip(), int((folder / use_name).read_text())
        rows = (row.split() for row in (folder / "memory.stat").read_text().splitlines())
        idle = next((int(row[1]) for row in rows if row[0] == idle_name), 0)
    except (OSError, ValueError, IndexError):
        return None
    return max(0, int(limit) - used + idle) if limit.isdigit() else None
