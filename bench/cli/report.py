"""``loopmark report``: redraw a stored run."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from loopmark.bench.cli import options
from loopmark.bench.cli.invocation import print_json
from loopmark.bench.progress import StderrConsole
from loopmark.bench.records.batch_sizes import BatchSizes, read_batch_sizes

if TYPE_CHECKING:
    from loopmark.bench.judge.summary import Summary
    from loopmark.bench.judge.training import TrainingSummary
    from loopmark.bench.records.run import Status

DRAWING = "drawing the report"


def report(
    run: Annotated[Path, options.run("Draw this folder, written by `loopmark run`, `train` or `import`.", drawn=True)],
    as_json: options.SummaryJson = False,
) -> None:
    """Redraw a stored run, training or batch size search. Needs no torch.
    Its tables, pages and plots are written anew. A damaged folder is drawn without its missing parts, with a warning.

    Exit status: 0, or 2 for bad input.
    """
    from loopmark.bench.records.store import RUN_FILE, salvage
    from loopmark.bench.records.training import read_training

    console = StderrConsole()
    is_timed = os.path.lexists(run / RUN_FILE)  # a broken link is a damaged run, not a training
    search = None if is_timed else read_batch_sizes(run)
    if search is not None:
        show_batches(search, run, as_json, console)
    elif not is_timed and (trained := read_training(run)) is not None:
        from loopmark.bench.report.draw import draw_training

        with console.waiting(DRAWING):
            training = draw_training(run, *trained)
        show_training(training, run, as_json, console)
    else:
        from loopmark.bench.report.draw import draw

        with console.waiting(DRAWING):
            summary = draw(run, *salvage(run))
        show_summary(summary, run, as_json, console)


def show_summary(summary: "Summary", folder: Path, as_json: bool, console: StderrConsole) -> None:
    """Print the summary as a table and a sentence, or as JSON alone."""
    from loopmark.bench.report import draw
    from loopmark.bench.report.run_tables import print_summary

    if as_json:
        print_json({"folder": str(folder), **draw.as_json(summary)})
    else:
        print_summary(summary)
        _note_files(folder, {row.case.status for row in summary.rows}, console)


def show_training(summary: "TrainingSummary", folder: Path, as_json: bool, console: StderrConsole) -> None:
    from loopmark.bench.report.draw import training_as_json
    from loopmark.bench.report.training_table import print_training

    if as_json:
        print_json({"folder": str(folder), **training_as_json(summary, {})})
    else:
        print_training(summary)
        _note_files(folder, summary.training.statuses, console)


def show_batches(search: BatchSizes, folder: Path, as_json: bool, console: StderrConsole) -> None:
    """Write the spreadsheet and plots of a batch size search, and print it in the same way."""
    from loopmark.bench.judge.batches import find
    from loopmark.bench.report.batch_table import batches_as_json, print_batches, write_batches

    findings = [find(case) for case in search.cases]
    write_batches(folder, findings)
    if as_json:
        print_json({"folder": str(folder), **batches_as_json(findings)})
    else:
        print_batches(findings)
        console.note(f"Kept in {folder}")
        note_logs(folder, {case.status for case in search.cases}, console)


def _note_files(folder: Path, statuses: "set[Status]", console: StderrConsole) -> None:
    console.note(f"Report: {folder / 'report.html'}")
    note_logs(folder, statuses, console)


def note_logs(folder: Path, statuses: "set[Status]", console: StderrConsole) -> None:
    """Print the place of the logs if a case failed."""
    if {"failed", "timed_out"} & statuses and (folder / "logs").is_dir():
        console.note(f"Logs: {folder / 'logs'}")
