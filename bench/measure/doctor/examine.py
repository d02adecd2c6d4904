"""Everything that is looked at, in the order in which it is told, and the device that is meant."""

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
    """What a run would use."""

    name: str  # `cpu`, or `cuda:0`
    uuid: str | None = None  # of the GPU, as the driver knows it: `GPU-…`
    gpus: tuple[str, ...] = ()  # the names of this machine's GPUs, where they were asked for


def find_device(name: str | None, build: TorchBuild | None) -> Device:
    """The device called ``name``, or by default a GPU where torch finds one. Raises BadInput where there is none."""
    if name is not None and re.fullmatch(r"(xpu|mps)(:[0-9]{1,3})?", name):
        raise BadInput(f"--device {name}: doctor looks at processors and CUDA devices; give cpu, cuda or cuda:N")
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
    """The identity of every device that torch would use, in its order. It leaves a context: for a process apart."""
    import torch

    try:
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        return tuple(f"GPU-{torch.cuda.get_device_properties(index).uuid}" for index in range(count))
    except RuntimeError:  # torch's word for a driver that it cannot work with
        return ()


def _uuids(name: str | None, build: TorchBuild | None, names: Sequence[str]) -> Sequence[str]:
    """The same, asked only where torch, whose import takes seconds, could find a device: by its build and a driver."""
    if build is None or build.accelerator is None:
        return ()
    if name is None and not names and not build.accelerator.startswith("ROCm"):  # whose driver is not NVIDIA's
        return ()
    from loopmark.bench.measure.launcher import apart

    try:
        return apart(cuda_uuids)
    except ChildProcessError:  # a driver that hangs, or ends the process that asks
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
    "GPU", "driver", "What disturbs a GPU (clocks, throttling, others on it) is told by NVIDIA's driver alone."
)


def examine(name: str | None, host: HostView) -> Diagnosis:
    """What was found of ``host``, and of the device called ``name``. Raises BadInput where there is no such device."""
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
            findings.append(DRIVER.not_known(f"{error}, when asked for {device.uuid}"))
        else:
            findings += [check(settings) for check in GPU_CHECKS]
    return Diagnosis(device.name, tuple(findings))
