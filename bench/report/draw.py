"""The derived files of a run's folder: ``report.html``, ``report.md``, ``summary.csv`` and ``plots/``."""

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

from loopmark.bench.judge.summary import Summary, summarise
from loopmark.bench.judge.training import summarise_training
from loopmark.bench.records.ceilings import Ceilings
from loopmark.bench.records.files import replace_file
from loopmark.bench.records.run import Run
from loopmark.bench.records.samples import Samples
from loopmark.bench.records.training import Training, TrainingSamples
from loopmark.bench.report.ceilings import roofline_record
from loopmark.bench.report.figures import as_csv, record
from loopmark.bench.report.loading import loading_record
from loopmark.bench.report.pages import html_page, markdown_page
from loopmark.bench.report.plot_files import draw_plots, unwritable_folder, with_case_figures
from loopmark.bench.report.run_tables import page_context
from loopmark.bench.report.table import picked, strict
from loopmark.bench.report.takeaway import takeaway
from loopmark.bench.report.text import grouped
from loopmark.bench.report.training_files import TRAINING_CSV, training_as_csv, training_as_json, training_figures
from loopmark.bench.report.training_table import starts_of


def draw(
    folder: Path,
    run: Run,
    samples: Samples,
    trained: tuple[Training, TrainingSamples] | None = None,
    ceilings: Ceilings | None = None,
) -> Summary:
    """Judge ``run``, with its training and its device's ceilings if present, and write its pages and plots."""
    summary = summarise(run, samples, summarise_training(*trained) if trained else None, ceilings)
    try:
        figures = _figures(summary, samples, trained[1] if trained else None, ceilings)
        drawn = draw_plots(folder / "plots", (workload.workload for workload in summary.workloads), figures)
        plots = with_case_figures(drawn, summary.workloads, summary.trained)
        replace_file(folder / "summary.csv", as_csv(summary))
        if summary.trained is not None:
            replace_file(folder / TRAINING_CSV, training_as_csv(summary.trained))
        said = page_context(summary, samples, plots, ceilings)
        replace_file(folder / "report.md", markdown_page("report.md.jinja", said))
        replace_file(folder / "report.html", html_page("run.html.jinja", said, plots))
    except OSError as error:
        raise unwritable_folder(folder, error) from None
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
) -> Iterator[tuple[str, str, Callable[[], Any]]]:
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
        yield name, "distribution", partial(plots.distribution, workload, cases, samples)
        yield name, "steps", partial(trajectories.step_times, workload, cases, samples, styles, in_turns=in_turns)
        yield name, "losses", partial(trajectories.losses, workload, cases, samples, styles)
        yield name, "roofline", partial(capacity_plots.rooflines, workload, ceilings, styles)
    if summary.trained is not None and training is not None:
        yield from training_figures(summary.trained, training, styles, starts_of(summary))
