"""What Markdown says of training: a section of a run's page, or a page of its own."""

from collections.abc import Sequence
from typing import Any

from bench.judge.comparison import BASELINE
from bench.judge.trained import TrainedRow, TrainedWorkload, TrainingSummary
from bench.report import format as show
from bench.report.machine_table import machine_table
from bench.report.markdown_table import pipe_table
from bench.report.plot_files import Plot
from bench.report.templates import template
from bench.report.text import code_block, markdown
from bench.report.training import words
from bench.report.training.table import Starts
from bench.report.training.takeaway import training_takeaway


def page(summary: TrainingSummary, plots: Sequence[Plot]) -> str:
    """The page of a training where nothing was timed."""
    training = summary.training
    return template("training_report.md.jinja").render(
        training=training,
        takeaway=training_takeaway(summary),
        baseline=BASELINE,
        workloads=[
            {
                "name": workload.workload,
                "plots": [plot for plot in plots if plot.workload == workload.workload],
                "training": section(workload, summary, {}),
            }
            for workload in summary.workloads
        ],
        machine=machine_table(training.machine, training.environment),
        command=code_block(training.plan.command),
    )


def section(workload: TrainedWorkload | None, summary: TrainingSummary | None, starts: Starts) -> dict[str, Any] | None:
    """A workload's training; None where there was none."""
    if workload is None or summary is None:
        return None
    heading = words.heading(workload, summary.training)
    return {
        "likeness": _likeness_table(workload),
        "heading": f"{heading[0].upper()}{heading[1:]}.",
        "learning": _learning_table(workload, starts),
        "notes": [
            {"name": row.label, "text": "; ".join(said)} for row in workload.rows if (said := words.remarks(row))
        ],
    }


def _likeness_table(workload: TrainedWorkload) -> str:
    rows = (
        [_name(row), words.verdict(row), markdown(words.evidence(row.likeness))]
        for row in workload.rows
        if row.likeness.proof.status != "skipped"
    )
    return pipe_table(["loop", f"trains as {BASELINE}", "evidence"], rows).replace("---:", "---")


def _learning_table(workload: TrainedWorkload, starts: Starts) -> str:
    trained = [(row, row.learning) for row in workload.rows if row.learning is not None]
    if not trained:
        return ""
    columns: dict[str, list[str]] = {
        "loop": [_name(row) for row, _ in trained],
        "learns": [words.learns(learning) for _, learning in trained],
        "reached the target": [words.reached(learning) for _, learning in trained],
        "steps": [words.steps(learning) for _, learning in trained],
        "time": [words.seconds(learning) for _, learning in trained],
        "with a cold start": [
            words.with_start(learning, starts.get((row.workload, row.loop))) for row, learning in trained
        ],
        "energy": [words.joules(learning) for _, learning in trained],
        f"of {BASELINE}'s steps": [words.in_range(one.steps_ratio, show.ratio, show.ratio_range) for _, one in trained],
        f"sooner than {BASELINE}": [
            words.in_range(one.seconds_ratio, show.ratio, show.ratio_range) for _, one in trained
        ],
        "loss in the end": [words.loss(learning) for _, learning in trained],
        "quality in the end": [words.quality(learning) for _, learning in trained],
        "converged": [words.ending(learning) for _, learning in trained],
    }
    told = {heading: texts for heading, texts in columns.items() if set(texts) != {show.ABSENT}}
    return pipe_table([markdown(heading) for heading in told], zip(*told.values(), strict=True))


def _name(row: TrainedRow) -> str:
    name = markdown(row.label)
    return f"**{name}**" if row.loop == BASELINE and not row.repeat else name
