"""The machine of a run, as a table."""

from typing import Any

from loopmark.bench.records.machine import Environment, Gpu, Machine
from loopmark.bench.report import format as show
from loopmark.bench.report.table import Table, table_of


def machine_table(machine: Machine, software: Environment) -> Table[Any]:
    """Its hardware, and the software that ran on it."""
    pinned = ", ".join(map(str, software.cores))
    facts: list[tuple[str, str | None]] = [
        ("machine", machine.name),
        ("CPU", ", ".join([machine.cpu, *_counts(machine)])),
        ("memory", None if machine.memory_bytes is None else show.data(machine.memory_bytes)),
        *(("GPU", _gpu(gpu)) for gpu in machine.gpus),
        ("system", f"{machine.operating_system}, {machine.architecture}"),
        ("torch", software.torch),
        ("Python", software.python),
        ("CUDA", software.cuda),
        ("cuDNN", software.cudnn),
        ("driver", software.driver),
        ("Loopmark", software.loopmark + (f", {software.revision}" if software.revision else "")),
        (
            "threads",
            f"{software.threads}" + (f", pinned to logical cores {pinned}" if pinned else ", not pinned")
            if software.threads is not None
            else None,
        ),
        ("CPU capability", software.cpu_capability),
        ("compiler", software.compiler),
        ("huge pages", software.huge_pages),
        ("governor", software.governor),
        ("variables", " ".join(f"{k}={v}" for k, v in sorted(software.variables.items())) or None),
        ("packages", ", ".join(f"{k} {v}" for k, v in sorted(software.packages.items())) or None),
    ]
    return table_of(["", ""], ([name, value] for name, value in facts if value), figures=False)


def _gpu(gpu: Gpu) -> str:
    if gpu.memory_bytes is None or gpu.compute_capability is None:
        return gpu.name
    return f"{gpu.name}, {show.data(gpu.memory_bytes)}, compute capability {gpu.compute_capability}"


def _counts(machine: Machine) -> list[str]:
    """How many cores and threads it has, as far as that is known."""
    counts = {"cores": machine.physical_cores, "threads": machine.logical_cores}
    return [f"{count} {what}" for what, count in counts.items() if count is not None]
