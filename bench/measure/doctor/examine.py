"""Everything that is looked at, in the order in which it is told."""

from collections.abc import Callable

import pynvml

from loopmark.bench.measure.doctor import (
    company,
    cores,
    energy,
    frequency,
    gpu_company,
    gpu_modes,
    gpu_power,
    kernel,
    memory,
    software,
    variables,
)
from loopmark.bench.measure.doctor.device import Device, find_device
from loopmark.bench.measure.doctor.gpu_settings import GpuSettings
from loopmark.bench.measure.doctor.host import Host
from loopmark.bench.records.checks import Check, Diagnosis, Finding

HOST_CHECKS: tuple[Callable[[Host], Finding], ...] = (
    company.load,
    company.steal,
    cores.quota,
    cores.allowed_cores,
    cores.isolated_cores,
    cores.siblings,
    frequency.governor,
    frequency.boost,
    kernel.clock_source,
    kernel.virtual_machine,
    kernel.container,
    kernel.address_randomisation,
    energy.energy_counter,
    memory.memory_left,
    memory.swap,
    memory.huge_pages,
    memory.numa_nodes,
    memory.numa_balancing,
    variables.threads,
    variables.thread_variables,
)
GPU_CHECKS: tuple[Callable[[GpuSettings], Finding], ...] = (
    gpu_company.other_processes,
    gpu_power.throttling,
    gpu_power.temperature,
    gpu_power.power_limit,
    gpu_power.clocks,
    gpu_modes.persistence_mode,
    gpu_modes.compute_mode,
    gpu_modes.memory_errors,
    gpu_modes.instances,
    gpu_company.link,
    gpu_power.energy_counter,
)
DRIVER = Check(
    "GPU", "driver", "What disturbs a GPU (clocks, throttling, others on it) is told by NVIDIA's driver alone."
)


def examine(name: str | None, host: Host) -> Diagnosis:
    """What was found of ``host``, and of the device called ``name``. Raises BadInput where there is no such device."""
    build = software.torch_build()
    device = find_device(name, build)
    uses_gpu = device.uuid is not None
    of_software = (
        software.torch(build, device.gpus, uses_gpu),
        software.compiler(host, uses_gpu),
        *((software.triton(),) if uses_gpu else ()),
        software.git(host),
    )
    return Diagnosis(device.name, (*(check(host) for check in HOST_CHECKS), *of_software, *_of_gpu(device)))


def _of_gpu(device: Device) -> tuple[Finding, ...]:
    if device.uuid is None:
        return ()
    try:
        gpu = GpuSettings(device.uuid)
    except pynvml.NVMLError as error:
        return (DRIVER.not_known(f"{error}, when asked for {device.uuid}"),)
    return tuple(check(gpu) for check in GPU_CHECKS)
