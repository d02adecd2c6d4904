"""A device's ceilings, and the share of them that a loop reaches."""

import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

from rich.console import Console
from rich.text import Text

from loopmark.bench.judge.statistics import Estimate, finite
from loopmark.bench.judge.summary import Row
from loopmark.bench.records.ceilings import Ceiling, Ceilings, LeftOut, Unit
from loopmark.bench.report import show
from loopmark.bench.report.table import Column, Table, as_wide_as, print_lines
from loopmark.bench.report.text import grouped, plain

FILE_WIDTH = 110
FALLEN = 0.03  # a drop below the ceiling, as a share of it, above which a remark is printed
WIDE = 0.1  # half an interval's width, as a share of the figure, above which a remark is printed
STOLEN = 0.02  # the share of the cores' time that a hypervisor took, above which a remark is printed
UNITS: dict[Unit, tuple[tuple[float, str], ...]] = {
    "flops per second": ((1e12, "TFLOP/s"), (1e9, "GFLOP/s"), (1e6, "MFLOP/s")),
    "bytes per second": ((1e12, "TB/s"), (1e9, "GB/s"), (1e6, "MB/s")),
}


def print_ceilings(ceilings: Ceilings, console: Console | None = None) -> None:
    """Print every ceiling with its interval and best size, then those left out, then the remarks."""
    print_lines(_lines(ceilings), as_wide_as(console, FILE_WIDTH))


def _lines(ceilings: Ceilings) -> Iterator[Text]:
    yield Text(title(ceilings), "bold")
    if ceilings.ceilings:
        table = Table(COLUMNS, ceilings.ceilings).in_terminal()
        yield from table.headings()
        yield from (table.line(None, one) for one in ceilings.ceilings)
    yield from (Text(f"{name(one)} left out: {plain(one.reason)}", "dim") for one in ceilings.left_out)
    yield from (Text(remark, "yellow") for remark in remarks(ceilings))


def title(ceilings: Ceilings) -> str:
    """The heading: device, machine, threads, torch, and the seconds spent."""
    threads = ceilings.environment.threads
    return plain(
        f"{ceilings.device} of {ceilings.machine.name}, {threads} {'thread' if threads == 1 else 'threads'}, "
        f"torch {ceilings.environment.torch}: ceilings, measured in {show.seconds(ceilings.seconds)}"
    )


def name(one: Ceiling | LeftOut) -> str:
    """``matrix product float32``, ``launch (host)``."""
    dtype = f" {plain(one.dtype)}" if one.dtype else ""
    variant = f" ({one.variant})" if one.variant else ""
    return f"{one.kind}{dtype}{variant}"


def ceiling_text(one: Ceiling) -> str:
    """``1.23 TFLOP/s [1.21, 1.24]``: in the largest unit that the figure reaches, else in the smallest."""
    estimate = Estimate(one.value, one.low, one.high)
    if one.unit == "seconds":
        return show.seconds_range(estimate)
    return " ".join(show.in_largest_unit(estimate, UNITS[one.unit]))


def size(one: Ceiling) -> str:
    """The best size as text: a matrix's rows and columns, a tensor's bytes, a launch's elements."""
    if one.kind == "matrix product":
        return f"{one.best_size:,} × {one.best_size:,}"
    if one.kind == "launch":
        return f"{one.best_size:,} element{'' if one.best_size == 1 else 's'}"
    return show.data(one.best_size)


COLUMNS: tuple[Column[Ceiling], ...] = (
    Column("", name, left=True),
    Column("at best, sustained", ceiling_text, left=True),
    Column("at size", size, left=True),
    Column("samples", lambda one: f"{one.samples:,}"),
)


def remarks(ceilings: Ceilings) -> list[str]:
    """The signs of disturbance, one line for each kind."""
    doubts = ((one, *doubt) for one in ceilings.ceilings for doubt in _doubts(one))
    found = grouped((doubt, f"{name(one)} {detail}".strip()) for one, doubt, detail in doubts)
    return [f"{doubt}: {', '.join(details)}" for doubt, details in found.items()]


def ceilings_as_json(ceilings: Ceilings) -> str:
    """The ceilings as strict JSON, with the remarks."""
    return json.dumps({**asdict(ceilings), "remarks": remarks(ceilings)}, indent=2, allow_nan=False)


def _doubts(one: Ceiling) -> Iterator[tuple[str, str]]:
    """Each sign of disturbance, and its amount."""
    half = (one.high - one.low) / 2 / one.value
    if half > WIDE:
        yield "wide intervals, which an idle machine or a longer --budget makes narrower", f"±{show.percent(half)}"
    if not one.steady:
        yield "not steady when sampling began", ""
    if one.held is not None and (fallen := 1 - one.held / one.value) > FALLEN:
        held = ceiling_text(replace(one, value=one.held, low=one.held, high=one.held)).partition(" [")[0]
        yield "reached by short samples, and not held", f"({held} after seconds of load, {show.percent(fallen)} less)"
    if (seen := one.disturbance) is None:
        return
    if seen.steal_seconds > STOLEN * seen.sampled_seconds:
        yield "a hypervisor took time from the cores", show.percent(seen.steal_seconds / seen.sampled_seconds)
    if seen.involuntary_switches > one.samples:
        yield "other programs took the cores", f"{seen.involuntary_switches:,} times in {one.samples:,} samples"
    if seen.throttle_reasons:
        yield "the GPU's clock was held down", f"({plain(', '.join(seen.throttle_reasons))})"
    if seen.foreign_processes:
        yield "other processes were on the GPU", f"{seen.foreign_processes:,}"


def roofline_record(row: Row) -> dict[str, Any] | None:
    """The phases in base units, as strict JSON values; the step's figures are columns of the table."""
    if row.roofline is None:
        return None
    return {
        name: {**asdict(roof), "limited_by": roof.limited_by, "share": finite(roof.share)}
        for name, roof in row.roofline.phases.items()
    }
