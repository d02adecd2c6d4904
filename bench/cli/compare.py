"""``loopmark compare`` and ``history``: runs side by side, and runs over time."""

from pathlib import Path
from typing import Annotated

import typer

from loopmark.bench.cli import options
from loopmark.bench.cli.invocation import print_json, print_warnings
from loopmark.bench.cli.options import RESULTS, names
from loopmark.bench.errors import BadInput
from loopmark.bench.progress import RunProgress, StderrConsole


def compare(
    runs: Annotated[list[Path], options.run("Compare the runs in these folders, at any depth.", "RUN...")],
    workload: options.Only = None,
    loop: options.Only = None,
    out: Annotated[Path, options.out("compare.html, .md, .csv, before_after.csv and the plots")] = (
        RESULTS / "comparison"
    ),
    as_json: Annotated[bool, options.json_of("the comparison")] = False,
) -> None:
    """Compare stored runs of several machines, or of one over time. Needs no torch.
    Each machine is represented by its newest run. Differences of environment and of work come first.
    A run that cannot be read is named and left out.

    Exit status: 0 whatever is found, 2 for bad input.
    """
    from loopmark.bench.cli.runs import Reader, Selection
    from loopmark.bench.report.compare_files import comparison_as_json, write_comparison
    from loopmark.bench.report.compare_table import print_comparison

    console = StderrConsole()
    with RunProgress(console) as progress:
        found, warnings = Reader(Selection(names(workload), names(loop)), progress.hint).compare(runs)
        progress.hint("drawing", 1.0)
        write_comparison(out, found, warnings)
    print_warnings(console, warnings)
    if as_json:
        print_json({"out": str(out), "warnings": warnings, **comparison_as_json(found)})
    else:
        print_comparison(found)
        console.note(f"Comparison: {out / 'compare.html'}")


def history(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Read the runs in this folder, at any depth.")],
    workload: options.Only = None,
    loop: options.Only = None,
    out: Annotated[Path | None, options.out("the plots and history.csv. Default: DIR/history")] = None,
    as_json: Annotated[bool, options.json_of("the history")] = False,
) -> None:
    """Find the runs at which a loop's speedup changed. Needs no torch.
    Runs of different machines, devices, sizes, batch sizes, threads, instructions, data or baselines are never mixed.
    A run that cannot be read is named and left out.

    Exit status: 0 whatever is found, 2 for bad input.
    """
    from loopmark.bench.cli.runs import Reader, Selection
    from loopmark.bench.judge.history import series_of
    from loopmark.bench.report.history import history_as_json, print_history, write_history

    console = StderrConsole()
    with RunProgress(console) as progress:
        reader = Reader(Selection(names(workload), names(loop)), progress.hint)
        observations, count, warnings = reader.history(folder)
    print_warnings(console, warnings)
    series = series_of(observations)
    kept = out if out is not None else folder / "history"
    if out is None and kept.is_symlink():
        raise BadInput(f"{kept} is a link; remove it, or choose another folder with --out")
    write_history(kept, series)
    if as_json:
        told = {"folder": str(folder), "out": str(kept), "runs": count, "warnings": warnings}
        print_json({**told, **history_as_json(series)})
    else:
        print_history(series)
        console.note(f"Plots and history.csv: {kept}")
