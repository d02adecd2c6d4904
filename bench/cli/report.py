"""``loopmark report``: a stored run, drawn again."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from loopmark.bench.cli import options
from loopmark.bench.cli.invocation import print_json
from loopmark.bench.progress import StderrConsole
from loopmark.bench.records.batch_sizes import BatchSizes, read_batch_sizes

if TYPE_CHECKING:
    from loopmark.bench.judge.summary import Summary
    from loopmark.bench.judge.training import TrainingSummary


def report(
    run: Annotated[Path, typer.Argument(help="A folder that `loopmark run`, `train` or `import` wrote.")],
    as_json: options.SummaryJson = False,
) -> None:
    """Draw a stored run, training or search for a batch size again: tables, pages and plots. Needs no torch.

    Of a damaged folder what is left is drawn, with a warning of what is not known. Exit status: 0, or 2 for bad input.
    """
    from loopmark.bench.records.store import RUN_FILE, salvage
    from loopmark.bench.records.training import read_training

    console = StderrConsole()
    is_timed = os.path.lexists(run / RUN_FILE)  # a link to nowhere is a damaged run, and no training alone
    search = None if is_timed else read_batch_sizes(run)
    if search is not None:
        show_batches(search, run, as_json, console)
    elif not is_timed and (trained := read_training(run)) is not None:
        from loopmark.bench.report.training_files import draw_training

        show_training(draw_training(run, *trained), run, as_json, console)
    else:
        from loopmark.bench.report.draw import draw

        show_summary(draw(run, *salvage(run)), run, as_json, console)


def show_summary(summary: "Summary", folder: Path, as_json: bool, console: StderrConsole) -> None:
    """Print the summary as a table and a sentence, or as JSON and nothing else."""
    from loopmark.bench.report import draw
    from loopmark.bench.report.run_tables import print_summary

    if as_json:
        print_json({"folder": str(folder), **draw.as_json(summary)})
    else:
        print_summary(summary)
        console.note(f"Report: {folder / 'report.html'}")


def show_training(summary: "TrainingSummary", folder: Path, as_json: bool, console: StderrConsole) -> None:
    """Print a training by itself in the same way."""
    from loopmark.bench.report.training_files import training_as_json
    from loopmark.bench.report.training_table import print_training

    if as_json:
        print_json({"folder": str(folder), **training_as_json(summary, {})})
    else:
        print_training(summary)
        console.note(f"Report: {folder / 'report.html'}")


def show_batches(search: BatchSizes, folder: Path, as_json: bool, console: StderrConsole) -> None:
    """Write a search's spreadsheet and plots, and print it in the same way."""
    from loopmark.bench.judge.batches import find
    from loopmark.bench.report.batch_table import batches_as_json, print_batches, write_batches

    findings = [find(case) for case in search.cases]
    write_batches(folder, findings)
    if as_json:
        print_json({"folder": str(folder), **batches_as_json(findings)})
    else:
        print_batches(findings)
        console.note(f"Kept in {folder}")
