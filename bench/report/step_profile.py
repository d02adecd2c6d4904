"""The cost of one step, phase by phase: its kernels' time in a trace, and its memory."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from loopmark.bench.records.files import replace_file, writing_to
from loopmark.bench.records.footprint import Footprint, FootprintCase, PhaseMemory
from loopmark.bench.records.run import labelled
from loopmark.bench.records.trace import KERNELS_FILE, OUTSIDE, TRACE_FILE, Cost, PhaseCosts, Profile, Trace
from loopmark.bench.report import cells, show
from loopmark.bench.report.plot_files import Figures, draw_plots
from loopmark.bench.report.table import GAP, Column, Table, TextTable, as_wide_as, csv_of, picked, print_lines
from loopmark.bench.report.text import ELLIPSIS, elide, plain

DEAREST, DEAREST_OF_ALL = 10, 5  # rows of a phase, and of the whole step
FULL = 0.9  # the share of a step with kernels from which the device hardly waits for the host
NAME_WIDTH, LONGEST = 60, 1200
INDENT = "  "
LEAST_NAME, WIDEST_NAME, PHASE_WIDTH = 12, 80, 16
TAIL = 4  # a shortened name keeps its end in a quarter of its width
MUCH_MORE = 1.05  # operators that add up to more than this multiple of their phase ran in several threads

CostRow = tuple[Cost, float | None, str]  # a kernel's cost, its share of its phase or of the step, and its phase


def print_trace(trace: Trace, folder: Path | None, console: Console | None = None) -> None:
    """Print the largest costs of each phase, as wide as the terminal; ``folder`` holds the trace if there is one."""
    console = as_wide_as(console)
    if trace.profile is None or folder is None:
        print_lines([Text(trace_conclusion(trace), "yellow" if trace.status == "skipped" else "bold red")], console)
        return
    shown = labelled(trace.loop, trace.profile.compilation)
    loop, workload, device = (elide(name, NAME_WIDTH) for name in (shown, trace.workload, trace.device))
    steps = "1 step" if trace.profile.steps == 1 else f"{trace.profile.steps} steps"
    console.print(Text(f"{loop} on {workload}, {device}: {steps} profiled", "bold"), soft_wrap=True)
    where = (
        f"{plain(str(folder / TRACE_FILE))}: open it at https://ui.perfetto.dev or in chrome://tracing.",
        f"{plain(str(folder / KERNELS_FILE))}: every row, for a spreadsheet.",
    )
    said = (trace_conclusion(trace), *trace_notes(trace.profile), *where)
    print_lines([*_trace_tables(trace.profile, console.width), Text(), *map(Text, said)], console)
    top = costliest(trace.profile)[:DEAREST_OF_ALL]
    table = _indented(_cost_table(top, (OF_PHASE, *COST_COLUMNS[1:]), console.width), top)
    title = Text("\nthe most costly of all phases", "bold")
    print_lines([title, *table, Text(f"\n{trace_takeaway(trace, trace.profile)}", "bold")], console)


def trace_conclusion(trace: Trace) -> str:
    """The limits of the profiler's figures, or the reason why there are none."""
    name = elide(trace.loop, NAME_WIDTH)
    reason = elide(trace.reason or "", LONGEST)
    if trace.status == "skipped":
        return f"{name} cannot be traced here: {reason}."
    profile = trace.profile
    if profile is None:
        return f"{name} was not traced; it {'timed out' if trace.status == 'timed_out' else 'failed'}: {reason}"
    profiled, unprofiled = profile.profiled_step_seconds, profile.plain_step_seconds
    unseen = "" if profiled > unprofiled else ", so its cost does not show in this number of steps"
    return (
        "Profiled steps are slower than measured ones, because of the profiler: no figure of a trace enters a "
        f"report. Here they took {show.seconds(profiled)} each, those just before profiling {show.seconds(unprofiled)}"
        f"{unseen}."
    )


def trace_takeaway(trace: Trace, profile: Profile) -> str:
    """The phase and the kernel that take most time, and if the device waits for the host, in one sentence."""
    rows, longest = costliest(profile), max(profile.phases, key=lambda phase: phase.seconds_per_step)
    total, unprofiled = sum(cost.seconds_per_step for cost, *_ in rows), profile.plain_step_seconds
    share = show.percent(longest.seconds_per_step / (total or 1.0))
    told = [f"{elide(longest.phase, NAME_WIDTH)} takes the most time, {share} of {show.seconds(total)} a step"]
    for cost, of_all, phase in [row for row in rows if row[0].name != OUTSIDE][:1]:
        which = f"{elide(cost.name, NAME_WIDTH)} in {elide(phase, NAME_WIDTH)}"
        told.append(f"the most costly {profile.counted[:-1]} is {which}, {show.percent(of_all)}")
    if profile.counted == "kernels":
        bound = "" if total < FULL * unprofiled else "not "
        filled = (
            f"{show.percent(min(1.0, total / unprofiled))} of the {show.seconds(unprofiled)} of a step before profiling"
        )
        told.append(f"kernels fill {filled}: it is {bound}launch-bound")
    return f"{elide(trace.workload, NAME_WIDTH)}, {elide(trace.loop, NAME_WIDTH)}: {'; '.join(told)}."


def trace_notes(profile: Profile) -> tuple[str, ...]:
    """Notes for reading the table."""
    found = []
    if profile.compilation is not None:
        found.append(f"torch.compile: {'; '.join(cells.compilation(profile.compilation))}.")
    if profile.graphed:
        found.append(
            "The step replays a graph, whose phases the host does not see: all its kernels are in one range, "
            "step. `loopmark run` times the phases, from events inside the graph."
        )
    if profile.counted == "kernels":
        found.append("A kernel counts for the phase that launched it, whenever it ran; kernels may overlap.")
    else:
        found.append("An operator counts by its self time: its own time, without that of other operators within it.")
    if profile.unattributed:
        calls = show.rate(sum(cost.calls_per_step for cost in profile.unattributed))
        seconds = show.seconds(sum(cost.seconds_per_step for cost in profile.unattributed))
        found.append(
            f"{calls} kernels a step ({seconds}) count for no phase: the trace shows no launch of them within one."
        )
    return tuple(found)


def _trace_tables(profile: Profile, width: int) -> Iterator[Text]:
    """Every phase with its most costly kernels, all in the same columns."""
    tables = [(phase, _cost_rows(phase)) for phase in profile.phases]
    table = _cost_table([row for _, rows in tables for row in rows], COST_COLUMNS, width)
    for phase, rows in tables:
        yield Text()
        yield Text(elide(phase.phase, NAME_WIDTH), "bold") + Text(GAP + _phase_heading(phase, profile))
        if not rows:
            yield Text(f"{INDENT}no {profile.counted[:-1]}", "dim")
            continue
        yield from _indented(table, rows)


def _cost_table(rows: Sequence[CostRow], columns: Sequence[Column[CostRow]], width: int) -> TextTable[CostRow]:
    """The names of ``rows``, in the room that the other ``columns`` leave."""
    room = width - len(INDENT) - sum(column.width(rows) + len(GAP) for column in columns)
    longest = max((cell_len(elide(cost.name, WIDEST_NAME)) for cost, *_ in rows), default=0)
    name_width = max(LEAST_NAME, min(room, longest))
    name = Column[CostRow]("", lambda row: set_cell_size(_fit(row[0].name, name_width), name_width), left=True)
    return Table([name, *columns], rows).in_terminal()


def _indented(table: TextTable[CostRow], rows: Sequence[CostRow]) -> Iterator[Text]:
    yield from (Text(INDENT, "dim") + line for line in table.headings())
    yield from (Text(INDENT) + table.line(None, row) for row in rows)


def _fit(name: str, width: int) -> str:
    """``name`` in at most ``width`` cells, without its middle where it is too long; a letter may take two cells.

    A compiler's kernels differ in their last characters, other kernels in their first.
    """
    line = plain(name)
    if cell_len(line) <= width:
        return line
    tail = line[-(width // TAIL) :]
    return set_cell_size(line, width - len(ELLIPSIS) - cell_len(tail)).rstrip() + ELLIPSIS + tail


def _cost_rows(phase: PhaseCosts) -> list[CostRow]:
    """A row for each of the most costly, and one for all others together."""
    costs = list(phase.costs[:DEAREST])
    if others := phase.costs[DEAREST:]:
        calls = sum(cost.calls_per_step for cost in others if cost.name != OUTSIDE)
        name = "1 other" if len(others) == 1 else f"{len(others):,} others"
        costs.append(Cost(name, calls, sum(cost.seconds_per_step for cost in others)))
    return [(cost, phase.share(cost), phase.phase) for cost in costs]


def costliest(profile: Profile) -> list[CostRow]:
    """All costs of all phases with their shares of the step, the largest first."""
    costs = [(cost, phase.phase) for phase in profile.phases for cost in phase.costs]
    costs += [(cost, show.ABSENT) for cost in profile.unattributed]
    total = sum(cost.seconds_per_step for cost, _ in costs) or 1.0
    costs.sort(key=lambda one: -one[0].seconds_per_step)
    return [(cost, cost.seconds_per_step / total, phase) for cost, phase in costs]


def _calls(row: CostRow) -> str:
    cost, *_ = row
    if cost.name == OUTSIDE:  # time between operators, which has no calls
        return show.ABSENT
    whole = cost.calls_per_step == round(cost.calls_per_step)
    return show.count(cost.calls_per_step) if whole else show.significant(cost.calls_per_step)


COST_COLUMNS: tuple[Column[CostRow], ...] = (
    Column("calls", _calls),
    Column("a step", lambda row: show.seconds(row[0].seconds_per_step)),
    Column("share", lambda row: show.percent(row[1])),
)
OF_PHASE: Column[CostRow] = Column("phase", lambda row: elide(row[2], PHASE_WIDTH), left=True)


def _phase_heading(phase: PhaseCosts, profile: Profile) -> str:
    host, total = show.seconds(phase.host_seconds_per_step), show.seconds(phase.seconds_per_step)
    if profile.counted == "kernels":
        return f"{total} a step on the device, {host} on the host"
    if phase.seconds_per_step > MUCH_MORE * phase.host_seconds_per_step:
        return f"{host} a step, {total} over all threads"
    return f"{host} a step"


def trace_as_json(trace: Trace, folder: Path | None) -> dict[str, Any]:
    """The trace as strict JSON values, with its kernels and the paths of its files; None for missing parts."""
    return {
        **{name: value for name, value in vars(trace).items() if name != "profile"},
        "takeaway": trace_takeaway(trace, trace.profile) if trace.profile else None,
        "trace": str(folder / TRACE_FILE) if folder else None,
        "kernels": str(folder / KERNELS_FILE) if folder else None,
        "profile": _profile_as_json(trace.profile) if trace.profile else None,
        "conclusion": trace_conclusion(trace),
    }


def _profile_as_json(profile: Profile) -> dict[str, Any]:
    phases = [
        {
            **picked(phase, "phase", "host_seconds_per_step", "seconds_per_step"),
            "costs": [{**asdict(cost), "share": phase.share(cost)} for cost in phase.costs],
        }
        for phase in profile.phases
    ]
    return {**asdict(profile), "phases": phases, "notes": list(trace_notes(profile))}


def kernels_as_csv(profile: Profile) -> str:
    """One row for each kernel of a phase, the most costly first; an empty phase where none launched it."""
    rows = [
        {"phase": phase.phase, **vars(cost), "share_of_phase": phase.share(cost)}
        for phase in profile.phases
        for cost in phase.costs
    ]
    rows += [{"phase": None, **vars(cost), "share_of_phase": None} for cost in profile.unattributed]
    return csv_of(rows, ("phase", "name", "calls_per_step", "seconds_per_step", "share_of_phase"))


LONGEST_REASON = 600
COUNTED = {
    "tensors alive": "every tensor that the step makes or holds; the operators' own workspace is not counted",
    "device memory allocated": "bytes handed out by torch's allocator",
}


def footprint_conclusion(case: FootprintCase) -> str:
    """The place and the size of the peak, in one sentence."""
    who = f"{elide(case.workload, NAME_WIDTH)}, {elide(case.loop, NAME_WIDTH)}"
    step = case.footprint
    if step is None:
        return f"{who}: {case.status.replace('_', ' ')}: {elide(case.reason or '', LONGEST_REASON)}."
    peak, before = step.peak.peak_bytes, step.before_bytes
    operator = f", at {elide(step.peak_operator, NAME_WIDTH)}" if step.peak_operator else ""
    text = (
        f"{who}: the step peaks at {show.data(peak)} in {elide(step.peak.phase, NAME_WIDTH)}{operator}: "
        f"{show.data(max(0, peak - before))} above the {show.data(before)} at its start"
    )
    if step.fragmentation_bytes is None:
        return f"{text}."
    return (
        f"{text}; around then the allocator held {show.data(step.fragmentation_bytes)} more than was in use, "
        f"at most {show.data(step.peak.peak_inactive_split_bytes)} of it stuck in blocks that are partly in use."
    )


def counted(step: Footprint) -> str:
    """The kind of the bytes, in words."""
    eagerly = "; compiled code was run eagerly, since its memory cannot be followed" if step.ran_eagerly else ""
    return f"{step.kind}: {COUNTED[step.kind]}{eagerly}"


def print_footprints(cases: Sequence[FootprintCase], console: Console | None = None) -> None:
    """Print every loop's phases, as wide as the terminal; a file counts as ``FILE_WIDTH`` wide."""
    console = as_wide_as(console)
    print_lines((line for case in cases if case.footprint for line in _footprint_table(case, case.footprint)), console)
    styles = {"ok": "bold", "skipped": "yellow"}
    print_lines((Text(footprint_conclusion(case), styles.get(case.status, "red")) for case in cases), console)


def _footprint_table(case: FootprintCase, step: Footprint) -> Iterator[Text]:
    columns: tuple[Column[PhaseMemory], ...] = (
        Column("phase", lambda phase: elide(phase.phase, NAME_WIDTH), left=True),
        Column("peak", lambda phase: show.data(phase.peak_bytes)),
        Column("at its end", lambda phase: show.data(phase.end_bytes)),
        Column("peak reserved", lambda phase: show.data(phase.peak_reserved_bytes)),
    )
    table = Table(columns, step.phases, silent=show.ABSENT).in_terminal()
    title = f"{elide(case.workload, NAME_WIDTH)}  {elide(case.loop, NAME_WIDTH)}"
    yield Text(title, "bold").append(f"{GAP}batch {step.batch_size:,}; {counted(step)}", "not bold dim")
    yield from table.headings()
    highest = elide(step.peak.phase, NAME_WIDTH)
    for phase in step.phases:
        line = table.line(None, phase)
        line.stylize("bold" if elide(phase.phase, NAME_WIDTH) == highest else "")
        yield line
    yield Text()


def write_footprint_files(folder: Path, cases: Sequence[FootprintCase]) -> None:
    """Write the spreadsheet and the plots, as PNG and SVG, into ``folder``."""
    with writing_to(folder):
        replace_file(folder / "memory.csv", footprints_as_csv(cases))
        draw_plots(folder / "plots", _figures(cases))


def footprints_as_csv(cases: Sequence[FootprintCase]) -> str:
    """One row for each phase of a loop, in bytes."""
    rows = [
        {
            "workload": plain(case.workload),
            "loop": plain(case.loop),
            **picked(case.footprint, "batch_size", "kind"),
            **vars(phase),
        }
        for case in cases
        if case.footprint
        for phase in case.footprint.phases
    ]
    headings = ("workload", "loop", "batch_size", "kind", "phase", "peak_bytes", "end_bytes", "peak_reserved_bytes")
    return csv_of(rows, headings)


def footprints_as_json(cases: Sequence[FootprintCase]) -> dict[str, Any]:
    """The footprints as strict JSON values, without the moments."""
    return {"loops": [_loop(case) for case in cases]}


def _loop(case: FootprintCase) -> dict[str, Any]:
    told = picked(case, "workload", "loop", "status", "reason") | {"conclusion": footprint_conclusion(case)}
    if (step := case.footprint) is None:
        return told
    return {
        **told,
        **picked(step, "kind", "batch_size", "ran_eagerly", "before_bytes", "peak_operator", "fragmentation_bytes"),
        **picked(step.peak, "peak_bytes", "peak_reserved_bytes", "peak_inactive_split_bytes"),
        "peak_phase": step.peak.phase,
        "phases": [vars(phase) for phase in step.phases],
    }


def _name(case: FootprintCase) -> str:
    return f"{case.workload}-{case.loop}"


def _figures(cases: Sequence[FootprintCase]) -> Figures:
    from loopmark.bench.report.capacity_plots import timeline

    for case in cases:
        yield _name(case), "memory", partial(timeline, case)
