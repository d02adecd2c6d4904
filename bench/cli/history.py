"""``loopmark history``: many runs, one figure, and where it changed."""

from pathlib import Path
from typing import Annotated

import typer

from loopmark.bench.cli import options
from loopmark.bench.cli.invocation import print_json, print_warnings
from loopmark.bench.cli.options import names
from loopmark.bench.errors import BadInput


def history(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder with runs in it, at any depth.")],
    workload: options.Only = None,
    loop: options.Only = None,
    out: Annotated[Path | None, options.out("the plots and history.csv; default: DIR/history")] = None,
    as_json: Annotated[bool, options.json_of("the history")] = False,
) -> None:
    """Follow each loop's speedup over eager through many runs, and say at which runs it changed. Needs no torch.

    Runs of different machines, devices, sizes, batch sizes, threads, instructions or data are never mixed. A run that
    cannot be read is named and left out. Exit status: 0 whatever is found, 2 for bad input.
    """
    from loopmark.bench.cli.runs import Selection, observations_of
    from loopmark.bench.judge.history import series_of
    from loopmark.bench.progress import RunProgress, StderrConsole
    from loopmark.bench.records.store import run_folders
    from loopmark.bench.report.history import history_as_json, print_history, write_history

    console = StderrConsole()
    warnings: list[str] = []
    folders = run_folders(folder, warnings.append)
    with RunProgress(console) as progress:
        selection = Selection(names(workload), names(loop))
        observations, count = observations_of(folders, selection, warnings.append, progress.hint)
    print_warnings(console, warnings)
    series = series_of(observations)
    kept = out if out is not None else folder / "history"
    if out is None and kept.is_symlink():
        raise BadInput(f"{kept} is a link; remove it, or choose another place with --out")
    write_history(kept, series)
    if as_json:
        told = {"folder": str(folder), "out": str(kept), "runs": count, "warnings": warnings}
        print_json({**told, **history_as_json(series)})
    else:
        print_history(series)
        console.note(f"Plots and history.csv: {kept}")
