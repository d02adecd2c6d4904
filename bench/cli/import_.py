"""``loopmark import``: another tool's file as a run that can be shown, checked and followed."""

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer


def import_(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="pytest-benchmark's JSON, one file a launch.")],
    baseline: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The benchmark that the others are compared with; it is named eager then."),
    ] = None,
    out: Annotated[Path, typer.Option(help="The folder that gets the run, by machine.")] = Path("results"),
) -> None:
    """Make a run of pytest-benchmark's files, with their rounds as blocks. Needs no torch.

    Each file is one launch, so give several of the same benchmarks to get intervals. A benchmark's group, or else its
    file, is the workload, and its name is the loop. What the files do not tell stays unknown. Files that were imported
    before make no second run. Exit status: 0, or 2 for bad input.
    """
    from loopmark.bench.judge.comparison import BASELINE
    from loopmark.bench.progress import stderr_console
    from loopmark.bench.records.imported import kept_before, machines_in, run_of
    from loopmark.bench.records.pytest_benchmark import read_stored
    from loopmark.bench.records.store import create_folder, write
    from loopmark.bench.report.text import plain

    command = ["loopmark", "import", *map(str, files), *(["--baseline", baseline] if baseline is not None else [])]
    stored = [read_stored(file) for file in files]
    run, samples = run_of(stored, baseline, BASELINE, shlex.join(command), machines_in(out))
    folder = before = kept_before(out, run, samples)
    if folder is None:
        folder = create_folder(out, run.machine.name, run.started)
        write(folder, replace(run, name=folder.name), samples)
    console = stderr_console()
    for warning in run.warnings:
        console.print(f"warning: {plain(warning)}", style="yellow", markup=False, highlight=False, soft_wrap=True)
    kept = "Was imported before; it is" if before else "Kept"
    console.print(f"{kept} in {folder}; see: loopmark report {folder}", markup=False, highlight=False, soft_wrap=True)
