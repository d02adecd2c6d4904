"""``loopmark export``: a stored run in the format of another tool."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from loopmark.bench.cli.tell import refuse_unwritable, write_file


def export(
    run: Annotated[Path, typer.Argument(help="A folder that `loopmark run` or `loopmark import` wrote.")],
    to: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="FORMAT",
            help="pytest-benchmark, github-action-benchmark, github-action-benchmark-bigger, bencher or openmetrics.",
        ),
    ],
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The file to write; default: standard output.")
    ] = None,
) -> None:
    """Write a stored run in a format that another tool reads. Needs no torch.

    github-action-benchmark is its customSmallerIsBetter, the one that ends in -bigger its customBiggerIsBetter.
    Verdicts, intervals and the noise floor come along wherever the format has a place for them. Exit status: 0, or 2
    for bad input.
    """
    from loopmark.bench.report.formats import export as exported
    from loopmark.bench.report.formats import writer

    writer(to)  # before anything is read
    refuse_unwritable(output)

    from loopmark.bench.judge.summary import summarise
    from loopmark.bench.judge.training import summarise_training
    from loopmark.bench.records.store import read_whole

    measured, samples, trained, ceilings = read_whole(run)
    text = exported(
        to, summarise(measured, samples, summarise_training(*trained) if trained else None, ceilings), samples
    )
    if output is not None:
        write_file(output, text.encode())
    else:
        sys.stdout.buffer.write(text.encode())  # UTF-8 whatever the terminal's encoding
        sys.stdout.flush()
