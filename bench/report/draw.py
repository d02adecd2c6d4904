"""A run's folder made readable: ``summary.csv``, ``report.md`` and ``plots/``, all derived."""

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from bench.errors import BadInput
from bench.judge.statistics import Estimate
from bench.judge.summary import Summary, WorkloadSummary, summarise
from bench.records.run import Run
from bench.records.samples import Samples
from bench.records.store import replace_file
from bench.report import spreadsheet
from bench.report.markdown import Plot, page
from bench.report.takeaway import takeaway
from bench.report.text import slugs

PLOTS = {
    "phases": "Seconds a step in each phase, stacked, for every loop",
    "speedup": "Speedup of every loop with its interval",
    "breakeven": "Time since the start over the baseline's, as steps go by",
    "steps": "Step time of every loop over the rounds of the run",
    "losses": "Loss of every loop over its steps",
}
"""File name stem of each plot and what it shows, in the order of the page."""


def draw(folder: Path, run: Run, samples: Samples) -> Summary:
    """Judge ``run`` and write what a person reads into ``folder``; an earlier drawing's plots are removed."""
    summary = summarise(run, samples)
    try:
        plots = _draw_plots(folder / "plots", summary, samples)
        # A lone surrogate is how Python holds a name that is not UTF-8; it is kept as its escape.
        replace_file(folder / "summary.csv", spreadsheet.as_csv(summary).encode(errors="backslashreplace"))
        replace_file(folder / "report.md", page(summary, samples, plots).encode())
    except OSError as error:
        raise BadInput(f"cannot write {error.filename or folder}: {error.strerror}; copy the run elsewhere") from None
    return summary


def as_json(summary: Summary) -> dict[str, Any]:
    """The summary as strict JSON values in base units; None where nothing was measured or bounds it."""
    return {
        "run": summary.run.name,
        "started": summary.run.started,
        "machine": summary.run.machine.name,
        "device": summary.run.plan.device,
        "interrupted": summary.run.interrupted,
        "takeaway": takeaway(summary),
        "warnings": list(summary.run.warnings),
        "workloads": [
            {
                "workload": workload.workload,
                "noise_floor": workload.noise_floor,
                "instrumentation": _estimate(workload.instrumentation),
                "cases": [
                    {
                        **spreadsheet.record(row, workload),
                        "host_phases": row.host_phases,
                        "device_phases": row.device_phases,
                    }
                    for row in workload.rows
                ],
            }
            for workload in summary.workloads
        ],
    }


def _estimate(estimate: Estimate | None) -> dict[str, float | None] | None:
    if estimate is None:
        return None
    return {part: value if math.isfinite(value) else None for part, value in asdict(estimate).items()}


def _draw_plots(folder: Path, summary: Summary, samples: Samples) -> list[Plot]:
    # Drawing is the only command that needs matplotlib, which takes longer to import than all the rest.
    from bench.report import style

    if folder.is_symlink():
        raise BadInput(f"{folder} is a link; remove it, since plots are written to the run's own folder")
    folder.mkdir(exist_ok=True)
    for stem in PLOTS:
        for old in (*folder.glob(f"{stem}-*.png"), *folder.glob(f"{stem}-*.svg")):
            old.unlink()
    slug = slugs(workload.workload for workload in summary.workloads)
    drawn = []
    with style.styled():
        for workload in summary.workloads:
            for stem, figure_of in _figures(summary, workload, samples):
                figure = figure_of()
                if figure is None:
                    continue
                name = f"{stem}-{slug[workload.workload]}"
                replace_file(folder / f"{name}.png", style.save(figure, "png"))
                replace_file(folder / f"{name}.svg", style.save(figure, "svg"))
                drawn.append(Plot(workload.workload, f"{name}.svg", f"{PLOTS[stem]}, on {workload.workload}"))
    return drawn


def _figures(summary: Summary, workload: WorkloadSummary, samples: Samples) -> Iterator[tuple[str, Callable[[], Any]]]:
    from bench.report import courses, plots, style

    styles = style.line_styles(summary)
    cases = courses.case_indices(summary, workload)
    yield "phases", partial(plots.phases, workload)
    yield "speedup", partial(plots.speedup, workload)
    yield "breakeven", partial(plots.break_even, workload, styles)
    yield "steps", partial(courses.step_times, workload, cases, samples, styles)
    yield "losses", partial(courses.losses, workload, cases, samples, styles)
