"""The folder that imported runs are kept in, among runs that Loopmark measured."""

from dataclasses import replace
from pathlib import Path

from loopmark.bench.errors import BadInput
from loopmark.bench.records.machine import Machine
from loopmark.bench.records.run import Run
from loopmark.bench.records.samples import TABLES, Samples, typed
from loopmark.bench.records.store import RUN_FILE, folder_name, read, read_run


def machines_in(root: Path) -> list[Machine]:
    """Every machine under ``root`` on which Loopmark itself measured a run."""
    return [machine for folder in sorted(root.glob("*")) if (machine := _machine(folder)) is not None]


def kept_before(root: Path, run: Run, samples: Samples) -> Path | None:
    """The folder under ``root`` that holds this very run, imported before; None where there is none."""
    stamp = folder_name(run.started)
    for file in sorted((root / run.machine.name).glob(f"{stamp}*/{RUN_FILE}")):
        try:
            kept, rows = read(file.parent)
        except BadInput:
            continue
        # The files may have been given by another path, which is in the command alone.
        same = replace(kept, name=run.name, plan=replace(kept.plan, command=run.plan.command)) == run
        if same and all(typed(name, getattr(rows, name)).equals(getattr(samples, name)) for name in TABLES):
            return file.parent
    return None


def _machine(folder: Path) -> Machine | None:
    """Of the newest run in a machine's folder that can be read."""
    for file in sorted(folder.glob(f"*/{RUN_FILE}"), reverse=True):
        try:
            run = read_run(file.parent)
        except BadInput:
            continue
        if run.imported_from is None:
            return run.machine
    return None
