"""How the loops trained, as a table in the terminal."""

from collections.abc import Callable, Mapping

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from loopmark.bench.judge.summary import Summary
from loopmark.bench.judge.training import Learning, TrainedRow, TrainedWorkload, TrainingSummary
from loopmark.bench.report import format as show
from loopmark.bench.report.table import GAP, NAME_WIDTH, Column, Table, TextTable, as_wide_as, cut
from loopmark.bench.report.text import elide, plain
from loopmark.bench.report.training import words
from loopmark.bench.report.training.takeaway import training_takeaway

WIDE = 160
"""Of what is no terminal, where this table stands alone."""
Starts = Mapping[tuple[str, str], float | None]
"""Seconds that each workload's loops took to get going where they were timed."""


def starts_of(summary: Summary) -> Starts:
    """What the loops of a timed run took to get going."""
    return {(row.case.workload, row.case.loop): row.start_seconds for row in summary.rows if not row.case.repeat}


def print_training(summary: TrainingSummary, console: Console | None = None) -> None:
    """Print a training by itself, and its takeaway, as wide as the terminal; a file counts as ``WIDE`` wide."""
    console = as_wide_as(WIDE, console)
    console.print(TrainingTable(summary, alone=True))
    console.print()
    console.print(Text(training_takeaway(summary), "bold"), soft_wrap=not console.is_terminal)


class TrainingTable:
    """How each case trained: print it on a ``rich`` console of any width.

    Args:
        starts: what is known of starting from a timed run, whose first launch compiled with an empty cache; a loop
            that is not in it starts as the first of its own trials did.
        alone: whether no other table tells of the same loops, so that this one has to tell what departs, and why.
    """

    def __init__(self, summary: TrainingSummary, starts: Starts | None = None, *, alone: bool = False) -> None:
        self._summary, self._starts, self._alone = summary, starts or {}, alone

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """One ``Text`` a line, none wider than the console; nothing in it is read as markup."""
        width = options.max_width
        workloads = [one for one in self._summary.workloads if self._alone or one.target is not None]
        rows = [row for workload in workloads for row in workload.rows if _has_figures(row)]
        names = [row.label for workload in workloads for row in workload.rows]
        grid = TextTable(Table(self._columns(), rows, silent=show.ABSENT), names, width)
        for number, workload in enumerate(workloads):
            if number:
                yield Text()
            yield cut(self._heading(workload), width)
            shown = [row for row in workload.rows if self._alone or not (row.repeat or self._is_told_above(row))]
            if any(_has_figures(row) for row in shown):
                yield from grid.headings()
            for row in shown:
                yield grid.line(row.label, row) if _has_figures(row) else grid.named(row.label, _ending(row))
            for row in shown:
                if said := words.remarks(row, equivalence=self._alone):
                    yield from grid.note(row.label, "; ".join(said), console)
        if grid.left_out:
            yield cut(Text(f"report.md also has: {', '.join(grid.left_out)}", "dim"), width)

    def _is_told_above(self, row: TrainedRow) -> bool:
        """Whether the table of the timed run has said already why there is nothing to see of this loop."""
        return not _has_figures(row) and self._starts.get((row.workload, row.loop), 0.0) is None

    def _heading(self, workload: TrainedWorkload) -> Text:
        told = words.heading(workload, self._summary.training)
        return Text(elide(workload.workload, NAME_WIDTH), "bold") + Text(f"{GAP}{told}", "dim")

    def _columns(self) -> tuple[Column[TrainedRow], ...]:
        verdict: tuple[Column[TrainedRow], ...] = (
            Column("trains\nas eager", words.verdict, left=True, style=lambda row: "red" if row.departs else ""),
        )
        return (
            *(verdict if self._alone else ()),
            Column("learns", _of(words.learns)),
            Column("reached\ntarget", _of(words.reached)),
            Column("steps\nto target", _of(words.steps)),
            Column("time\nto target", _of(words.seconds)),
            Column("with a\ncold start", self._with_start),
            Column("energy\nto target", _of(words.joules)),
            Column("loss\nin the end", _of(words.loss)),
            Column("quality\nin the end", _of(words.quality)),
            Column("converged", _of(words.ending)),
        )

    def _with_start(self, row: TrainedRow) -> str:
        if row.learning is None:
            return show.ABSENT
        return words.with_start(row.learning, self._starts.get((row.workload, row.loop)))


def _of(text: Callable[[Learning], str]) -> Callable[[TrainedRow], str]:
    return lambda row: show.ABSENT if row.learning is None else text(row.learning)


def _has_figures(row: TrainedRow) -> bool:
    return row.learning is not None or row.equivalence.verdict is not None


def _ending(row: TrainedRow) -> Text:
    proof = row.equivalence.proof
    status = proof.status.replace("_", " ") if proof.status != "ok" else "not compared"
    return Text(f"{status}: {plain(row.equivalence.why_not or '')}", "yellow" if proof.status == "skipped" else "red")
