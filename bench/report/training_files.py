"""A training as files: ``training.csv``, JSON and plots; without a timed run, its own pages too."""

from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loopmark.bench.judge.statistics import finite
from loopmark.bench.judge.training import TrainedRow, TrainedWorkload, TrainingSummary, summarise_training
from loopmark.bench.records.files import replace_file
from loopmark.bench.records.training import Training, TrainingSamples
from loopmark.bench.report.pages import html_page, markdown_page
from loopmark.bench.report.plot_files import draw_plots, unwritable_folder, with_case_figures
from loopmark.bench.report.table import csv_of, ends, picked
from loopmark.bench.report.training_table import Starts, contents
from loopmark.bench.report.training_words import converged_at_step, evidence, rounding

if TYPE_CHECKING:
    from loopmark.bench.report import style

TRAINING_CSV = "training.csv"


def draw_training(folder: Path, training: Training, samples: TrainingSamples) -> TrainingSummary:
    """Judge ``training`` and write its pages, table and plots into ``folder``, which holds no timed run."""
    summary = summarise_training(training, samples)
    try:
        from loopmark.bench.report import style

        rows = [row for workload in summary.workloads for row in workload.rows]
        baseline = {row.label for row in rows if row.is_baseline}
        styles = style.line_styles(((row.label, row.repeat) for row in rows), baseline)
        names = [workload.workload for workload in summary.workloads]
        drawn = draw_plots(folder / "plots", names, training_figures(summary, samples, styles, {}))
        plots = with_case_figures(drawn, (), summary)
        said = contents(summary, plots)
        replace_file(folder / TRAINING_CSV, training_as_csv(summary))
        replace_file(folder / "report.md", markdown_page("training_report.md.jinja", said))
        replace_file(folder / "report.html", html_page("training.html.jinja", said, plots))
    except OSError as error:
        raise unwritable_folder(folder, error) from None
    return summary


def training_figures(
    summary: TrainingSummary, samples: TrainingSamples, styles: "dict[str, style.LineStyle]", starts: Starts
) -> Iterator[tuple[str, str, Callable[[], Any]]]:
    """The plots of a training: workload, stem, and a function that makes the figure."""
    from loopmark.bench.report import trend_plots

    for workload in summary.workloads:
        yield workload.workload, "quality", partial(trend_plots.quality, workload, summary, samples, styles, starts)
        yield workload.workload, "training", partial(trend_plots.losses, workload, summary, samples, styles)


Cell = str | int | float | None

# Fields of a case's ``Learning``, with three columns each.
_ESTIMATES = ("quality", "steps", "seconds", "joules", "steps_ratio", "seconds_ratio")


def record(row: TrainedRow, workload: TrainedWorkload, start_seconds: float | None = None) -> dict[str, Cell]:
    """One case in base units; None for a value not measured or unbounded."""
    equivalence, learning, ended = row.equivalence, row.learning, row.ended
    proof = equivalence.proof
    worst = equivalence.first or equivalence.furthest
    cells: dict[str, Cell] = {
        "workload": row.workload,
        "loop": row.loop,
        "repeat": "yes" if row.repeat else "no",
        "status": ended.status if ended else proof.status,
        "reason": ended.reason if ended else proof.reason,
        "verdict": equivalence.verdict,
        "evidence": evidence(row),
        "precision": rounding(equivalence) if proof.bits else None,
        "compared_steps": proof.steps,
        "same_steps": proof.same_steps,
        "step": worst.step if worst else None,
        "kind": worst.kind if worst else None,
        "layer": worst.layer if worst else None,
        "error": finite(worst.error) if worst else None,
        "allowed_error": worst.allowed if worst else None,
        "metric": workload.target.metric if workload.target else None,
        "target": workload.target.value if workload.target else None,
        "seeds": len(learning.trials) if learning else None,
        "seeds_that_learn": learning.learns if learning else None,
        "seeds_at_target": learning.reached if learning else None,
        "loss": learning.loss if learning else None,
        "start_seconds": (learning.start_seconds if start_seconds is None else start_seconds) if learning else None,
        "converged_at_step": converged_at_step(learning) if learning else None,
        "diverged_at_step": learning.diverged.trial.diverged_at_step if learning and learning.diverged else None,
        "skipped_steps": learning.skipped_steps if learning else None,
        "final_scale": learning.trials[-1].trial.final_scale if learning and learning.trials else None,
    }
    for name in _ESTIMATES:
        heading = name if name.endswith("ratio") or name == "quality" else f"{name}_to_target"
        cells.update(ends(heading, getattr(learning, name) if learning else None))
    return {**cells, "baseline": row.baseline}


def training_as_csv(summary: TrainingSummary) -> str:
    """The whole table, one row for each case."""
    return csv_of([record(row, workload) for workload in summary.workloads for row in workload.rows])


def training_as_json(summary: TrainingSummary, starts: Starts) -> dict[str, Any]:
    """The summary as strict JSON values in base units, and each seed of each case."""
    training = summary.training
    return {
        "baseline": training.plan.baseline,
        **picked(training, "seeds", "until", "budget_seconds", "interrupted", "warnings"),
        "workloads": [
            {
                "workload": workload.workload,
                "cases": [
                    {**record(row, workload, starts.get((row.workload, row.loop))), "trials": _trials(row)}
                    for row in workload.rows
                ],
            }
            for workload in summary.workloads
        ],
    }


def _trials(row: TrainedRow) -> list[dict[str, Any]]:
    return [
        {
            **picked(one.trial, "seed", "ending", "steps", "converged_at_step", "diverged_at_step", "divergence"),
            **picked(one.trial, "skipped_steps", "final_scale"),
            **picked(one, "learns", "quality", "best_quality", "start_seconds"),
            **picked(one, "steps_to_target", "seconds_to_target", "joules_to_target"),
            "looks": [asdict(look) for look in one.evaluations],
        }
        for one in (row.learning.trials if row.learning else ())
    ]
