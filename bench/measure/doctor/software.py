"""The software that a run needs, or could use."""

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
