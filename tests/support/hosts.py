"""Machines made up file by file."""

from pathlib import Path

from loopmark.bench.measure.doctor.host import HostView
from tests.support.files import write

CPU = "sys/devices/system/cpu"
VIRTUAL = {"proc/cpuinfo": "processor\t: 0\nflags\t\t: fpu vme hypervisor avx2\n"}
REAL = {"proc/cpuinfo": "processor\t: 0\nflags\t\t: fpu vme avx2\n"}


def host(
    root: Path,
    files: dict[str, str] | None = None,
    *,
    cores: tuple[int, ...] = (0, 1),
    threads: int | None = None,
    variables: dict[str, str] | None = None,
) -> HostView:
    return HostView(write(root, files or {}), cores, threads or len(cores), variables or {})
