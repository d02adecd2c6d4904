"""``loopmark export`` and ``import``: runs in the formats of other tools."""

import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from loopmark.bench.cli import options
from loopmark.bench.cli.invocation import print_warnings, refuse_unwritable, write_file
from loopmark.bench.cli.options import RESULTS
from loopmark.bench.progress import StderrConsole


def export(
    run: Annotated[Path, options.run("Export the run in this folder, written by `loopmark run` or `import`.")],
    to: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="FORMAT",
            help="Write pytest-benchmark, bencher, github-action-benchmark, "
            "github-action-benchmark-bigger or openmetrics.",
        ),
    ],
    output: Annotated[Path | None, options.value("FILE", "Write to this file. Default: standard output.")] = None,
) -> None:
    """Write a stored run in a format that another tool reads. Needs no torch.
    github-action-benchmark is that tool's customSmallerIsBetter; with -bigger, its customBiggerIsBetter.
    Verdicts, intervals and the noise floor are included where the format has a field for them.

    Exit status: 0, or 2 for bad input.
    """
    from loopmark.bench.report import formats

    formats.writer(to)  # before anything is read
    refuse_unwritable(output)

    from loopmark.bench.judge.summary import summarise
    from loopmark.bench.judge.training import summarise_training
    from loopmark.bench.records.store import read_whole

    measured, samples, trained, ceilings = read_whole(run)
    training = summarise_training(*trained) if trained else None
    text = formats.export(to, summarise(measured, samples, training, ceilings), samples)
    if output is not None:
        write_file(output, text.encode())
    else:
        sys.stdout.buffer.write(text.encode())  # UTF-8 whatever the terminal's encoding
        sys.stdout.flush()


def import_(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="Read these JSON files of pytest-benchmark, one per launch.")
    ],
    baseline: Annotated[str | None, options.value("NAME", "Compare the other benchmarks with this one.")] = None,
    out: Annotated[Path, options.out("<machine>/<run>/")] = RESULTS,
) -> None:
    """Import pytest-benchmark's files as a run. Needs no torch. Their rounds become blocks.
    Each file is one launch: give several files of the same benchmarks to get intervals. The benchmark's name is the
    loop; its group, or else its file, is the workload. Missing facts stay unknown. A second import adds no run.

    Exit status: 0, or 2 for bad input.
    """
    from loopmark.bench.records.imported import kept_before, machines_in, run_of
    from loopmark.bench.records.pytest_benchmark import read_stored
    from loopmark.bench.records.store import create_folder, write

    command = ["loopmark", "import", *map(str, files), *(["--baseline", baseline] if baseline is not None else [])]
    stored = [read_stored(file) for file in files]
    run, samples = run_of(stored, baseline, shlex.join(command), machines_in(out))
    folder = before = kept_before(out, run, samples)
    if folder is None:
        folder = create_folder(out, run.machine.name, run.started)
        write(folder, replace(run, name=folder.name), samples)
    console = StderrConsole()
    print_warnings(console, run.warnings)
    console.note(f"{'Was imported before; it is' if before else 'Kept'} in {folder}; see: loopmark report {folder}")
