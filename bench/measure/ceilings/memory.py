"""How much memory there is to measure in, and how much of it a cache hides."""

from collections.abc import Iterable
from pathlib import Path

import torch

from loopmark.bench.measure.cgroup import free_host_bytes

CPUS = Path("/sys/devices/system/cpu")
UNITS = {"K": 2**10, "M": 2**20, "G": 2**30}


def free_bytes(device: torch.device) -> int:
    """The free bytes of the device's own memory."""
    return int(torch.cuda.mem_get_info(device)[0]) if device.type == "cuda" else free_host_bytes()


def last_level_cache_bytes(device: torch.device, cores: Iterable[int], cpus: Path = CPUS) -> int | None:
    """The device's outermost cache; on a CPU of all ``cores`` together. None where nobody tells."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).L2_cache_size) or None
    caches = [cache for core in cores for cache in _caches(cpus / f"cpu{core}" / "cache")]
    outermost = max((level for level, _, _ in caches), default=0)
    # Cores that share a cache name the same cores beside it.
    shared = {sharers: size for level, sharers, size in caches if level == outermost}
    return sum(shared.values()) or None


def _caches(folder: Path) -> Iterable[tuple[int, str, int]]:
    """Level, sharing cores and bytes of each of a core's caches that hold data."""
    for cache in folder.glob("index*"):
        level, size = _text(cache / "level"), _text(cache / "size")
        if level.isdigit() and size[:-1].isdigit() and size[-1] in UNITS and _text(cache / "type") != "Instruction":
            yield int(level), _text(cache / "shared_cpu_list"), int(size[:-1]) * UNITS[size[-1]]


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
