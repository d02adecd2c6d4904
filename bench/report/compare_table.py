"""Runs side by side as tables: on a terminal, and section by section for the pages."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from rich.console import Console
from rich.text import Text

from loopmark.bench.judge.side_by_side import ComparedRun, Shift, SideBySide, WorkloadComparison
from loopmark.bench.judge.statistics import Estimate
from loopmark.bench.judge.summary import Row, is_baseline
from loopmark.bench.report import cells
from loopmark.bench.report import compare_words as words
from loopmark.bench.report import format as show
from loopmark.bench.report import training_words as training
from loopmark.bench.report.ceilings import reached, utilisation
from loopmark.bench.report.cells import phase_names
from loopmark.bench.report.plot_files import Plot
from loopmark.bench.report.table import (
    GAP,
    NAME_WIDTH,
    Cell,
    Column,
    Table,
    TextTable,
    as_wide_as,
    cut,
    figure,
    table_of,
)
from loopmark.bench.report.text import elide, plain

FILE_WIDTH = 150
"""Of what is no terminal: a comparison has more to say than a run."""
LONGEST_FACT = 32
MOST_FACTS = 24
BULLET = "· "
COLOURS = {"faster": "green", "slower": "red"}


class Line(NamedTuple):
    """One loop on one entrant."""

    entrant: ComparedRun
    row: Row


def print_comparison(found: SideBySide, console: Console | None = None) -> None:
    """Print it as wide as the terminal; a file counts as ``FILE_WIDTH`` wide."""
    console = as_wide_as(FILE_WIDTH, console)
    for line in _lines(found, console):
        # A sentence goes on on the next line; a row of a table was cut to the width.
        console.print(line, soft_wrap=not console.is_terminal)


def _lines(found: SideBySide, console: Console) -> Iterator[Text]:
    yield Text(plain(words.headline(found)), "bold")
    yield from (Text(plain(note), "dim") for note in found.notes)
    yield from _differences(found, console.width)
    for contest in found.workloads:
        yield Text()
        yield from _contest(contest, console, alone=len(found.runs) == 1)
    if found.shifts or found.not_compared:
        yield Text()
        yield from (Text(line) for line in words.moves(found))
    if found.is_over_time and found.have_something_in_common:
        yield Text(words.ASK_FOR_A_VERDICT, "dim")
    sentences = [] if found.is_over_time else list(words.conclusions(found))
    if sentences:
        yield Text()
        yield from (Text(sentence, "bold") for sentence in sentences)
    if len(found.runs) > 1 and not found.have_something_in_common:
        yield Text()
        yield Text(words.NOTHING_IN_COMMON, "bold")


def _differences(found: SideBySide, width: int) -> Iterator[Text]:
    if len(found.runs) < 2:
        return
    facts = words.facts(found)
    shown = dict(list(facts.items())[:MOST_FACTS])
    yield Text("what differs between them" if {*facts} - {words.RUN} else "their environments are the same", "dim")
    columns: list[Column[str]] = [
        _fact_column(entrant.name, {name: values[i] for name, values in shown.items()})
        for i, entrant in enumerate(found.runs)
    ]
    table = TextTable(Table(columns, list(shown), silent=show.ABSENT), list(shown), width, head="")
    if not table.left_out:
        yield from table.headings()
        yield from (table.line(name, name) for name in shown)
    else:  # too wide for a table
        yield from (Text(f"{elide(name, NAME_WIDTH)}: {words.shared(found.runs, shown[name])}") for name in shown)
    if len(shown) < len(facts):
        yield Text(f"and {len(facts) - len(shown)} facts more: compare.md has all", "dim")


def _fact_column(name: str, values: dict[str, str]) -> Column[str]:
    return Column(name, lambda fact: elide(values[fact], LONGEST_FACT), left=True)


def _contest(contest: WorkloadComparison, console: Console, *, alone: bool) -> Iterator[Text]:
    title = Text(elide(contest.workload, NAME_WIDTH), "bold")
    work = words.works(contest)
    if contest.is_same_work:
        title.append(f"{GAP}{work}", "not bold dim")
    yield title
    if not contest.is_same_work:
        yield Text(work, "yellow")
    lines = {loop: [Line(*pair) for pair in contest.rows(loop)] for loop in contest.loops}
    measured = [line for own in lines.values() for line in own if line.row.step_seconds is not None]
    names = [] if alone else [f"{BULLET}{entrant.name}" for entrant in contest.runs]
    table = TextTable(Table(_columns(), measured, silent=show.ABSENT), [*names, *contest.loops], console.width)
    if measured:
        yield from table.headings()
    for loop, own in lines.items():
        if why := words.nowhere(contest, loop):
            yield table.named(loop, Text(why, "dim"))
            continue
        if not alone:
            yield cut(Text(table.short(loop), "bold"), console.width)
        for line in own:
            name = loop if alone else f"{BULLET}{line.entrant.name}"
            if line.row.step_seconds is None:
                yield table.named(name, Text(cells.why(line.row), "dim"))
            else:
                yield table.line(name, line)
    if noise := words.noise(contest):
        yield Text(noise, "dim")
    for name, text in words.remarks(contest):
        yield Text(f"{name}: {text}", "dim")
    if table.left_out:
        yield Text(f"compare.md also has: {', '.join(table.left_out)}", "dim")


def _columns() -> tuple[Column[Line], ...]:
    return (
        Column("a step", lambda line: show.seconds_plus_minus(line.row.step_seconds)),
        Column("speedup", lambda line: cells.speedup(line.row), left=True, style=_colour),
        Column("samples/s", lambda line: show.rate_range(line.row.samples_per_second)),
        Column("fwd/bwd/\nopt %", lambda line: cells.short_shares(line.row)),
        Column("peak\nmemory", lambda line: words.memory(line.row)),
        Column("energy\na step", lambda line: show.joules(line.row.joules_per_step)),
        Column("of its\nceiling", lambda line: reached(line.row)),
        Column("MFU", lambda line: utilisation(line.row)),
    )


def _colour(line: Line) -> str:
    return COLOURS.get(line.row.verdict or "", "")


def contents(found: SideBySide, plots: Sequence[Plot], warnings: Sequence[str]) -> dict[str, Any]:
    """What the templates are given: plain text, tables, plots. What has nothing to say is empty."""
    facts = words.facts(found) if len(found.runs) > 1 else {}
    names = [entrant.name for entrant in found.runs]
    return {
        "headline": words.headline(found),
        "notes": found.notes,
        "warnings": warnings,
        "facts": table_of(["", *names], ([name, *values] for name, values in facts.items()), figures=False),
        "conclusions": [] if found.is_over_time else list(words.conclusions(found)),
        "is_over_time": found.is_over_time and found.have_something_in_common,
        "ask": words.ASK_FOR_A_VERDICT,
        "shifts": _shifts(found.shifts),
        "not_compared": found.not_compared,
        "workloads": [_section(contest, plots) for contest in found.workloads],
        "legend": words.LEGEND,
        "runs": _runs(found.runs),
    }


def _section(contest: WorkloadComparison, plots: Sequence[Plot]) -> dict[str, Any]:
    return {
        "name": contest.workload,
        "work": words.works(contest),
        "table": _table(contest),
        "noise": words.noise(contest),
        "remarks": [{"name": name, "text": text} for name, text in [*words.endings(contest), *words.remarks(contest)]],
        "plots": [plot for plot in plots if plot.workload == contest.workload],
        "phases": _phases(contest),
    }


def _table(contest: WorkloadComparison) -> Table[Any]:
    rows = [(loop, entrant, row) for loop in contest.loops for entrant, row in contest.rows(loop)]
    headings = [
        "loop", "on", "speedup", "verdict", "step", "samples/s", "trains as eager", "peak memory",
        "energy a step", "of its ceiling", "MFU",
    ]  # fmt: skip
    return table_of(headings, (_cells(loop, entrant, row) for loop, entrant, row in rows))


def _cells(loop: str, entrant: ComparedRun, row: Row) -> list[Cell]:
    rate, roofline = row.samples_per_second, row.roofline
    return [
        Cell(loop, strong=is_baseline(row.case)),
        Cell(entrant.name, whole=True),
        figure(cells.speedup(row), 1.0 if is_baseline(row.case) else row.speedup),
        Cell(cells.verdict(row) if row.step_seconds is not None else cells.status(row)),
        figure(show.seconds_range(row.step_seconds), row.step_seconds),
        figure(show.rate_range(rate), rate),
        Cell(training.verdict(row.trained), whole=True),
        figure(words.memory(row), row.peak_memory_bytes),
        figure(show.joules(row.joules_per_step), row.joules_per_step),
        figure(reached(row), roofline.share if roofline else None),
        figure(utilisation(row), roofline.utilisation if roofline else None),
    ]


def _phases(contest: WorkloadComparison) -> Table[Any]:
    rows = [(loop, e, row) for loop in contest.loops for e, row in contest.rows(loop) if row.phases]
    names = phase_names([row for _, _, row in rows])
    return table_of(
        ["loop", "on", *names],
        (
            [
                Cell(loop, strong=is_baseline(row.case)),
                Cell(entrant.name, whole=True),
                *(_phase(name, row, entrant.phases.get((contest.workload, loop), {})) for name in names),
            ]
            for loop, entrant, row in rows
        ),
    )


def _phase(name: str, row: Row, estimates: Mapping[str, Estimate]) -> Cell:
    return figure(words.phase(name, row, estimates), estimates.get(name))


def _shifts(shifts: Sequence[Shift]) -> Table[Any]:
    def cell(estimate: Estimate, *, seconds: bool = False) -> Cell:
        return figure((show.seconds_range if seconds else show.ratio_range)(estimate), estimate)

    rows: Iterator[list[Cell | str]] = (
        [
            Cell(s.loop, strong=s.is_of_seconds), s.workload,
            *(cell(side, seconds=s.is_of_seconds) for side in (s.before, s.after)), cell(s.ratio),
        ]
        for s in shifts
    )  # fmt: skip
    return table_of(["loop", "workload", "speedup, or eager's step, before", "after", "times as fast"], rows)


def _runs(entrants: Sequence[ComparedRun]) -> Table[Any]:
    rows = (
        [e.name, e.run.machine.name, e.run.plan.device, str(e.run.plan.threads), e.run.name, e.found.folder]
        for e in entrants
    )
    return table_of(["name", "machine", "device", "threads", "run", "folder"], rows, figures=False)
