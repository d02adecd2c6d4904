"""How the GPU stood while a run was measured, as a table."""

from collections.abc import Callable, Iterable
from typing import Any

from loopmark.bench.records.run import GpuState, Run
from loopmark.bench.report import format as show
from loopmark.bench.report.table import Cell, Table, figure, table_of


def gpu_table(run: Run) -> Table[Any]:
    """From the lowest to the highest that any launch saw under load; empty where no driver said anything."""
    states = [launch.gpu for case in run.cases for launch in case.launches if launch.gpu is not None]
    facts = {
        "temperature": _figures(states, lambda state: state.temperature_celsius, "°C"),
        "power": _figures(states, lambda state: state.power_watts, "W"),
        "power limit": _figures(states, lambda state: state.power_limit_watts, "W"),
        "multiprocessors' clock": _figures(states, lambda state: state.sm_clock_hertz, "MHz", 1e6),
        "memory's clock": _figures(states, lambda state: state.memory_clock_hertz, "MHz", 1e6),
        "ECC": _switch(state.ecc for state in states),
        "MIG": _switch(state.mig for state in states),
    }
    rows = ((Cell(name), figure(said)) for name, said in facts.items() if said)
    return table_of(["the GPU, after a second of each loop's steps", ""], rows)


def _figures(
    states: Iterable[GpuState], figure: Callable[[GpuState], float | None], unit: str, size: float = 1.0
) -> str:
    known = [value / size for state in states if (value := figure(state)) is not None]
    if not known:
        return ""
    ends = dict.fromkeys(show.count(end) for end in (min(known), max(known)))
    return f"{' to '.join(ends)} {unit}"


def _switch(values: Iterable[bool | None]) -> str:
    known = sorted({value for value in values if value is not None})
    return " and ".join("on" if value else "off" for value in known)
