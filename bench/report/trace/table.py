"""A trace in the terminal: each phase with what cost most in it, where the trace is, and what it is not good for."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from loopmark.bench.records.trace import KERNELS_FILE, OUTSIDE, TRACE_FILE, Cost, PhaseCosts, Profile, Trace
from loopmark.bench.report import format as show
from loopmark.bench.report.table import FILE_WIDTH, GAP, as_wide_as, cut
from loopmark.bench.report.text import ELLIPSIS, elide, plain

DEAREST = 10
NAME_WIDTH, LONGEST = 60, 1200
INDENT = "  "
HEADINGS = ("calls", "a step", "share")
LEAST_NAME, WIDEST_NAME = 12, 80
TAIL = 4
"""The part of a name's room that its end gets, where it is cut: a quarter."""
MUCH_MORE = 1.05
"""How many times a phase's seconds its operators take together when several threads have run them."""


def print_trace(trace: Trace, folder: Path | None, console: Console | None = None) -> None:
    """Print what cost most in each phase, as wide as the terminal; ``folder`` holds the trace where there is one."""
    console = as_wide_as(FILE_WIDTH, console)
    name = f"{elide(trace.loop, NAME_WIDTH)} on {elide(trace.workload, NAME_WIDTH)}, {elide(trace.device, NAME_WIDTH)}"
    if trace.profile is None or folder is None:
        style = "yellow" if trace.status == "skipped" else "bold red"
        console.print(Text(conclusion(trace), style), soft_wrap=not console.is_terminal)
        return
    console.print(Text(f"{name}: {_steps(trace.profile)} profiled", "bold"), soft_wrap=True)
    for line in _tables(trace.profile, console.width):
        console.print(line)
    console.print()
    for sentence in (conclusion(trace), *notes(trace.profile), *_where(folder)):
        console.print(Text(sentence), soft_wrap=not console.is_terminal)


def conclusion(trace: Trace) -> str:
    """What the profiler's figures are worth, or why there are none."""
    name = elide(trace.loop, NAME_WIDTH)
    reason = elide(trace.reason or "", LONGEST)
    if trace.status == "skipped":
        return f"{name} cannot be traced here: {reason}."
    profile = trace.profile
    if profile is None:
        return f"{name} was not traced; it {'timed out' if trace.status == 'timed_out' else 'failed'}: {reason}"
    profiled, unprofiled = profile.profiled_step_seconds, profile.plain_step_seconds
    unseen = "" if profiled > unprofiled else ", so what it costs does not show in so few steps"
    return (
        "Profiled steps are slower than measured ones, since the profiler works in them: no figure of a trace enters a "
        f"report. Here they took {show.seconds(profiled)} each, those just before it began {show.seconds(unprofiled)}"
        f"{unseen}."
    )


def notes(profile: Profile) -> tuple[str, ...]:
    """What a person must know to read the table."""
    found = []
    if profile.graphed:
        found.append(
            "The step is the replay of a graph, whose phases the host does not see: its kernels are all in one range, "
            "step. `loopmark run` times the phases, from events inside the graph."
        )
    if profile.counted == "kernels":
        found.append("A kernel counts for the phase that launched it, whenever it ran; kernels may overlap.")
    else:
        found.append("An operator counts by its self time: what it took, less what other operators took within it.")
    if profile.unattributed:
        calls = show.rate(sum(cost.calls_per_step for cost in profile.unattributed))
        seconds = show.seconds(sum(cost.seconds_per_step for cost in profile.unattributed))
        found.append(
            f"{calls} kernels a step ({seconds}) count for no phase: the trace shows no launch of theirs within one."
        )
    return tuple(found)


def _tables(profile: Profile, width: int) -> Iterator[Text]:
    """Every phase with its dearest kernels, all of them in the same columns."""
    tables = [(phase, _rows(phase)) for phase in profile.phases]
    every = [HEADINGS, *(cells for _, rows in tables for _, cells in rows)]
    widths = [max(cell_len(cells[column]) for cells in every) for column in range(len(HEADINGS))]
    room = width - len(INDENT) - sum(widths) - len(GAP) * len(widths)
    longest = max((cell_len(elide(name, WIDEST_NAME)) for _, rows in tables for name, _ in rows), default=0)
    name_width = max(LEAST_NAME, min(room, longest))
    for phase, rows in tables:
        yield Text()
        yield cut(Text(elide(phase.phase, NAME_WIDTH), "bold") + Text(GAP + _heading(phase, profile)), width)
        if not rows:
            yield cut(Text(f"{INDENT}no {profile.counted[:-1]}", "dim"), width)
            continue
        yield cut(Text(INDENT + _line("", HEADINGS, name_width, widths), "dim"), width)
        for name, cells in rows:
            yield cut(Text(INDENT + _line(name, cells, name_width, widths)), width)


def _line(name: str, cells: Sequence[str], name_width: int, widths: Sequence[int]) -> str:
    figures = (" " * (width - cell_len(cell)) + cell for cell, width in zip(cells, widths, strict=True))
    return set_cell_size(_fit(name, name_width), name_width) + GAP + GAP.join(figures)


def _fit(name: str, width: int) -> str:
    """``name`` in at most ``width`` cells, of which a letter may take two; what is left out is in its middle.

    Kernels that a compiler made differ in their last characters, and others in their first.
    """
    line = plain(name)
    if cell_len(line) <= width:
        return line
    tail = line[-(width // TAIL) :]
    return set_cell_size(line, width - len(ELLIPSIS) - cell_len(tail)).rstrip() + ELLIPSIS + tail


def _rows(phase: PhaseCosts) -> list[tuple[str, tuple[str, ...]]]:
    """A name and its figures for each of the dearest, and one for all the others together."""
    rows = [(cost.name, _figures(cost, phase.share(cost))) for cost in phase.costs[:DEAREST]]
    if others := phase.costs[DEAREST:]:
        calls = sum(cost.calls_per_step for cost in others if cost.name != OUTSIDE)
        name = "1 other" if len(others) == 1 else f"{len(others):,} others"
        rest = Cost(name, calls, sum(cost.seconds_per_step for cost in others))
        rows.append((rest.name, _figures(rest, phase.share(rest))))
    return rows


def _figures(cost: Cost, share: float | None) -> tuple[str, ...]:
    whole = cost.calls_per_step == round(cost.calls_per_step)
    calls = show.count(cost.calls_per_step) if whole else show.significant(cost.calls_per_step)
    if cost.name == OUTSIDE:  # nobody calls it
        calls = show.ABSENT
    return calls, show.seconds(cost.seconds_per_step), show.percent(share)


def _heading(phase: PhaseCosts, profile: Profile) -> str:
    host, total = show.seconds(phase.host_seconds_per_step), show.seconds(phase.seconds_per_step)
    if profile.counted == "kernels":
        return f"{total} a step on the device, {host} on the host"
    if phase.seconds_per_step > MUCH_MORE * phase.host_seconds_per_step:
        return f"{host} a step, {total} over all threads"
    return f"{host} a step"


def _steps(profile: Profile) -> str:
    return "1 step" if profile.steps == 1 else f"{profile.steps} steps"


def _where(folder: Path) -> tuple[str, ...]:
    return (
        f"{plain(str(folder / TRACE_FILE))}: open it at https://ui.perfetto.dev or in chrome://tracing.",
        f"{plain(str(folder / KERNELS_FILE))}: every row, for a spreadsheet.",
    )
