"""What a device can do, as a table on the terminal, with a remark where something looks disturbed."""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace

from rich.console import Console
from rich.table import Table
from rich.text import Text

from loopmark.bench.judge.statistics import Estimate
from loopmark.bench.records.ceilings import Ceiling, Ceilings, LeftOut, Unit
from loopmark.bench.report import format as show
from loopmark.bench.report.table import as_wide_as
from loopmark.bench.report.text import plain

FILE_WIDTH = 110
FALLEN = 0.03
"""Below its ceiling, as a share of it, from which on a product is said not to hold it."""
WIDE = 0.1
"""Half an interval's width, as a share of the figure, from which on something looks disturbed."""
STOLEN = 0.02
"""A share of the cores' time that a hypervisor gave to others, from which on the same."""
FLOPS = ((1e12, "TFLOP/s"), (1e9, "GFLOP/s"), (1e6, "MFLOP/s"))
BYTES = ((1e12, "TB/s"), (1e9, "GB/s"), (1e6, "MB/s"))
FORMATS: dict[Unit, Callable[[Estimate], str]] = {
    "flops per second": lambda estimate: _scaled(estimate, FLOPS),
    "bytes per second": lambda estimate: _scaled(estimate, BYTES),
    "seconds": show.seconds_range,
}


def print_ceilings(ceilings: Ceilings, console: Console | None = None) -> None:
    """Print every ceiling with its interval and the size that reached it, then what was left out, and the remarks."""
    console = as_wide_as(FILE_WIDTH, console)
    console.print(Text(title(ceilings), "bold"), soft_wrap=not console.is_terminal)
    table = Table(box=None, pad_edge=False)
    for heading in ("", "at best, sustained", "at size"):
        table.add_column(heading, no_wrap=True)
    table.add_column("samples", justify="right", no_wrap=True)
    for one in ceilings.ceilings:
        table.add_row(name(one), figure(one), size(one), f"{one.samples:,}")
    if ceilings.ceilings:
        console.print(table)
    for left_out in ceilings.left_out:
        line = f"{name(left_out)} left out: {plain(left_out.reason)}"
        console.print(Text(line, "dim"), soft_wrap=not console.is_terminal)
    for remark in remarks(ceilings):
        console.print(Text(remark, "yellow"), soft_wrap=not console.is_terminal)


def title(ceilings: Ceilings) -> str:
    """Which device, with what, and how long it was measured."""
    threads = ceilings.environment.threads
    return plain(
        f"{ceilings.device} of {ceilings.machine.name}, {threads} {'thread' if threads == 1 else 'threads'}, "
        f"torch {ceilings.environment.torch}: what it can do, measured in {show.seconds(ceilings.seconds)}"
    )


def name(one: Ceiling | LeftOut) -> str:
    """``matrix product float32``, ``launch (host)``."""
    dtype = f" {plain(one.dtype)}" if one.dtype else ""
    variant = f" ({one.variant})" if one.variant else ""
    return f"{one.kind}{dtype}{variant}"


def figure(one: Ceiling) -> str:
    """``1.23 TFLOP/s [1.21, 1.24]``."""
    return FORMATS[one.unit](Estimate(one.value, one.low, one.high))


def size(one: Ceiling) -> str:
    """The best size as text: a matrix's rows and columns, a tensor's bytes, a launch's elements."""
    if one.kind == "matrix product":
        return f"{one.best_size:,} × {one.best_size:,}"
    if one.kind == "launch":
        return f"{one.best_size:,} element{'' if one.best_size == 1 else 's'}"
    return show.data(one.best_size)


def remarks(ceilings: Ceilings) -> list[str]:
    """What looks disturbed, a line for each way of being so."""
    found: dict[str, list[str]] = {}
    for one in ceilings.ceilings:
        for doubt, detail in _doubts(one):
            found.setdefault(doubt, []).append(f"{name(one)} {detail}".strip())
    return [f"{doubt}: {', '.join(details)}" for doubt, details in found.items()]


def as_json(ceilings: Ceilings) -> str:
    """All of it as strict JSON, the remarks beside it."""
    return json.dumps({**asdict(ceilings), "remarks": remarks(ceilings)}, indent=2, allow_nan=False)


def _doubts(one: Ceiling) -> Iterator[tuple[str, str]]:
    """What it is, and how much of it there was."""
    half = (one.high - one.low) / 2 / one.value
    if half > WIDE:
        yield "wide intervals, which an idle machine or a longer --budget makes narrower", f"±{show.percent(half)}"
    if not one.steady:
        yield "not seen to be steady before sampling began", ""
    if one.held is not None and (fallen := 1 - one.held / one.value) > FALLEN:
        held = figure(replace(one, value=one.held, low=one.held, high=one.held)).partition(" [")[0]
        yield "reached by short samples, and not held", f"({held} after seconds of it, {show.percent(fallen)} less)"
    seen = one.disturbance
    if seen is None:
        return
    if seen.steal_seconds > STOLEN * seen.sampled_seconds:
        yield "a hypervisor took time of the cores", show.percent(seen.steal_seconds / seen.sampled_seconds)
    if seen.involuntary_switches > one.samples:
        yield "other programs took the cores", f"{seen.involuntary_switches:,} times in {one.samples:,} samples"
    if seen.throttle_reasons:
        yield "the GPU's clock was held down", f"({plain(', '.join(seen.throttle_reasons))})"
    if seen.foreign_processes:
        yield "other processes were on the GPU", f"{seen.foreign_processes:,}"


def _scaled(estimate: Estimate, units: tuple[tuple[float, str], ...]) -> str:
    """In the largest unit that the figure reaches, else in the smallest; the interval in the same."""
    factor, unit = next((one for one in units if estimate.value >= one[0]), units[-1])
    return " ".join(show.in_unit(estimate, factor, unit))
