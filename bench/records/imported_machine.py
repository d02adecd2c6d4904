"""Which machine a file of pytest-benchmark was made on, as far as it tells."""

from collections.abc import Iterable

from loopmark.bench.records.machine import Gpu, Machine
from loopmark.bench.records.pytest_benchmark import Host

UNKNOWN = "unknown"


def machine_of(host: Host, known: Iterable[Machine]) -> Machine:
    """The one of the ``known`` machines that has all that ``host`` tells; where none or several do, what it tells.

    A file tells neither memory nor, without Loopmark, cores and GPUs, so that by its own facts alone one and the same
    machine would be two.
    """
    told = _told(host)
    alike = {machine.fingerprint: machine for machine in known if told.items() <= _facts(machine).items()}
    if len(alike) == 1 and {"cpu", "logical cores"} <= told.keys():
        return next(iter(alike.values()))
    return Machine(
        cpu=host.cpu.brand_raw or UNKNOWN,
        physical_cores=host.loopmark.physical_cores,
        logical_cores=host.cpu.count,
        memory_bytes=host.loopmark.memory_bytes,
        architecture=host.machine or UNKNOWN,
        operating_system=" ".join(filter(None, (host.system, host.release))) or UNKNOWN,
        gpus=tuple(Gpu(name, None, None, None) for name in host.loopmark.gpus or ()),
    )


def _told(host: Host) -> dict[str, object]:
    facts = host.loopmark
    gpus = None if facts.gpus is None else tuple(sorted(facts.gpus))
    every = _named(host.cpu.brand_raw, host.machine, host.cpu.count, facts.physical_cores, facts.memory_bytes, gpus)
    return {name: value for name, value in every.items() if value is not None}


def _facts(machine: Machine) -> dict[str, object]:
    gpus = tuple(sorted(gpu.name for gpu in machine.gpus))
    return _named(
        machine.cpu, machine.architecture, machine.logical_cores, machine.physical_cores, machine.memory_bytes, gpus
    )


def _named(
    cpu: str | None,
    architecture: str | None,
    logical_cores: int | None,
    physical_cores: int | None,
    memory_bytes: int | None,
    gpus: tuple[str, ...] | None,
) -> dict[str, object]:
    return {
        "cpu": cpu and cpu.strip(),
        "architecture": architecture,
        "logical cores": logical_cores,
        "physical cores": physical_cores,
        "memory": memory_bytes and round(memory_bytes / 2**30),
        "GPUs": gpus,
    }
