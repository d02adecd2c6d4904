"""How the loops trained, as tables in the terminal and on pages, and in one sentence."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from loopmark.bench.judge.comparison import BASELINE
from loopmark.bench.judge.statistics import Estimate
from loopmark.bench.judge.summary import Summary
from loopmark.bench.judge.training import Learning, TrainedRow, TrainedWorkload, TrainingSummary
from loopmark.bench.report import format as show
from loopmark.bench.report import training_words as words
from loopmark.bench.report.machine_tables import machine_table
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
from loopmark.bench.report.takeaway import sentence
from loopmark.bench.report.text import elide, plain

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


NAME_LENGTH = 48


def training_takeaway(summary: TrainingSummary) -> str:
    """On each workload, which loops train another model than the baseline, and which is soonest at the target.

    A loop is called sooner only where its whole interval says so.
    """
    text = "; ".join(f"on {_short(w.workload)}, {', and '.join(_clauses(w))}" for w in summary.workloads)
    return sentence(f"{text}.", summary.training.interrupted)


def _clauses(workload: TrainedWorkload) -> list[str]:
    said = [_alike([row for row in workload.rows if row.equivalence.verdict is not None and row.loop != BASELINE])]
    trained = {row.loop: row.learning for row in workload.rows if row.learning is not None and not row.departs}
    if trained and workload.target is not None:
        said.append(_soonest(trained, f"{_short(workload.target.metric)} of {workload.target.value:g}"))
    return said


def _alike(compared: list[TrainedRow]) -> str:
    departing = [_short(row.loop) for row in compared if row.departs]
    if departing:
        return f"{', '.join(departing)} {'trains' if len(departing) == 1 else 'train'} another model than {BASELINE}"
    steps = min((row.equivalence.proof.steps for row in compared), default=0)
    if len(compared) == 1:
        return f"{_short(compared[0].loop)} trains as {BASELINE} does in its first {steps} steps"
    if not compared:
        return f"nothing was compared with {BASELINE}"
    return f"each of {len(compared)} loops trains as {BASELINE} does in its first {steps} steps"


def _soonest(trained: dict[str, Learning], target: str) -> str:
    sooner: dict[str, Estimate] = {
        loop: learning.seconds_ratio
        for loop, learning in trained.items()
        if learning.seconds_ratio is not None and learning.surely_sooner
    }
    if sooner:
        best = max(sooner, key=lambda loop: sooner[loop].value)
        ratio, _, ends = show.ratio_range(sooner[best]).partition(" ")
        return f"{_short(best)} is at {target} {ratio} sooner {ends}, getting going left aside"
    base = trained.get(BASELINE)
    if base is None or base.seconds is None:
        return f"{BASELINE} is not at {target} with every seed"
    return f"no loop is sure to be at {target} sooner, where {BASELINE} is in {show.seconds_of(base.seconds)}"


def _short(text: str) -> str:
    return elide(text, NAME_LENGTH)


Value = Callable[[Learning], Estimate | float | None]
"""What a column sorts by."""
Trained = tuple[TrainedRow, Learning]
"""A case that was trained, and what it learnt."""


def contents(summary: TrainingSummary, plots: Sequence[Plot]) -> dict[str, Any]:
    """What the templates of a training's pages are given, where nothing was timed."""
    training = summary.training
    return {
        "training": training,
        "takeaway": training_takeaway(summary),
        "baseline": BASELINE,
        "workloads": [
            {
                "name": workload.workload,
                "plots": [plot for plot in plots if plot.workload == workload.workload],
                "training": section(workload, summary, {}),
            }
            for workload in summary.workloads
        ],
        "machine": machine_table(training.machine, training.environment),
        "command": training.plan.command,
    }


def section(workload: TrainedWorkload | None, summary: TrainingSummary | None, starts: Starts) -> dict[str, Any] | None:
    """A workload's training; None where there was none."""
    if workload is None or summary is None:
        return None
    heading = words.heading(workload, summary.training)
    return {
        "equivalence": _equivalence_table(workload),
        "heading": f"{heading[0].upper()}{heading[1:]}.",
        "learning": _learning_table(workload, starts),
        "notes": [
            {"name": row.label, "text": "; ".join(said)} for row in workload.rows if (said := words.remarks(row))
        ],
    }


def _equivalence_table(workload: TrainedWorkload) -> Table[Any]:
    rows = (
        [_name(row), Cell(words.verdict(row)), Cell(words.evidence(row.equivalence))]
        for row in workload.rows
        if row.equivalence.proof.status != "skipped"
    )
    return table_of(["loop", f"trains as {BASELINE}", "evidence"], rows, figures=False)


def _learning_table(workload: TrainedWorkload, starts: Starts) -> Table[Trained]:
    def column(heading: str, say: Callable[[Learning], str], value: Value = lambda _: None) -> Column[Trained]:
        return Column(heading, lambda row: figure(say(row[1]), value(row[1])))

    def with_start(row: Trained) -> Cell:
        case, learning = row
        return figure(words.with_start(learning, starts.get((case.workload, case.loop))))

    def ratio(estimate: Estimate | None) -> str:
        return words.in_range(estimate, show.ratio, show.ratio_range)

    columns: list[Column[Trained]] = [
        Column("loop", lambda row: _name(row[0])),
        column("learns", words.learns),
        column("reached the target", words.reached),
        column("steps", words.steps, lambda one: one.steps),
        column("time", words.seconds, lambda one: one.seconds),
        Column("with a cold start", with_start),
        column("energy", words.joules, lambda one: one.joules),
        column(f"of {BASELINE}'s steps", lambda one: ratio(one.steps_ratio), lambda one: one.steps_ratio),
        column(f"sooner than {BASELINE}", lambda one: ratio(one.seconds_ratio), lambda one: one.seconds_ratio),
        column("loss in the end", words.loss),
        column("quality in the end", words.quality),
        column("converged", words.ending),
    ]
    trained = [(row, row.learning) for row in workload.rows if row.learning is not None]
    return Table(columns, trained, silent=show.ABSENT)


def _name(row: TrainedRow) -> Cell:
    return Cell(row.label, strong=row.loop == BASELINE and not row.repeat)
