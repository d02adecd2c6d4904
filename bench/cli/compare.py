"""``loopmark compare``: runs side by side."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from loopmark.bench.cli.options import OnlyOption, names
from loopmark.bench.cli.status import RESULTS


def compare(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Run folders, or folders with runs in them, at any depth.")
    ],
    workload: OnlyOption = None,
    loop: OnlyOption = None,
    out: Annotated[
        Path, typer.Option(help="The folder that gets compare.html, .md, .csv, before_after.csv and the plots.")
    ] = RESULTS / "comparison",
    as_json: Annotated[bool, typer.Option("--json", help="Print the comparison as JSON, and only that.")] = False,
) -> None:
    """Put runs side by side, the newest of each machine, or those of one machine before and after. Needs no torch.

    What differs between their environments, and between their work, is named first. A run that cannot be read is named
    and left out. Exit status: 0 whatever is found, 2 for bad input.
    """
    from loopmark.bench.cli.entrants import Reader
    from loopmark.bench.cli.warning_list import Warnings
    from loopmark.bench.progress import RunProgress, stderr_console
    from loopmark.bench.report.compare_files import as_json as to_json
    from loopmark.bench.report.compare_files import write_comparison
    from loopmark.bench.report.compare_table import print_comparison
    from loopmark.bench.report.text import plain

    console = stderr_console()
    gathered = Warnings()
    with RunProgress(console) as progress:
        reader = Reader(names(workload), names(loop), gathered, progress.hint)
        reader.look_for(runs)
        found = reader.compare()
        warnings = gathered.lines()
        progress.hint("drawing", 1.0)
        write_comparison(out, found, warnings)
    for warning in warnings:
        console.print(f"warning: {plain(warning)}", style="yellow", markup=False, highlight=False, soft_wrap=True)
    if as_json:
        content: dict[str, Any] = {"out": str(out), "warnings": warnings, **to_json(found)}
        print(json.dumps(content, indent=2, allow_nan=False))
    else:
        print_comparison(found)
        console.print(f"Comparison: {out / 'compare.html'}", markup=False, highlight=False, soft_wrap=True)
