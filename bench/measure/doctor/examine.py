"""All checks, in the order in which they are reported, and the device that they concern."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pynvml

from loopmark.bench.errors import BadInput
from loopmark.bench.measure.doctor import gpu, hardware, software
from loopmark.bench.measure.doctor.gpu import GpuSettings
from loopmark.bench.measure.doctor.host import HostView
from loopmark.bench.measure.doctor.software import TorchBuild
from loopmark.bench.measure.nvml import device_names
from loopmark.bench.records.checks import Check, CheckResult, Diagnosis


@dataclass(frozen=True)
class Device:
    """The device that a run would use."""

    name: str  # `cpu`, or `cuda:0`
    uuid: str | None = None  # the driver's id of the GPU: `GPU-…`
    gpus: tuple[str, ...] = ()  # the names of this machine's GPUs, if they were queried


def find_device(name: str | None, build: TorchBuild | None) -> Device:
    """The device ``name``, or by default a GPU if torch finds one. Raises BadInput for an absent device."""
    if name is not None and re.fullmatch(r"(xpu|mps)(:[0-9]{1,3})?", name):
        raise BadInput(f"--device {name}: doctor checks processors and CUDA devices only; give cpu, cuda or cuda:N")
    if name is not None and not re.fullmatch(r"cpu|cuda(:[0-9]{1,3})?", name):
        raise BadInput(f"no device '{name}'; give cpu, cuda or cuda:N")
    if name == "cpu":
        return Device("cpu")
    names = device_names()
    uuids = _uuids(name, build, names)
    if name is None and not uuids:
        return Device("cpu", gpus=names)
    index = int((name or "cuda").partition(":")[2] or 0)
    if not uuids:
        built = f"; torch {build.version} is built without it" if build and build.accelerator is None else ""
        raise BadInput(f"--device {name}: this machine shows no CUDA device{built}; give --device cpu")
    if index >= len(uuids):
        raise BadInput(
            f"--device {name}: this machine has {len(uuids)} CUDA device(s); give cuda:0 to cuda:{len(uuids) - 1}"
        )
    return Device(f"cuda:{index}", uuids[index], names)


def cuda_uuids() -> tuple[str, ...]:
    """The id of every device that torch would use, in its order. Call it in another process: it leaves a context."""
    import torch

    try:
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        return tuple(f"GPU-{torch.cuda.get_device_properties(index).uuid}" for index in range(count))
    except RuntimeError:  # torch raises it for an unusable driver
        return ()


def _uuids(name: str | None, build: TorchBuild | None, names: Sequence[str]) -> Sequence[str]:
    """The same, but empty without importing torch (seconds) where its build or a missing driver rules out a device."""
    if build is None or build.accelerator is None:
        return ()
    if name is None and not names and not build.accelerator.startswith("ROCm"):  # ROCm's driver is not NVIDIA's
        return ()
    from loopmark.bench.measure.launcher import apart

    try:
        return apart(cuda_uuids)
    except ChildProcessError:  # the driver hangs, or kills the process
        return ()


HOST_CHECKS: tuple[Callable[[HostView], CheckResult], ...] = (
    hardware.load,
    hardware.steal,
    hardware.quota,
    hardware.allowed_cores,
    hardware.isolated_cores,
    hardware.siblings,
    hardware.governor,
    hardware.boost,
    software.clock_source,
    software.virtual_machine,
    software.container,
    software.address_randomisation,
    hardware.energy_counter,
    hardware.memory_left,
    hardware.swap,
    hardware.huge_pages,
    hardware.numa_nodes,
    hardware.numa_balancing,
    software.threads,
    software.thread_variables,
)
GPU_CHECKS: tuple[Callable[[GpuSettings], CheckResult], ...] = (
    gpu.other_processes,
    gpu.throttling,
    gpu.temperature,
    gpu.power_limit,
    gpu.clocks,
    gpu.persistence_mode,
    gpu.compute_mode,
    gpu.memory_errors,
    gpu.instances,
    gpu.link,
    gpu.energy_counter,
)
DRIVER = Check(
    "GPU", "driver", "Only NVIDIA's driver reports a GPU's disturbances: clocks, throttling, other processes."
)


def examine(name: str | None, host: HostView) -> Diagnosis:
    """The findings for ``host`` and the device ``name``. Raises BadInput for an absent device."""
    build = software.torch_build()
    device = find_device(name, build)
    uses_gpu = device.uuid is not None
    findings = [check(host) for check in HOST_CHECKS]
    findings += [software.torch(build, device.gpus, uses_gpu), software.compiler(host, uses_gpu)]
    if uses_gpu:
        findings.append(software.triton())
    findings.append(software.git(host))
    if device.uuid is not None:
        try:
            settings = GpuSettings(device.uuid)
        except pynvml.NVMLError as error:
            findings.append(DRIVER.not_known(f"{error}, when opening {device.uuid}"))
        else:
            findings += [check(settings) for check in GPU_CHECKS]
    return Diagnosis(device.name, tuple(findings))
