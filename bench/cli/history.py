"""``loopmark history``: many runs, one figure, and where it changed."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.cli.options import OnlyOption, is_same_loop, names, refuse_unknown
from bench.errors import BadInput

if TYPE_CHECKING:
    from bench.judge.history import Observation
    from bench.records.run import Run

Wanted = tuple[str, ...]


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

    Runs of different machines, devices, batch sizes, threads or data are never mixed. A run that cannot be read is
    named and left out. Exit status: 0 whatever is found, 2 for bad input.
    """
    from bench.judge.history import series_of
    from bench.progress import RunProgress, stderr_console
    from bench.records.search import run_folders
    from bench.report.history.files import as_json as to_json
    from bench.report.history.files import write_history
    from bench.report.history.table import print_history
    from bench.report.text import plain

    console = stderr_console()
    warnings: list[str] = []
    folders = run_folders(folder, warnings.append)
    with RunProgress(console) as progress:
        found = Finder(names(workload), names(loop), warnings.append)
        observations = list(found.observations(folders, progress.tell))
    found.check()
    for warning in warnings:
        console.print(f"warning: {plain(warning)}", style="yellow", markup=False, highlight=False, soft_wrap=True)
    series = series_of(observations)
    kept = out if out is not None else folder / "history"
    if out is None and kept.is_symlink():
        raise BadInput(f"{kept} is a link; remove it, or choose another place with --out")
    write_history(kept, series)
    if as_json:
        content: dict[str, Any] = {"folder": str(folder), "out": str(kept), "runs": found.read, "warnings": warnings}
        print(json.dumps({**content, **to_json(series)}, indent=2, allow_nan=False))
    else:
        print_history(series)
        console.print(f"Plots and history.csv: {kept}", markup=False, highlight=False, soft_wrap=True)


class Finder:
    """Reads runs one by one, so that only one run's samples are in memory, and keeps what was asked for."""

    def __init__(self, workloads: Wanted, loops: Wanted, warn: Callable[[str], None]) -> None:
        self._workloads, self._loops, self._warn = workloads, loops, warn
        self._named: dict[str, set[str]] = {"workload": set(), "loop": set()}
        self._digests: dict[str, Path] = {}
        self._first_mistake: BadInput | None = None
        self.read = 0

    def observations(
        self, folders: list[Path], tell: Callable[[str, float, float | None], None]
    ) -> "Iterator[Observation]":
        """Every loop's ratio in every run; a run that cannot be read is a warning."""
        for number, folder in enumerate(folders):
            tell(f"reading {folder.name}", number / len(folders), None)
            try:
                yield from self._run(folder)
            except BadInput as error:
                self._first_mistake = self._first_mistake or error
                self._warn(f"left out: {error}")

    def check(self) -> None:
        """Raises BadInput where no run could be read, or none of them has a name that was asked for."""
        if not self.read and self._first_mistake is not None:
            raise self._first_mistake
        refuse_unknown("workload", self._workloads, self._named["workload"])
        refuse_unknown("loop", self._loops, self._named["loop"])

    def _run(self, folder: Path) -> "list[Observation]":
        from hashlib import sha256

        from bench.judge.history import lost, measured, observe
        from bench.records.store import RUN_FILE, read_run, read_table

        run = read_run(folder)
        digest = sha256((folder / RUN_FILE).read_bytes()).hexdigest()
        if digest in self._digests:
            self._warn(f"left out: {folder} is a copy of {self._digests[digest]}")
            return []
        self._named["workload"] |= {case.workload for case in run.cases}
        self._named["loop"] |= {case.loop for case in run.cases}
        seen: list[Observation] = []
        blocks, no_longer_training = read_table(folder, "blocks", run), lost(read_table(folder, "losses", run))
        for workload in self._wanted_workloads(run):
            places = measured(run, workload)
            if not places:
                self._warn(f"{folder}: {workload} has no ratio there, since eager was not measured")
                continue
            base, *others = places
            if base in no_longer_training:
                self._warn(f"{folder}: {workload} is left out, since eager's loss was not finite")
                continue
            wanted = [
                i for i in others if not self._loops or any(is_same_loop(n, run.cases[i].loop) for n in self._loops)
            ]
            for i in (i for i in wanted if i in no_longer_training):
                self._warn(f"{folder}: {run.cases[i].loop} on {workload} is left out, since its loss was not finite")
            kept = [i for i in wanted if i not in no_longer_training]
            seen += observe(run, blocks[blocks["case"].isin([base, *kept])], workload, str(folder))
        # Only now: the copy of a run that could not be read may be whole.
        self._digests[digest] = folder
        self.read += 1
        return seen

    def _wanted_workloads(self, run: "Run") -> list[str]:
        present = dict.fromkeys(case.workload for case in run.cases)
        return [w for w in present if not self._workloads or w in self._workloads]
