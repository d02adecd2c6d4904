"""Runs side by side on a terminal: what differs, then a block a loop with a line for each machine or run."""

from collections.abc import Iterator
from typing import NamedTuple

from rich.console import Console
from rich.text import Text

from loopmark.bench.judge.side_by_side import ComparedRun, SideBySide, WorkloadComparison
from loopmark.bench.judge.summary import Row
from loopmark.bench.report import cells, rooflines
from loopmark.bench.report import format as show
from loopmark.bench.report.compare import words as words
from loopmark.bench.report.table import GAP, NAME_WIDTH, Column, Table, TextTable, as_wide_as, cut
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
        Column("of its\nceiling", lambda line: rooflines.reached(line.row)),
        Column("MFU", lambda line: rooflines.utilisation(line.row)),
    )


def _colour(line: Line) -> str:
    return COLOURS.get(line.row.verdict or "", "")
