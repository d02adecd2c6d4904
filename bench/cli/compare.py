"""``loopmark compare``: runs side by side."""

from pathlib import Path
from typing import Annotated

import typer

from loopmark.bench.cli import options
from loopmark.bench.cli.invocation import print_json, print_warnings
from loopmark.bench.cli.options import RESULTS, names


def compare(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Run folders, or folders with runs in them, at any depth.")
    ],
    workload: options.Only = None,
    loop: options.Only = None,
    out: Annotated[Path, options.out("compare.html, .md, .csv, before_after.csv and the plots")] = (
        RESULTS / "comparison"
    ),
    as_json: Annotated[bool, options.json_of("the comparison")] = False,
) -> None:
    """Put runs side by side, the newest of each machine, or those of one machine before and after. Needs no torch.

    What differs between their environments, and between their work, is named first. A run that cannot be read is named
    and left out. Exit status: 0 whatever is found, 2 for bad input.
    """
    from loopmark.bench.cli.runs import Reader, Selection, Warnings
    from loopmark.bench.progress import RunProgress, StderrConsole
    from loopmark.bench.report.compare_files import comparison_as_json, write_comparison
    from loopmark.bench.report.compare_table import print_comparison

    console = StderrConsole()
    gathered = Warnings()
    with RunProgress(console) as progress:
        reader = Reader(Selection(names(workload), names(loop)), gathered, progress.hint)
        reader.look_for(runs)
        found = reader.compare()
        warnings = gathered.lines()
        progress.hint("drawing", 1.0)
        write_comparison(out, found, warnings)
    print_warnings(console, warnings)
    if as_json:
        print_json({"out": str(out), "warnings": warnings, **comparison_as_json(found)})
    else:
        print_comparison(found)
        console.note(f"Comparison: {out / 'compare.html'}")
