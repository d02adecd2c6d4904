"""``loopmark report``: a stored run, drawn again."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from bench.judge.summary import Summary


def report(
    run: Annotated[Path, typer.Argument(help="A folder that `loopmark run` wrote.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON, and only that.")] = False,
) -> None:
    """Draw a stored run again: summary.csv, report.md and the plots. Needs no torch."""
    from bench.progress import stderr_console
    from bench.records.store import read
    from bench.report.draw import draw

    measured, samples = read(run)
    show_summary(draw(run, measured, samples), run, as_json, stderr_console())


def show_summary(summary: "Summary", folder: Path, as_json: bool, console: "Console") -> None:
    """Print the summary as a table and a sentence, or as JSON and nothing else."""
    from bench.report.draw import as_json as to_json
    from bench.report.table import print_summary

    if as_json:
        content: dict[str, Any] = {"folder": str(folder), **to_json(summary)}
        print(json.dumps(content, indent=2, allow_nan=False))
    else:
        print_summary(summary)
        console.print(f"Report: {folder / 'report.md'}", markup=False, highlight=False, soft_wrap=True)
