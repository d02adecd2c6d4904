"""``loopmark history``: many runs, one figure, and where it changed."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from loopmark.bench.cli.options import OnlyOption, names
from loopmark.bench.errors import BadInput


def history(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder with runs in it, at any depth.")],
    workload: OnlyOption = None,
    loop: OnlyOption = None,
    out: Annotated[
        Path | None, typer.Option(help="The folder that gets the plots and history.csv; default: DIR/history.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the history as JSON, and only that.")] = False,
) -> None:
    """Follow each loop's speedup over eager through many runs, and say at which runs it changed. Needs no torch.

    Runs of different machines, devices, sizes, batch sizes, threads, instructions or data are never mixed. A run that
    cannot be read is named and left out. Exit status: 0 whatever is found, 2 for bad input.
    """
    from loopmark.bench.cli.observed import Finder
    from loopmark.bench.judge.history import series_of
    from loopmark.bench.progress import RunProgress, stderr_console
    from loopmark.bench.records.store import run_folders
    from loopmark.bench.report.history.files import as_json as to_json
    from loopmark.bench.report.history.files import write_history
    from loopmark.bench.report.history.table import print_history
    from loopmark.bench.report.text import plain

    console = stderr_console()
    warnings: list[str] = []
    folders = run_folders(folder, warnings.append)
    with RunProgress(console) as progress:
        found = Finder(names(workload), names(loop), warnings.append)
        observations = found.observations(folders, progress.hint)
    for warning in warnings:
        console.print(f"warning: {plain(warning)}", style="yellow", markup=False, highlight=False, soft_wrap=True)
    series = series_of(observations)
    kept = out if out is not None else folder / "history"
    if out is None and kept.is_symlink():
        raise BadInput(f"{kept} is a link; remove it, or choose another place with --out")
    write_history(kept, series)
    if as_json:
        content: dict[str, Any] = {"folder": str(folder), "out": str(kept), "runs": found.count, "warnings": warnings}
        print(json.dumps({**content, **to_json(series)}, indent=2, allow_nan=False))
    else:
        print_history(series)
        console.print(f"Plots and history.csv: {kept}", markup=False, highlight=False, soft_wrap=True)
