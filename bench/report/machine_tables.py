"""The machine of a run, and its GPU under load, as tables."""

from collections.abc import Iterable
from typing import Any

from loopmark.bench.records.machine import Environment, Machine, facts_of
from loopmark.bench.records.run import Run
from loopmark.bench.report import show
from loopmark.bench.report.table import Cell, Table, figure, table_of

ORDER = (
    "machine", "CPU", "memory", "GPU", "system", "torch", "Python", "CUDA", "cuDNN", "driver", "Loopmark", "threads",
    "CPU capability", "compiler", "huge pages", "governor", "variables", "packages",
)  # fmt: skip
"""The order of the rows; any other fact comes last."""
# Facts that are part of another fact's row.
ELSEWHERE = {"physical cores", "logical cores", "architecture", "operating system", "GPUs", "revision", "cores"}


def machine_table(machine: Machine, software: Environment) -> Table[Any]:
    """The hardware of a machine, and the software that ran on it."""
    facts = [*facts_of(machine), *facts_of(software)]
    pinned = f"pinned to logical cores {', '.join(map(str, software.cores))}" if software.cores else "not pinned"
    counts = {"cores": machine.physical_cores, "threads": machine.logical_cores}
    rows = {
        "machine": machine.name,
        **{fact.label: fact.text(value) for fact, value in facts if fact.label not in ELSEWHERE},
        "memory": "" if machine.memory_bytes is None else show.data(machine.memory_bytes),
        "threads": "" if software.threads is None else f"{software.threads}, {pinned}",
        "CPU": ", ".join([machine.cpu, *(f"{count} {what}" for what, count in counts.items() if count is not None)]),
        "system": f"{machine.operating_system}, {machine.architecture}",
        "Loopmark": software.loopmark + (f", {software.revision}" if software.revision else ""),
        "variables": " ".join(f"{k}={v}" for k, v in sorted(software.variables.items())),
        "packages": ", ".join(f"{k} {v}" for k, v in sorted(software.packages.items())),
    }
    shown = [(name, text) for name, text in rows.items() if text]
    for gpu in machine.gpus:
        told = [gpu.name]
        if gpu.memory_bytes is not None and gpu.compute_capability is not None:
            told += [show.data(gpu.memory_bytes), f"compute capability {gpu.compute_capability}"]
        shown.append(("GPU", ", ".join([*told, *gpu.labelled])))
    shown.sort(key=lambda row: ORDER.index(row[0]) if row[0] in ORDER else len(ORDER))
    return table_of(["", ""], ([name, text] for name, text in shown), figures=False)


def gpu_table(run: Run) -> Table[Any]:
    """The lowest and highest readings of the GPU in all launches, under load; empty without a driver's readings."""
    states = [launch.gpu for case in run.cases for launch in case.launches if launch.gpu is not None]
    facts = {
        "temperature": _range((state.temperature_celsius for state in states), "°C"),
        "power": _range((state.power_watts for state in states), "W"),
        "power limit": _range((state.power_limit_watts for state in states), "W"),
        "multiprocessors' clock": _range((state.sm_clock_hertz for state in states), "MHz", 1e6),
        "memory's clock": _range((state.memory_clock_hertz for state in states), "MHz", 1e6),
        "ECC": _switch(state.ecc for state in states),
        "MIG": _switch(state.mig for state in states),
    }
    rows = ((Cell(name), figure(said)) for name, said in facts.items() if said)
    return table_of(["the GPU, after a second of each loop's steps", ""], rows)


def _range(values: Iterable[float | None], unit: str, size: float = 1.0) -> str:
    known = [value / size for value in values if value is not None]
    if not known:
        return ""
    ends = dict.fromkeys(show.count(end) for end in (min(known), max(known)))
    return f"{' to '.join(ends)} {unit}"


def _switch(values: Iterable[bool | None]) -> str:
    known = sorted({value for value in values if value is not None})
    return " and ".join("on" if value else "off" for value in known)
