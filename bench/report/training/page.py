"""What a page says of training: a section of a run's, or all of it."""

from collections.abc import Callable, Sequence
from typing import Any

from loopmark.bench.judge.comparison import BASELINE
from loopmark.bench.judge.statistics import Estimate
from loopmark.bench.judge.training import Learning, TrainedRow, TrainedWorkload, TrainingSummary
from loopmark.bench.report import format as show
from loopmark.bench.report.machine_tables import machine_table
from loopmark.bench.report.plot_files import Plot
from loopmark.bench.report.table import Cell, Column, Table, figure, table_of
from loopmark.bench.report.training import words
from loopmark.bench.report.training.table import Starts
from loopmark.bench.report.training.takeaway import training_takeaway

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
