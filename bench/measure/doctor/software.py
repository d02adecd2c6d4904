"""The software below and around a run: the kernel, the environment, torch and the tools that it calls."""

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
"""Those that a process reads without a system call."""
RANDOMISATION = {0: "off", 1: "on, but for the heap", 2: "on"}
PREFIXES = ("OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_")
PLACING = ("OMP_PROC_BIND", "OMP_PLACES", "GOMP_CPU_AFFINITY", "KMP_AFFINITY")
"""They bind threads to cores of their own choice, within or against the set that Loopmark pins its processes to."""


@check_of("processor", "clock source")
def clock_source(check: Check, host: HostView) -> CheckResult:
    """A lap reads the clock once; a clock that takes a system call, or a device's register, adds to every phase."""
    current = known(host.text(f"{CLOCK}/current_clocksource"), "the kernel does not show it")
    if current in QUICK_CLOCKS:
        return check.good(current)
    others = (host.text(f"{CLOCK}/available_clocksource") or "").split()
    quick = next((name for name in QUICK_CLOCKS if name in others), None)
    if quick is None:
        return check.could_be_better(
            current, "The kernel offers no quicker one; compare whole steps, not short phases."
        )
    return check.bad(
        current,
        f"Use {quick}. The kernel may have had its reasons against it: look for `clocksource` in its messages first.",
        "sudo dmesg | grep -i clocksource",
        f"echo {quick} | sudo tee /{CLOCK}/current_clocksource",
    )


@check_of("processor", "address randomisation")
def address_randomisation(check: Check, host: HostView) -> CheckResult:
    """Each process gets another layout of its memory, and some layouts are a little faster. Loopmark measures several
    launches for that reason; it protects against attacks, so leave it on."""
    level = known(host.number("proc/sys/kernel/randomize_va_space"), "the kernel does not show it")
    return check.good(RANDOMISATION.get(level, str(level)))


@check_of("processor", "virtual machine")
def virtual_machine(check: Check, host: HostView) -> CheckResult:
    """Cores, caches and memory of a virtual machine may be shared with others, which its own kernel cannot see."""
    names = (host.text(f"sys/class/dmi/id/{name}") for name in ("sys_vendor", "product_name"))
    maker = " ".join(name for name in names if name)
    virtual, called = host.virtual(), f": {maker}" if maker else ""
    if virtual is None:
        told = f"; the hardware calls itself {maker}" if maker else ""
        return check.not_known(f"this processor has no mark for it{told}")
    if not virtual:
        return check.good(f"no hypervisor is noticed{called}")
    return check.could_be_better(
        f"yes{called}",
        "Compare loops within one run, not seconds between runs, and learn what differences show here; or use a "
        "machine of your own.",
        "loopmark calibrate",
    )


@check_of("processor", "container")
def container(check: Check, host: HostView) -> CheckResult:
    """A container costs a step nothing by itself; its limits are told under `CPU quota` and `allowed cores`."""
    if maker := host.text("run/systemd/container"):
        return check.good(f"yes: {maker}")
    mark = next((mark for mark in (".dockerenv", "run/.containerenv") if host.present(mark)), None)
    if mark is None and any(word in (host.text("proc/1/cgroup") or "") for word in ("docker", "kubepods", "lxc")):
        mark = "proc/1/cgroup"
    return check.good(f"yes, says /{mark}" if mark else "none is noticed")


@check_of("software", "threads")
def threads(check: Check, host: HostView) -> CheckResult:
    """More threads than cores wait for each other; fewer leave cores unused. All loops of a run use as many."""
    return check.good(f"{host.threads} by default" + (f", on {host.core_list()}" if host.cores else ", not pinned"))


@check_of("software", "thread variables")
def thread_variables(check: Check, host: HostView) -> CheckResult:
    """They change how many threads compute, on which cores, and how idle ones wait; a run without them is another
    run."""
    found = {name: value for name, value in sorted(host.variables.items()) if name.startswith(PREFIXES) and value}
    if not found:
        return check.good("none is set")
    reading = ", ".join(f"{name}={value}" for name, value in found.items())
    placing = [name for name in PLACING if name in found]
    spinning = ["OMP_WAIT_POLICY"] if found.get("OMP_WAIT_POLICY", "").lower() == "active" else []
    if not placing and not spinning:
        return check.good(f"{reading}; a run keeps them with its results")
    says = {
        "Loopmark pins its processes itself, and threads bound once more may share a core.": placing,
        "Idle threads that spin take time from the process whose turn it is, on the same cores.": spinning,
    }
    remedy = " ".join(text for text, names in says.items() if names)
    return check.could_be_better(reading, remedy, f"unset {' '.join([*placing, *spinning])}")


@dataclass(frozen=True)
class TorchBuild:
    """An installed torch, as its own files tell."""

    version: str
    accelerator: str | None  # `CUDA 13.0` or `ROCm 7.0`; None for a CPU alone


def torch_build() -> TorchBuild | None:
    """The torch that would be imported, without importing it; None where there is none."""
    found = importlib.util.find_spec("torch")  # finding is not importing
    if found is None or found.origin is None:
        return None
    try:
        facts = runpy.run_path(str(Path(found.origin).with_name("version.py")))
    except Exception:  # another layout than today's
        return TorchBuild(metadata.version("torch"), None)
    named = {"CUDA": facts.get("cuda"), "ROCm": facts.get("hip")}
    accelerator = next((f"{name} {version}" for name, version in named.items() if version), None)
    return TorchBuild(str(facts.get("__version__")), accelerator)


@check_of("software", "torch")
def torch(check: Check, build: TorchBuild | None, gpus: Sequence[str], uses_gpu: bool) -> CheckResult:
    """Its build decides which devices can be measured at all."""
    if build is None:
        return check.bad("not installed", "Install all that Loopmark needs.", "make bench")
    reading = f"{build.version}, for {build.accelerator or 'CPU alone'}"
    if not gpus or uses_gpu:
        return check.good(reading)
    unused = f"{reading}; this machine has {', '.join(gpus)}"
    if build.accelerator is None:
        return check.bad(
            unused, "Install a torch that is built for this GPU: see https://pytorch.org/get-started/locally."
        )
    return check.bad(
        f"{unused}, of which torch finds none",
        "See whether CUDA_VISIBLE_DEVICES hides it, or whether its driver is older than torch needs.",
        "nvidia-smi",
        'python -c "import torch; torch.cuda.init()"',
    )


@check_of("software", "compiler")
def compiler(check: Check, host: HostView, uses_gpu: bool) -> CheckResult:
    """torch.compile writes C++ on a CPU, and launchers in C on a GPU; without a compiler its loops are skipped."""
    for_cpu = ("CXX", "clang++" if sys.platform == "darwin" else "g++", "g++ python3-dev")
    variable, default, package = ("CC", "gcc", "gcc") if uses_gpu else for_cpu
    name = host.variables.get(variable, default)
    if shutil.which(name, path=host.variables.get("PATH")) is None:
        return check.could_be_better(
            f"{name} is not on the PATH",
            f"Install it, or name another in {variable}.",
            f"sudo apt-get install {package}",
        )
    if not (Path(sysconfig.get_path("include")) / "Python.h").is_file():
        return check.could_be_better(
            f"{name}, but without Python's headers", "Install them.", "sudo apt-get install python3-dev"
        )
    return check.good(f"{name}, and Python's headers")


@check_of("software", "triton")
def triton(check: Check) -> CheckResult:
    """torch.compile writes its GPU kernels in it; without it its loops are skipped."""
    if importlib.util.find_spec("triton") is None:
        return check.could_be_better("not installed", "Install the triton that belongs to this torch.")
    return check.good("installed")


@check_of("software", "git")
def git(check: Check, host: HostView) -> CheckResult:
    """`loopmark ab` checks revisions out by it, and a run is kept with the revision it measured."""
    if shutil.which("git", path=host.variables.get("PATH")) is None:
        return check.could_be_better("not on the PATH", "Install it.", "sudo apt-get install git")
    return check.good("installed")
