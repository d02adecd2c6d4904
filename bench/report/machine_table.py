"""The machine of a run, as a table."""

from typing import Any

from loopmark.bench.records.machine import Environment, Gpu, Machine, facts_of
from loopmark.bench.report import format as show
from loopmark.bench.report.table import Table, table_of

ORDER = (
    "machine", "CPU", "memory", "GPU", "system", "torch", "Python", "CUDA", "cuDNN", "driver", "Loopmark", "threads",
    "CPU capability", "compiler", "huge pages", "governor", "variables", "packages",
)  # fmt: skip
"""Of the rows; a fact that is not here comes after them."""
ELSEWHERE = {"physical cores", "logical cores", "architecture", "operating system", "GPUs", "revision", "cores"}
"""The facts that the row of another tells."""


def machine_table(machine: Machine, software: Environment) -> Table[Any]:
    """Its hardware, and the software that ran on it."""
    facts = [*facts_of(machine), *facts_of(software)]
    pinned = ", ".join(map(str, software.cores))
    rows = {
        "machine": machine.name,
        **{fact.label: fact.text(value) for fact, value in facts if fact.label not in ELSEWHERE},
        "CPU": ", ".join([machine.cpu, *_counts(machine)]),
        "system": f"{machine.operating_system}, {machine.architecture}",
        "Loopmark": software.loopmark + (f", {software.revision}" if software.revision else ""),
        "variables": " ".join(f"{k}={v}" for k, v in sorted(software.variables.items())),
        "packages": ", ".join(f"{k} {v}" for k, v in sorted(software.packages.items())),
    }
    if machine.memory_bytes is not None:
        rows["memory"] = show.data(machine.memory_bytes)
    if software.threads is not None:
        rows["threads"] = f"{software.threads}, {f'pinned to logical cores {pinned}' if pinned else 'not pinned'}"
    shown = [(name, text) for name, text in rows.items() if text]
    shown += [("GPU", _gpu(gpu)) for gpu in machine.gpus]
    shown.sort(key=lambda row: ORDER.index(row[0]) if row[0] in ORDER else len(ORDER))
    return table_of(["", ""], ([name, text] for name, text in shown), figures=False)


def _gpu(gpu: Gpu) -> str:
    told = [gpu.name]
    if gpu.memory_bytes is not None and gpu.compute_capability is not None:
        told += [show.data(gpu.memory_bytes), f"compute capability {gpu.compute_capability}"]
    return ", ".join([*told, *gpu.labelled])


def _counts(machine: Machine) -> list[str]:
    """How many cores and threads it has, as far as that is known."""
    counts = {"cores": machine.physical_cores, "threads": machine.logical_cores}
    return [f"{count} {what}" for what, count in counts.items() if count is not None]
