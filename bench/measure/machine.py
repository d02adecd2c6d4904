"""Descriptions of this machine and its software."""

import contextlib
import math
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import loopmark
from loopmark.bench.measure.cgroup import cpu_quota, text_of
from loopmark.bench.measure.nvml import driver_version
from loopmark.bench.records.machine import Environment, Gpu, Machine
from loopmark.bench.records.run import Plan

PACKAGES = ("torch", "triton", "numpy", "pandas", "pyarrow", "scipy", "scikit-learn", "nvidia-ml-py")
VARIABLES = (
    "OMP_", "KMP_", "GOMP_", "MKL_", "OPENBLAS_", "TORCH", "PYTORCH_", "CUDA_", "CUBLAS_", "CUDNN_", "TRITON_",
    "NVIDIA_TF32",
)  # fmt: skip
VARIABLES_ALONE = ("LD_PRELOAD", "GLIBC_TUNABLES", "MALLOC_CONF", "THP_MEM_ALLOC_ENABLE", "CXX", "PYTHONHASHSEED")


def describe_machine(device: str) -> Machine:
    """This machine's hardware. The GPU named by ``device`` comes first."""
    import psutil

    return Machine(
        cpu=_processor(),
        physical_cores=psutil.cpu_count(logical=False) or os.cpu_count() or 1,
        logical_cores=psutil.cpu_count(logical=True) or 1,
        memory_bytes=int(psutil.virtual_memory().total),
        architecture=platform.machine(),
        operating_system=f"{platform.system()} {platform.release()}",
        gpus=tuple(_gpus(device)),
    )


def describe_environment(threads: int, cores: tuple[int, ...]) -> Environment:
    """The software and settings of this process; workers inherit them."""
    import torch  # not above: `loopmark doctor` needs only cores and threads, and must not wait for torch

    home = Path(loopmark.__file__).resolve().parent.parent
    own = _revision(home) if (home / ".git").exists() else None  # installed, it may lie within another repository
    repository = _revision(Path.cwd())
    cudnn = torch.backends.cudnn.version() if torch.cuda.is_available() else None
    huge_pages = text_of(Path("/sys/kernel/mm/transparent_hugepage/enabled")) or ""  # such as: always [madvise] never
    return Environment(
        loopmark=loopmark.__version__,
        revision=own,
        python=platform.python_version(),
        torch=torch.__version__,
        cuda=torch.version.cuda or torch.version.hip,
        cudnn=str(cudnn) if cudnn else None,
        driver=driver_version(),
        packages=_versions(),
        variables=variables_in(os.environ),
        threads=threads,
        cores=cores,
        cpu_capability=torch.backends.cpu.get_cpu_capability(),
        compiler=_compiler(),
        huge_pages=huge_pages.partition("[")[2].partition("]")[0] or None,
        governor=text_of(Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")),
        repository=None if repository == own else repository,
    )


def variables_in(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables of ``environment`` that can change speed."""
    return {n: v for n, v in sorted(environment.items()) if n.startswith(VARIABLES) or n in VARIABLES_ALONE}


class CommandFacts:
    """The common fields of every ``CommandRecord``, for a command that began to measure at ``started``."""

    def __init__(self, plan: Plan, machine: Machine, started: datetime) -> None:
        self.plan, self.machine, self.started = plan, machine, started
        self.cores = available_cores()[: plan.threads]
        # A clock that nobody sets: the system's may go back.
        self._began = time.perf_counter() - (datetime.now(UTC) - started).total_seconds()
        self.environment = describe_environment(plan.threads, self.cores)

    def fields(self, folder: Path, *, interrupted: bool) -> dict[str, Any]:
        """The fields of the record to write to ``folder`` now."""
        return {
            "name": folder.name,
            "started": self.started.isoformat(timespec="seconds"),
            "seconds": time.perf_counter() - self._began,
            "interrupted": interrupted,
            "plan": self.plan,
            "machine": self.machine,
            "environment": self.environment,
        }


def available_cores() -> tuple[int, ...]:
    """The logical cores that this process may use. The first one of each physical core comes first."""
    if not hasattr(os, "sched_getaffinity"):
        return ()
    seen: set[str] = set()
    first: list[int] = []
    second: list[int] = []
    for core in sorted(os.sched_getaffinity(0)):
        siblings = text_of(Path(f"/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list")) or str(core)
        (second if siblings in seen else first).append(core)
        seen.add(siblings)
    return (*first, *second)


def default_threads() -> int:
    """The default number of threads: one per available physical core, within a container's quota."""
    import psutil

    physical = psutil.cpu_count(logical=False) or 1
    quota = cpu_quota(Path("/"))  # threads beyond the quota would be throttled
    whole = int(quota.cores) if quota is not None and math.isfinite(quota.cores) else physical
    return max(1, min(physical, len(available_cores()) or physical, whole))


def _processor() -> str:
    """The processor's name: from cpuinfo, or, where it is not installed, from the sources it reads on Linux."""
    try:
        import cpuinfo

        name = cpuinfo.get_cpu_info().get("brand_raw")
    except ImportError:
        told = (text_of(Path("/proc/cpuinfo")) or "", _output("lscpu") or "")  # an ARM's name is only in lscpu's output
        lines = (line.partition(":") for text in told for line in text.splitlines())
        name = next((value for key, _, value in lines if key.strip().lower() == "model name"), None)
    return str(name or platform.processor() or platform.machine()).strip()


def _gpus(device: str) -> Iterable[Gpu]:
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    chosen = torch.device(device).index or 0
    for index in sorted(range(count), key=lambda index: index != chosen):
        facts = torch.cuda.get_device_properties(index)
        capability, multiprocessors = f"{facts.major}.{facts.minor}", int(facts.multi_processor_count)
        yield Gpu(facts.name, int(facts.total_memory), capability, multiprocessors)


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def _revision(folder: Path) -> str | None:
    head = _output("git", "-C", str(folder), "rev-parse", "--short=12", "HEAD")
    changes = head and _output("git", "-C", str(folder), "status", "--porcelain", "--untracked-files=no")
    return f"{head}+changes" if head and changes else head


def _compiler() -> str | None:
    compiler = shutil.which(os.environ.get("CXX", "g++"))
    text = _output(compiler, "--version") if compiler else None
    return text.splitlines()[0] if text else None


def _output(*command: str) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None
