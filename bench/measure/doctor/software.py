"""What the kernel does to clocks and addresses, and what lies below and around it."""

import importlib.util
import runpy
import shutil
import sys
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from loopmark.bench.measure.doctor.host import Host
from loopmark.bench.records.checks import Check, Finding

CLOCK = "sys/devices/system/clocksource/clocksource0"
QUICK_CLOCKS = ("tsc", "arch_sys_counter", "kvm-clock", "hyperv_clocksource_tsc_page", "timebase")
"""Those that a process reads without a system call."""
RANDOMISATION = {0: "off", 1: "on, but for the heap", 2: "on"}

CLOCK_SOURCE = Check(
    "processor",
    "clock source",
    "A lap reads the clock once; a clock that takes a system call, or a device's register, adds to every phase.",
)
LAYOUT = Check(
    "processor",
    "address randomisation",
    "Each process gets another layout of its memory, and some layouts are a little faster. Loopmark measures several "
    "launches for that reason; it protects against attacks, so leave it on.",
)
MACHINE = Check(
    "processor",
    "virtual machine",
    "Cores, caches and memory of a virtual machine may be shared with others, which its own kernel cannot see.",
)
CONTAINER = Check(
    "processor",
    "container",
    "A container costs a step nothing by itself; its limits are told under `CPU quota` and `allowed cores`.",
)


def clock_source(host: Host) -> Finding:
    """The clock behind ``time.perf_counter``."""
    current = host.text(f"{CLOCK}/current_clocksource")
    if current is None:
        return CLOCK_SOURCE.not_known("the kernel does not show it")
    if current in QUICK_CLOCKS:
        return CLOCK_SOURCE.good(current)
    others = (host.text(f"{CLOCK}/available_clocksource") or "").split()
    quick = next((name for name in QUICK_CLOCKS if name in others), None)
    if quick is None:
        return CLOCK_SOURCE.could_be_better(
            current, "The kernel offers no quicker one; compare whole steps, not short phases."
        )
    return CLOCK_SOURCE.bad(
        current,
        f"Use {quick}. The kernel may have had its reasons against it: look for `clocksource` in its messages first.",
        "sudo dmesg | grep -i clocksource",
        f"echo {quick} | sudo tee /{CLOCK}/current_clocksource",
    )


def address_randomisation(host: Host) -> Finding:
    """Only told."""
    level = host.number("proc/sys/kernel/randomize_va_space")
    if level is None:
        return LAYOUT.not_known("the kernel does not show it")
    return LAYOUT.good(RANDOMISATION.get(level, str(level)))


def virtual_machine(host: Host) -> Finding:
    """Whether the hardware is another kernel's."""
    names = (host.text(f"sys/class/dmi/id/{name}") for name in ("sys_vendor", "product_name"))
    maker = " ".join(name for name in names if name)
    virtual = host.virtual()
    if virtual is None:
        return MACHINE.not_known(
            "this processor has no mark for it" + (f"; the hardware calls itself {maker}" if maker else "")
        )
    if not virtual:
        return MACHINE.good("no hypervisor is noticed" + (f": {maker}" if maker else ""))
    return MACHINE.could_be_better(
        "yes" + (f": {maker}" if maker else ""),
        "Compare loops within one run, not seconds between runs, and learn what differences show here; or use a "
        "machine of your own.",
        "loopmark calibrate",
    )


def container(host: Host) -> Finding:
    """Only told."""
    marks = (".dockerenv", "run/.containerenv")
    if maker := host.text("run/systemd/container"):
        return CONTAINER.good(f"yes: {maker}")
    mark = next((mark for mark in marks if host.present(mark)), None)
    if mark is None and any(word in (host.text("proc/1/cgroup") or "") for word in ("docker", "kubepods", "lxc")):
        mark = "proc/1/cgroup"
    return CONTAINER.good(f"yes, says /{mark}" if mark else "none is noticed")


PREFIXES = ("OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_")
PLACING = ("OMP_PROC_BIND", "OMP_PLACES", "GOMP_CPU_AFFINITY", "KMP_AFFINITY")
"""They bind threads to cores of their own choice, within or against the set that Loopmark pins its processes to."""

THREADS = Check(
    "software",
    "threads",
    "More threads than cores wait for each other; fewer leave cores unused. All loops of a run use as many.",
)
VARIABLES = Check(
    "software",
    "thread variables",
    "They change how many threads compute, on which cores, and how idle ones wait; a run without them is another run.",
)


def threads(host: Host) -> Finding:
    """How many threads a run would use, which only ``--threads`` changes."""
    return THREADS.good(f"{host.threads} by default" + (f", on {host.core_list()}" if host.cores else ", not pinned"))


def thread_variables(host: Host) -> Finding:
    """Which are set."""
    found = {name: value for name, value in sorted(host.variables.items()) if name.startswith(PREFIXES) and value}
    if not found:
        return VARIABLES.good("none is set")
    reading = ", ".join(f"{name}={value}" for name, value in found.items())
    placing = [name for name in PLACING if name in found]
    spinning = ["OMP_WAIT_POLICY"] if found.get("OMP_WAIT_POLICY", "").lower() == "active" else []
    if not placing and not spinning:
        return VARIABLES.good(f"{reading}; a run keeps them with its results")
    says = []
    if placing:
        says.append("Loopmark pins its processes itself, and threads bound once more may share a core.")
    if spinning:
        says.append("Idle threads that spin take time from the process whose turn it is, on the same cores.")
    return VARIABLES.could_be_better(reading, " ".join(says), f"unset {' '.join([*placing, *spinning])}")


TORCH = Check("software", "torch", "Its build decides which devices can be measured at all.")
COMPILER = Check(
    "software",
    "compiler",
    "torch.compile writes C++ on a CPU, and launchers in C on a GPU; without a compiler its loops are skipped.",
)
TRITON = Check("software", "triton", "torch.compile writes its GPU kernels in it; without it its loops are skipped.")
GIT = Check(
    "software", "git", "`loopmark ab` checks revisions out by it, and a run is kept with the revision it measured."
)


@dataclass(frozen=True)
class TorchBuild:
    """An installed torch, as its own files tell."""

    version: str
    accelerator: str | None
    """``CUDA 13.0`` or ``ROCm 7.0``; None for a CPU alone."""


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


def torch(build: TorchBuild | None, gpus: Sequence[str], uses_gpu: bool) -> Finding:
    """Whether torch can use the GPUs that the driver names; none are named where nobody asked for any."""
    if build is None:
        return TORCH.bad("not installed", "Install all that Loopmark needs.", "make bench")
    reading = f"{build.version}, for {build.accelerator or 'CPU alone'}"
    if not gpus or uses_gpu:
        return TORCH.good(reading)
    unused = f"{reading}; this machine has {', '.join(gpus)}"
    if build.accelerator is None:
        return TORCH.bad(
            unused, "Install a torch that is built for this GPU: see https://pytorch.org/get-started/locally."
        )
    return TORCH.bad(
        f"{unused}, of which torch finds none",
        "See whether CUDA_VISIBLE_DEVICES hides it, or whether its driver is older than torch needs.",
        "nvidia-smi",
        'python -c "import torch; torch.cuda.init()"',
    )


def compiler(host: Host, uses_gpu: bool) -> Finding:
    """The compiler that torch.compile calls, or triton on a GPU, and Python's headers, which both include."""
    default = "clang++" if sys.platform == "darwin" else "g++"
    name = host.variables.get("CC", "gcc") if uses_gpu else host.variables.get("CXX", default)
    path = host.variables.get("PATH")
    if shutil.which(name, path=path) is None:
        package = "gcc" if uses_gpu else "g++ python3-dev"
        variable = "CC" if uses_gpu else "CXX"
        return COMPILER.could_be_better(
            f"{name} is not on the PATH",
            f"Install it, or name another in {variable}.",
            f"sudo apt-get install {package}",
        )
    if not (Path(sysconfig.get_path("include")) / "Python.h").is_file():
        return COMPILER.could_be_better(
            f"{name}, but without Python's headers", "Install them.", "sudo apt-get install python3-dev"
        )
    return COMPILER.good(f"{name}, and Python's headers")


def triton() -> Finding:
    """Whether it is installed; asked where there is a GPU."""
    if importlib.util.find_spec("triton") is None:
        return TRITON.could_be_better("not installed", "Install the triton that belongs to this torch.")
    return TRITON.good("installed")


def git(host: Host) -> Finding:
    """Whether it is on the PATH."""
    if shutil.which("git", path=host.variables.get("PATH")) is None:
        return GIT.could_be_better("not on the PATH", "Install it.", "sudo apt-get install git")
    return GIT.good("installed")
