"""The derived files of a folder: pages, ``summary.csv`` of a run, ``training.csv`` of a training, and ``plots/``."""

import math
from dataclasses import asdict
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from loopmark.bench.judge.summary import Summary, summarise
from loopmark.bench.judge.training import TrainedRow, TrainedWorkload, TrainingSummary, summarise_training
from loopmark.bench.records.ceilings import Ceilings
from loopmark.bench.records.files import replace_file
from loopmark.bench.records.run import Run
from loopmark.bench.records.samples import Samples
from loopmark.bench.records.training import Training, TrainingSamples
from loopmark.bench.records.watching import read_steps
from loopmark.bench.report.cards import choice_record
from loopmark.bench.report.ceilings import roofline_record
from loopmark.bench.report.cells import loading_record
from loopmark.bench.report.figures import as_csv, record
from loopmark.bench.report.pages import write_pages
from loopmark.bench.report.plot_files import Figures, case_figures, draw_plots, redrawing
from loopmark.bench.report.run_tables import page_context
from loopmark.bench.report.table import csv_of, ends, picked, strict
from loopmark.bench.report.takeaway import takeaway
from loopmark.bench.report.text import grouped
from loopmark.bench.report.training_table import Starts, contents, starts_of
from loopmark.bench.report.training_words import converged_at_step, evidence, rounding

if TYPE_CHECKING:
    from loopmark.bench.report import style

TRAINING_CSV = "training.csv"


def draw(
    folder: Path,
    run: Run,
    samples: Samples,
    trained: tuple[Training, TrainingSamples] | None = None,
    ceilings: Ceilings | None = None,
) -> Summary:
    """Judge ``run``, with its training and its device's ceilings if present, and write its pages and plots."""
    steps = read_steps(folder) if run.watched else None
    summary = summarise(run, samples, summarise_training(*trained) if trained else None, ceilings, steps)
    with redrawing(folder):
        figures = _figures(summary, samples, trained[1] if trained else None, ceilings)
        plots = draw_plots(folder / "plots", figures, case_figures(summary.workloads, summary.trained))
        replace_file(folder / "summary.csv", as_csv(summary))
        if summary.trained is not None:
            replace_file(folder / TRAINING_CSV, training_as_csv(summary.trained))
        write_pages(folder, "report", "run.jinja", page_context(summary, samples, plots, ceilings), plots)
    return summary


def draw_training(folder: Path, training: Training, samples: TrainingSamples) -> TrainingSummary:
    """Judge ``training`` and write its pages, table and plots into ``folder``, which holds no timed run."""
    summary = summarise_training(training, samples)
    with redrawing(folder):
        from loopmark.bench.report import style

        rows = [row for workload in summary.workloads for row in workload.rows]
        baseline = {row.label for row in rows if row.is_baseline}
        styles = style.line_styles(((row.label, row.repeat) for row in rows), baseline)
        figures = _training_figures(summary, samples, styles, {})
        plots = draw_plots(folder / "plots", figures, case_figures((), summary))
        replace_file(folder / TRAINING_CSV, training_as_csv(summary))
        write_pages(folder, "report", "training.jinja", contents(summary, plots), plots)
    return summary


def as_json(summary: Summary) -> dict[str, Any]:
    """The summary as strict JSON values in base units; None for a value not measured or unbounded."""
    return {
        "run": summary.run.name,
        "machine": summary.run.machine.name,
        **picked(summary.run.plan, "device", "baseline"),
        **picked(summary.run, "started", "interrupted", "warnings"),
        "takeaway": takeaway(summary),
        "training": training_as_json(summary.trained, starts_of(summary)) if summary.trained else None,
        "workloads": [
            {
                "workload": workload.workload,
                "noise_floor": workload.noise_floor,
                "choice": choice_record(workload),
                "instrumentation": strict(asdict(workload.instrumentation)) if workload.instrumentation else None,
                "cases": [
                    {
                        **record(row, workload),
                        **picked(row, "host_phases", "device_phases"),
                        "roofline": roofline_record(row),
                        "loading": loading_record(row),
                        "bounds": {name: asdict(bound) for name, bound in row.bounds.items()},
                    }
                    for row in workload.rows
                ],
            }
            for workload in summary.workloads
        ],
    }


def _fastest_first(summary: Summary) -> list[str]:
    """The labels of loops that have a speedup, sorted by its geometric mean over the workloads."""
    known = [(row.case.label, row.speedup.value) for row in summary.rows if row.speedup]
    logs = grouped((label, math.log(speedup)) for label, speedup in known if 0 < speedup < math.inf)
    return sorted(logs, key=lambda label: -fmean(logs[label]))


def _figures(
    summary: Summary, samples: Samples, training: TrainingSamples | None, ceilings: Ceilings | None
) -> Figures:
    from loopmark.bench.report import capacity_plots, plots, style, trajectories

    labels = ((row.case.label, row.case.repeat) for row in summary.rows)
    baseline = {row.case.label for row in summary.rows if row.is_baseline}
    styles = style.line_styles(labels, baseline, _fastest_first(summary))
    in_turns = summary.run.imported_from is None
    for workload in summary.workloads:
        name, cases = workload.workload, summary.places(workload)
        yield name, "phases", partial(plots.phases, workload)
        yield name, "speedup", partial(plots.speedup, workload)
        yield name, "breakeven", partial(plots.break_even, workload, styles)
        yield name, "distribution", partial(plots.distribution, workload, cases, samples, styles)
        yield name, "steps", partial(trajectories.step_times, workload, cases, samples, styles, in_turns=in_turns)
        yield name, "losses", partial(trajectories.losses, workload, cases, samples, styles)
        yield name, "roofline", partial(capacity_plots.rooflines, workload, ceilings, styles)
    if summary.trained is not None and training is not None:
        yield from _training_figures(summary.trained, training, styles, starts_of(summary))


def _training_figures(
    summary: TrainingSummary, samples: TrainingSamples, styles: "dict[str, style.LineStyle]", starts: Starts
) -> Figures:
    """The plots of a training: workload, stem, and a function that makes the figure."""
    from loopmark.bench.report import trend_plots

    for workload in summary.workloads:
        yield workload.workload, "quality", partial(trend_plots.quality, workload, summary, samples, styles, starts)
        yield workload.workload, "training", partial(trend_plots.losses, workload, summary, samples, styles)


# Fields of a case's ``Learning``, with three columns each.
_ESTIMATES = ("quality", "steps", "seconds", "joules", "steps_ratio", "seconds_ratio")


def training_record(row: TrainedRow, workload: TrainedWorkload, start_seconds: float | None = None) -> dict[str, Any]:
    """One case in base units; None for a value not measured or unbounded."""
    equivalence, learning, ended = row.equivalence, row.learning, row.ended
    proof = equivalence.proof
    worst = equivalence.first or equivalence.furthest
    cells: dict[str, Any] = {
        **picked(row, "workload", "loop"),
        "repeat": "yes" if row.repeat else "no",
        **picked(ended or proof, "status", "reason"),
        "verdict": equivalence.verdict,
        "evidence": evidence(row),
        "precision": rounding(equivalence) if proof.bits else None,
        **picked(proof, compared_steps="steps", same_steps="same_steps"),
        **picked(worst, "step", "kind", "layer", "error", allowed_error="allowed"),
        **picked(workload.target, "metric", target="value"),
        "seeds": len(learning.trials) if learning else None,
        **picked(learning, seeds_that_learn="learns", seeds_at_target="reached", loss="loss"),
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
    return csv_of([training_record(row, workload) for workload in summary.workloads for row in workload.rows])


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
                    {**training_record(row, workload, starts.get((row.workload, row.loop))), "trials": _trials(row)}
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
