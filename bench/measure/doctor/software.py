"""Checks of a run's software: kernel, environment, torch and the tools that it calls."""

import importlib.util
import runpy
import shutil
import sys
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from loopmark.bench.measure.doctor.host import HostView, check_of, known
from loopmark.bench.records.checks import Check, CheckResult

CLOCK = "sys/devices/system/clocksource/clocksource0"
QUICK_CLOCKS = ("tsc", "arch_sys_counter", "kvm-clock", "hyperv_clocksource_tsc_page", "timebase")
"""Clocks that a process reads without a system call."""
RANDOMISATION = {0: "off", 1: "on, but for the heap", 2: "on"}
PREFIXES = ("OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_")
PLACING = ("OMP_PROC_BIND", "OMP_PLACES", "GOMP_CPU_AFFINITY", "KMP_AFFINITY")
"""Variables that bind threads to cores, which may conflict with the cores that Loopmark pins its processes to."""


@check_of("processor", "clock source")
def clock_source(check: Check, host: HostView) -> CheckResult:
    """Each lap reads the clock once. A clock that needs a system call or a device register adds time to every phase."""
    current = known(host.text(f"{CLOCK}/current_clocksource"), "the kernel does not show it")
    if current in QUICK_CLOCKS:
        return check.good(current)
    others = (host.text(f"{CLOCK}/available_clocksource") or "").split()
    quick = next((name for name in QUICK_CLOCKS if name in others), None)
    if quick is None:
        return check.could_be_better(
            current, "The kernel offers no faster clock; compare whole steps, not short phases."
        )
    return check.bad(
        current,
        f"Use {quick}. The kernel may have rejected it for a reason: first look for `clocksource` in its messages.",
        "sudo dmesg | grep -i clocksource",
        f"echo {quick} | sudo tee /{CLOCK}/current_clocksource",
    )


@check_of("processor", "address randomisation")
def address_randomisation(check: Check, host: HostView) -> CheckResult:
    """Each process gets a random memory layout, and some layouts are slightly faster, so Loopmark measures several
    launches. Leave randomisation on: it protects against attacks."""
    level = known(host.number("proc/sys/kernel/randomize_va_space"), "the kernel does not show it")
    return check.good(RANDOMISATION.get(level, str(level)))


@check_of("processor", "virtual machine")
def virtual_machine(check: Check, host: HostView) -> CheckResult:
    """A virtual machine may share cores, caches and memory with other machines, and its kernel cannot see them."""
    names = (host.text(f"sys/class/dmi/id/{name}") for name in ("sys_vendor", "product_name"))
    maker = " ".join(name for name in names if name)
    virtual, called = host.virtual(), f": {maker}" if maker else ""
    if virtual is None:
        told = f"; the hardware's name is {maker}" if maker else ""
        return check.not_known(f"this processor does not report it{told}")
    if not virtual:
        return check.good(f"no hypervisor detected{called}")
    return check.could_be_better(
        f"yes{called}",
        "Compare loops within one run, not seconds between runs. Find the smallest detectable difference with the "
        "command below, or use a dedicated machine.",
        "loopmark calibrate",
    )


@check_of("processor", "container")
def container(check: Check, host: HostView) -> CheckResult:
    """A container itself does not slow a step. Its limits are listed under `CPU quota` and `allowed cores`."""
    if maker := host.text("run/systemd/container"):
        return check.good(f"yes: {maker}")
    mark = next((mark for mark in (".dockerenv", "run/.containerenv") if host.present(mark)), None)
    if mark is None and any(word in (host.text("proc/1/cgroup") or "") for word in ("docker", "kubepods", "lxc")):
        mark = "proc/1/cgroup"
    return check.good(f"yes, by /{mark}" if mark else "none detected")


@check_of("software", "threads")
def threads(check: Check, host: HostView) -> CheckResult:
    """Threads beyond the number of cores wait for each other; with fewer, cores stay idle. All loops use the same."""
    return check.good(f"{host.threads} by default" + (f", on {host.core_list()}" if host.cores else ", not pinned"))


@check_of("software", "thread variables")
def thread_variables(check: Check, host: HostView) -> CheckResult:
    """They change the number of threads, their cores, and how idle threads wait. Runs with and without them are not
    comparable."""
    found = {name: value for name, value in sorted(host.variables.items()) if name.startswith(PREFIXES) and value}
    if not found:
        return check.good("none set")
    reading = ", ".join(f"{name}={value}" for name, value in found.items())
    placing = [name for name in PLACING if name in found]
    spinning = ["OMP_WAIT_POLICY"] if found.get("OMP_WAIT_POLICY", "").lower() == "active" else []
    if not placing and not spinning:
        return check.good(f"{reading}; a run stores them with its results")
    says = {
        "Loopmark pins its processes; threads bound again by these variables may share a core.": placing,
        "Idle threads that spin take time from the process that has its turn on the same cores.": spinning,
    }
    remedy = " ".join(text for text, names in says.items() if names)
    return check.could_be_better(reading, remedy, f"unset {' '.join([*placing, *spinning])}")


@dataclass(frozen=True)
class TorchBuild:
    """An installed torch, as described by its own files."""

    version: str
    accelerator: str | None  # `CUDA 13.0` or `ROCm 7.0`; None for a CPU-only build


def torch_build() -> TorchBuild | None:
    """The torch that would be imported, without importing it; None if there is none."""
    found = importlib.util.find_spec("torch")  # finding is not importing
    if found is None or found.origin is None:
        return None
    try:
        facts = runpy.run_path(str(Path(found.origin).with_name("version.py")))
    except Exception:  # version.py has an unknown layout
        return TorchBuild(metadata.version("torch"), None)
    named = {"CUDA": facts.get("cuda"), "ROCm": facts.get("hip")}
    accelerator = next((f"{name} {version}" for name, version in named.items() if version), None)
    return TorchBuild(str(facts.get("__version__")), accelerator)


@check_of("software", "torch")
def torch(check: Check, build: TorchBuild | None, gpus: Sequence[str], uses_gpu: bool) -> CheckResult:
    """Its build determines which devices can be measured."""
    if build is None:
        return check.bad("not installed", "Install Loopmark's requirements.", "make bench")
    reading = f"{build.version}, for {build.accelerator or 'CPU only'}"
    if not gpus or uses_gpu:
        return check.good(reading)
    unused = f"{reading}; this machine has {', '.join(gpus)}"
    if build.accelerator is None:
        return check.bad(unused, "Install a torch built for this GPU: see https://pytorch.org/get-started/locally.")
    return check.bad(
        f"{unused}, but torch finds none",
        "Check whether CUDA_VISIBLE_DEVICES hides it, or whether its driver is too old for torch.",
        "nvidia-smi",
        'python -c "import torch; torch.cuda.init()"',
    )


@check_of("software", "compiler")
def compiler(check: Check, host: HostView, uses_gpu: bool) -> CheckResult:
    """torch.compile generates C++ on a CPU, and C launchers on a GPU. Without a compiler, its loops are skipped."""
    for_cpu = ("CXX", "clang++" if sys.platform == "darwin" else "g++", "g++ python3-dev")
    variable, default, package = ("CC", "gcc", "gcc") if uses_gpu else for_cpu
    name = host.variables.get(variable, default)
    if shutil.which(name, path=host.variables.get("PATH")) is None:
        return check.could_be_better(
            f"{name} is not on the PATH",
            f"Install it, or name another compiler in {variable}.",
            f"sudo apt-get install {package}",
        )
    if not (Path(sysconfig.get_path("include")) / "Python.h").is_file():
        return check.could_be_better(
            f"{name}, but without Python's headers", "Install them.", "sudo apt-get install python3-dev"
        )
    return check.good(f"{name}, and Python's headers")


@check_of("software", "triton")
def triton(check: Check) -> CheckResult:
    """torch.compile generates its GPU kernels in Triton. Without it, its loops are skipped."""
    if importlib.util.find_spec("triton") is None:
        return check.could_be_better("not installed", "Install the triton version that matches this torch.")
    return check.good("installed")


@check_of("software", "git")
def git(check: Check, host: HostView) -> CheckResult:
    """`loopmark ab` uses it to check out revisions, and a run records its revision with it."""
    if shutil.which("git", path=host.variables.get("PATH")) is None:
        return check.could_be_better("not on the PATH", "Install it.", "sudo apt-get install git")
    return check.good("installed")
