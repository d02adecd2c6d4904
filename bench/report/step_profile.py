"""What one step costs inside: its kernels' time in a trace, and its memory, phase by phase."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from loopmark.bench.errors import BadInput
from loopmark.bench.records.files import replace_file
from loopmark.bench.records.footprint import Footprint, FootprintCase, PhaseMemory
from loopmark.bench.records.trace import KERNELS_FILE, OUTSIDE, TRACE_FILE, Cost, PhaseCosts, Profile, Trace
from loopmark.bench.report import format as show
from loopmark.bench.report.plot_files import Figures, draw_plots
from loopmark.bench.report.table import FILE_WIDTH, GAP, Column, Table, TextTable, as_wide_as, csv_of, csv_text, cut
from loopmark.bench.report.text import ELLIPSIS, elide, plain

DEAREST = 10
NAME_WIDTH, LONGEST = 60, 1200
INDENT = "  "
COST_HEADINGS = ("calls", "a step", "share")
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
        console.print(Text(trace_conclusion(trace), style), soft_wrap=not console.is_terminal)
        return
    console.print(Text(f"{name}: {_steps(trace.profile)} profiled", "bold"), soft_wrap=True)
    for line in _trace_tables(trace.profile, console.width):
        console.print(line)
    console.print()
    for sentence in (trace_conclusion(trace), *trace_notes(trace.profile), *_where(folder)):
        console.print(Text(sentence), soft_wrap=not console.is_terminal)


def trace_conclusion(trace: Trace) -> str:
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


def trace_notes(profile: Profile) -> tuple[str, ...]:
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


def _trace_tables(profile: Profile, width: int) -> Iterator[Text]:
    """Every phase with its dearest kernels, all of them in the same columns."""
    tables = [(phase, _cost_rows(phase)) for phase in profile.phases]
    every = [COST_HEADINGS, *(cells for _, rows in tables for _, cells in rows)]
    widths = [max(cell_len(cells[column]) for cells in every) for column in range(len(COST_HEADINGS))]
    room = width - len(INDENT) - sum(widths) - len(GAP) * len(widths)
    longest = max((cell_len(elide(name, WIDEST_NAME)) for _, rows in tables for name, _ in rows), default=0)
    name_width = max(LEAST_NAME, min(room, longest))
    for phase, rows in tables:
        yield Text()
        yield cut(Text(elide(phase.phase, NAME_WIDTH), "bold") + Text(GAP + _phase_heading(phase, profile)), width)
        if not rows:
            yield cut(Text(f"{INDENT}no {profile.counted[:-1]}", "dim"), width)
            continue
        yield cut(Text(INDENT + _cost_line("", COST_HEADINGS, name_width, widths), "dim"), width)
        for name, cells in rows:
            yield cut(Text(INDENT + _cost_line(name, cells, name_width, widths)), width)


def _cost_line(name: str, cells: Sequence[str], name_width: int, widths: Sequence[int]) -> str:
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


def _cost_rows(phase: PhaseCosts) -> list[tuple[str, tuple[str, ...]]]:
    """A name and its figures for each of the dearest, and one for all the others together."""
    rows = [(cost.name, _cost_figures(cost, phase.share(cost))) for cost in phase.costs[:DEAREST]]
    if others := phase.costs[DEAREST:]:
        calls = sum(cost.calls_per_step for cost in others if cost.name != OUTSIDE)
        name = "1 other" if len(others) == 1 else f"{len(others):,} others"
        rest = Cost(name, calls, sum(cost.seconds_per_step for cost in others))
        rows.append((rest.name, _cost_figures(rest, phase.share(rest))))
    return rows


def _cost_figures(cost: Cost, share: float | None) -> tuple[str, ...]:
    whole = cost.calls_per_step == round(cost.calls_per_step)
    calls = show.count(cost.calls_per_step) if whole else show.significant(cost.calls_per_step)
    if cost.name == OUTSIDE:  # nobody calls it
        calls = show.ABSENT
    return calls, show.seconds(cost.seconds_per_step), show.percent(share)


def _phase_heading(phase: PhaseCosts, profile: Profile) -> str:
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


def trace_as_json(trace: Trace, folder: Path | None) -> dict[str, Any]:
    """The trace as strict JSON values, its kernels and where its files are; None for what there is not."""
    return {
        "workload": trace.workload,
        "loop": trace.loop,
        "device": trace.device,
        "status": trace.status,
        "reason": trace.reason,
        "trace": str(folder / TRACE_FILE) if folder else None,
        "kernels": str(folder / KERNELS_FILE) if folder else None,
        "profile": _profile_as_json(trace.profile) if trace.profile else None,
        "conclusion": trace_conclusion(trace),
    }


def _profile_as_json(profile: Profile) -> dict[str, Any]:
    phases = [
        {
            "phase": phase.phase,
            "host_seconds_per_step": phase.host_seconds_per_step,
            "seconds_per_step": phase.seconds_per_step,
            "costs": [{**asdict(cost), "share": phase.share(cost)} for cost in phase.costs],
        }
        for phase in profile.phases
    ]
    return {**asdict(profile), "phases": phases, "notes": list(trace_notes(profile))}


KERNEL_HEADINGS = ("phase", "name", "calls_per_step", "seconds_per_step", "share_of_phase")


def kernels_as_csv(profile: Profile) -> str:
    """One row a kernel of a phase, the phases in their order, the dearest first; no phase where none launched it."""
    rows: list[list[object]] = [
        [phase.phase, cost.name, cost.calls_per_step, cost.seconds_per_step, phase.share(cost)]
        for phase in profile.phases
        for cost in phase.costs
    ]
    rows += [[None, cost.name, cost.calls_per_step, cost.seconds_per_step, None] for cost in profile.unattributed]
    return csv_text(KERNEL_HEADINGS, rows)


NAME_WIDTH, LONGEST_REASON = 60, 600
COUNTED = {
    "tensors alive": "every tensor that the step makes or holds; what operators use for themselves is not seen",
    "device memory allocated": "what torch's allocator has handed out",
}


def footprint_conclusion(case: FootprintCase) -> str:
    """Where the peak is, and what it is made of, in one sentence."""
    who = f"{elide(case.workload, NAME_WIDTH)}, {elide(case.loop, NAME_WIDTH)}"
    step = case.footprint
    if step is None:
        return f"{who}: {case.status.replace('_', ' ')}: {elide(case.reason or '', LONGEST_REASON)}."
    share = step.peak.peak_bytes - step.before_bytes
    text = (
        f"{who}: the step comes to {show.data(step.peak.peak_bytes)} in {elide(step.peak.phase, NAME_WIDTH)}"
        f"{_operator(step)}: {show.data(max(0, share))} above the {show.data(step.before_bytes)} that it begins with"
    )
    return f"{text}{_fragmentation(step)}."


def counted(step: Footprint) -> str:
    """What the bytes are of."""
    eagerly = "; compiled code was run eagerly, since nothing is seen inside it" if step.ran_eagerly else ""
    return f"{step.kind}: {COUNTED[step.kind]}{eagerly}"


def _operator(step: Footprint) -> str:
    return f", at {elide(step.peak_operator, NAME_WIDTH)}" if step.peak_operator else ""


def _fragmentation(step: Footprint) -> str:
    if step.fragmentation_bytes is None:
        return ""
    split = show.data(step.peak.peak_inactive_split_bytes)
    return (
        f"; around then the allocator held {show.data(step.fragmentation_bytes)} more than was in use, "
        f"at most {split} of it stuck in blocks that are partly in use"
    )


def print_footprints(cases: Sequence[FootprintCase], console: Console | None = None) -> None:
    """Print every loop's phases, as wide as the terminal; a file counts as ``FILE_WIDTH`` wide."""
    console = as_wide_as(FILE_WIDTH, console)
    for case in cases:
        if case.footprint:
            for line in _footprint_table(case, case.footprint):
                console.print(line, soft_wrap=not console.is_terminal)
            console.print()
    for case in cases:
        style = {"ok": "bold", "skipped": "yellow"}.get(case.status, "red")
        console.print(Text(footprint_conclusion(case), style), soft_wrap=not console.is_terminal)


def _footprint_table(case: FootprintCase, step: Footprint) -> list[Text]:
    columns: tuple[Column[PhaseMemory], ...] = (
        Column("phase", lambda phase: elide(phase.phase, NAME_WIDTH), left=True),
        Column("peak", lambda phase: show.data(phase.peak_bytes)),
        Column("at its end", lambda phase: show.data(phase.end_bytes)),
        Column("peak reserved", lambda phase: show.data(phase.peak_reserved_bytes)),
    )
    table = TextTable(Table(columns, step.phases, silent=show.ABSENT), None, sys.maxsize)
    title = f"{elide(case.workload, NAME_WIDTH)}  {elide(case.loop, NAME_WIDTH)}"
    head = Text(title, "bold").append(f"{GAP}batch {step.batch_size:,}; {counted(step)}", "not bold dim")
    lines = [head, *(Text(line.plain, "dim") for line in table.headings())]
    highest = elide(step.peak.phase, NAME_WIDTH)
    for phase in step.phases:
        is_highest = elide(phase.phase, NAME_WIDTH) == highest
        lines.append(Text(table.line("", phase).plain, "bold" if is_highest else ""))
    return lines


FOOTPRINT_HEADINGS = (
    "workload",
    "loop",
    "batch_size",
    "kind",
    "phase",
    "peak_bytes",
    "end_bytes",
    "peak_reserved_bytes",
)


def write_footprint_files(folder: Path, cases: Sequence[FootprintCase]) -> None:
    """Write the spreadsheet and the plots, as PNG and SVG, into ``folder``."""
    try:
        # A lone surrogate is how Python holds a name that is not UTF-8; it is kept as its escape.
        replace_file(folder / "memory.csv", footprints_as_csv(cases).encode(errors="backslashreplace"))
        draw_plots(folder / "plots", map(_name, cases), _figures(cases))
    except OSError as error:
        raise BadInput(f"cannot write {error.filename or folder}: {error.strerror}; choose another --out") from None


def footprints_as_csv(cases: Sequence[FootprintCase]) -> str:
    """One row a phase of a loop, in bytes."""
    rows = [
        {
            "workload": plain(case.workload),
            "loop": plain(case.loop),
            "batch_size": case.footprint.batch_size,
            "kind": case.footprint.kind,
            **vars(phase),
        }
        for case in cases
        if case.footprint
        for phase in case.footprint.phases
    ]
    return csv_of(rows, FOOTPRINT_HEADINGS)


def footprints_as_json(cases: Sequence[FootprintCase]) -> dict[str, Any]:
    """All of it but the moments, as strict JSON values."""
    return {"loops": [_loop(case) for case in cases]}


def _loop(case: FootprintCase) -> dict[str, Any]:
    told = {"workload": case.workload, "loop": case.loop, "status": case.status, "reason": case.reason}
    step = case.footprint
    if step is None:
        return {**told, "conclusion": footprint_conclusion(case)}
    return {
        **told,
        "conclusion": footprint_conclusion(case),
        "kind": step.kind,
        "batch_size": step.batch_size,
        "ran_eagerly": step.ran_eagerly,
        "before_bytes": step.before_bytes,
        "peak_bytes": step.peak.peak_bytes,
        "peak_phase": step.peak.phase,
        "peak_operator": step.peak_operator,
        "peak_reserved_bytes": step.peak.peak_reserved_bytes,
        "fragmentation_bytes": step.fragmentation_bytes,
        "peak_inactive_split_bytes": step.peak.peak_inactive_split_bytes,
        "phases": [vars(phase) for phase in step.phases],
    }


def _name(case: FootprintCase) -> str:
    return f"{case.workload}-{case.loop}"


def _figures(cases: Sequence[FootprintCase]) -> Figures:
    from loopmark.bench.report.capacity_plots import timeline

    for case in cases:
        yield _name(case), "memory", partial(timeline, case)
