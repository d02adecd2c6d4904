"""What a page says of training: a section of a run's, or all of it."""

from collections.abc import Callable, Sequence
from typing import Any

from loopmark.bench.judge.comparison import BASELINE
from loopmark.bench.judge.statistics import Estimate
from loopmark.bench.judge.training import Learning, TrainedRow, TrainedWorkload, TrainingSummary
from loopmark.bench.report import format as show
from loopmark.bench.report.grid import Cell, Grid, figure, grid, grid_of_columns
from loopmark.bench.report.machine_table import machine_table
from loopmark.bench.report.plot_files import Plot
from loopmark.bench.report.templates import template
from loopmark.bench.report.training import words
from loopmark.bench.report.training.table import Starts
from loopmark.bench.report.training.takeaway import training_takeaway

Value = Callable[[Learning], Estimate | float | None]
"""What a column sorts by."""


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


def page(contents: dict[str, Any]) -> str:
    """The page in Markdown."""
    return template("training_report.md.jinja").render(contents)


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


def _equivalence_table(workload: TrainedWorkload) -> Grid:
    rows = (
        [_name(row), Cell(words.verdict(row)), Cell(words.evidence(row.equivalence))]
        for row in workload.rows
        if row.equivalence.proof.status != "skipped"
    )
    return grid(["loop", f"trains as {BASELINE}", "evidence"], rows, figures=False)


def _learning_table(workload: TrainedWorkload, starts: Starts) -> Grid:
    trained = [(row, row.learning) for row in workload.rows if row.learning is not None]

    def column(say: Callable[[TrainedRow, Learning], str], value: Value = lambda _: None) -> list[Cell]:
        return [figure(say(row, learning), value(learning)) for row, learning in trained]

    columns = {
        "loop": [_name(row) for row, _ in trained],
        "learns": column(lambda _, one: words.learns(one)),
        "reached the target": column(lambda _, one: words.reached(one)),
        "steps": column(lambda _, one: words.steps(one), lambda one: one.steps),
        "time": column(lambda _, one: words.seconds(one), lambda one: one.seconds),
        "with a cold start": column(lambda row, one: words.with_start(one, starts.get((row.workload, row.loop)))),
        "energy": column(lambda _, one: words.joules(one), lambda one: one.joules),
        f"of {BASELINE}'s steps": column(
            lambda _, one: words.in_range(one.steps_ratio, show.ratio, show.ratio_range), lambda one: one.steps_ratio
        ),
        f"sooner than {BASELINE}": column(
            lambda _, one: words.in_range(one.seconds_ratio, show.ratio, show.ratio_range),
            lambda one: one.seconds_ratio,
        ),
        "loss in the end": column(lambda _, one: words.loss(one)),
        "quality in the end": column(lambda _, one: words.quality(one)),
        "converged": column(lambda _, one: words.ending(one)),
    }
    return grid_of_columns(columns, show.ABSENT)


def _name(row: TrainedRow) -> Cell:
    return Cell(row.label, strong=row.loop == BASELINE and not row.repeat)
