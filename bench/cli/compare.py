"""``loopmark compare``, ``history`` and ``runs``: stored runs side by side, over time, and each with its conclusion."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from loopmark.bench.cli import options
from loopmark.bench.cli.invocation import print_json, print_warnings
from loopmark.bench.cli.options import RESULTS, names
from loopmark.bench.cores import over_cores
from loopmark.bench.errors import BadInput
from loopmark.bench.progress import RunProgress, StderrConsole
from loopmark.bench.report.text import elide, plain


def compare(
    runs: Annotated[list[Path], options.run("Compare the runs in these folders, at any depth.", "RUN...")],
    workload: options.Only = None,
    loop: options.Only = None,
    out: Annotated[Path, options.out("compare.html, .md, .csv, before_after.csv and the plots")] = (
        RESULTS / "comparison"
    ),
    as_json: Annotated[bool, options.json_of("the comparison")] = False,
) -> None:
    """Compare stored runs of several machines, or of one over time. Needs no torch.
    Each machine is represented by its newest run. Differences of environment and of work come first.
    A run that cannot be read is named and left out.

    Exit status: 0 whatever is found, 2 for bad input.
    """
    from loopmark.bench.cli.runs import Reader, Selection
    from loopmark.bench.report.compare_files import comparison_as_json, write_comparison
    from loopmark.bench.report.compare_table import print_comparison

    console = StderrConsole()
    with RunProgress(console) as progress:
        found, warnings = Reader(Selection(names(workload), names(loop)), progress.hint).compare(runs)
        progress.hint("drawing", 1.0)
        write_comparison(out, found, warnings)
    print_warnings(console, warnings)
    if as_json:
        print_json({"out": str(out), "warnings": warnings, **comparison_as_json(found)})
    else:
        print_comparison(found)
        console.note(f"Comparison: {out / 'compare.html'}")


def history(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Read the runs in this folder, at any depth.")],
    workload: options.Only = None,
    loop: options.Only = None,
    out: Annotated[Path | None, options.out("history.html, .md, .csv and the plots. Default: DIR/history")] = None,
    as_json: Annotated[bool, options.json_of("the history")] = False,
) -> None:
    """Find the runs at which a loop's speedup changed. Needs no torch.
    Runs of different machines, devices, sizes, batch sizes, threads, instructions, data or baselines are never mixed.
    A run that cannot be read is named and left out.

    Exit status: 0 whatever is found, 2 for bad input.
    """
    from loopmark.bench.cli.repository import web_addresses
    from loopmark.bench.cli.runs import Reader, Selection
    from loopmark.bench.judge.history import series_of
    from loopmark.bench.report.history import history_as_json, print_history, write_history

    console = StderrConsole()
    with RunProgress(console) as progress:
        reader = Reader(Selection(names(workload), names(loop)), progress.hint)
        observations, count, warnings = reader.history(folder)
    print_warnings(console, warnings)
    series = series_of(observations)
    kept = out if out is not None else folder / "history"
    if out is None and kept.is_symlink():
        raise BadInput(f"{kept} is a link; remove it, or choose another folder with --out")
    revisions = {point.run.environment.code or "" for one in series for point in one.points}
    write_history(kept, series, warnings, web_addresses(revisions))
    if as_json:
        told = {"folder": str(folder), "out": str(kept), "runs": count, "warnings": warnings}
        print_json({**told, **history_as_json(series)})
    else:
        print_history(series)
        console.note(f"History: {kept / 'history.html'}")


NAMES_LENGTH = 200  # of a run's workloads, and of its loops


def runs(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="List the runs in this folder, at any depth.")
    ] = RESULTS,
    most: Annotated[int, typer.Option(min=1, help="List this many of the newest.")] = 20,
    as_json: Annotated[bool, options.json_of("the list")] = False,
) -> None:
    """List the stored runs, newest first, with their conclusions. Needs no torch.
    A run's name works wherever a command takes its folder: latest, latest~1 for the one before, or a unique beginning
    of the folder's name. For `report`, trainings and batch size searches, which are not listed, have names as well.

    Exit status: 0, or 2 for bad input.
    """
    from loopmark.bench.records.store import LATEST, newest_first, run_folders
    from loopmark.bench.report.table import as_wide_as, print_lines

    if folder == RESULTS and not folder.exists():  # nobody gave it
        raise BadInput(f"{RESULTS} is not a folder here, so there are no runs yet; make one: loopmark run --quick")
    warnings: list[str] = []
    places = newest_first(run_folders(folder, warnings.append))
    print_warnings(StderrConsole(), warnings)
    found = over_cores(stored, places[:most])
    own = folder == RESULTS  # names are of the runs in this folder
    names = [(f"{LATEST}~{number}" if number else LATEST) if own else "" for number in range(len(found))]
    if as_json:
        listed = [{"name": name, **asdict(one)} for name, one in zip(names, found, strict=True)]
        print_json({"folder": str(folder), "runs": listed, "older": len(places) - len(found)})
        return
    console = as_wide_as(None)
    for name, one in zip(names, found, strict=True):
        heading = Text.assemble(
            (name, "bold"), f"  {one.folder}", (f"  {one.started[:16].replace('T', ' ')} UTC", "dim")
        )
        what = " · ".join(elide(", ".join(some), NAMES_LENGTH) for some in (one.workloads, one.loops) if some)
        print_lines(
            [heading, *([Text(f"  {what}", "dim")] if what else []), Text(f"  {one.sentence}"), Text()], console
        )
    if older := len(places) - len(found):
        console.print(Text(f"{older} older; --most {len(places)} lists all", "dim"))


@dataclass(frozen=True)
class StoredRun:
    """A run, in words."""

    folder: str
    started: str  # UTC, ISO 8601; empty if unknown
    workloads: tuple[str, ...]
    loops: tuple[str, ...]
    sentence: str  # its conclusion, or why it cannot be read


def stored(folder: Path) -> StoredRun:
    """The run of ``folder`` in words."""
    from loopmark.bench.cli.runs import find, read_and_judge
    from loopmark.bench.report.takeaway import takeaway

    found = find(folder)
    read = found if isinstance(found, BadInput) else read_and_judge(found[0])[0]
    if isinstance(read, BadInput):
        return StoredRun(str(folder), "", (), (), f"cannot be read: {plain(str(read))}")
    cases = read.run.cases
    workloads, loops = (
        tuple(dict.fromkeys(names)) for names in zip(*((c.workload, c.loop) for c in cases), strict=True)
    )
    return StoredRun(str(folder), read.run.started, workloads, loops, takeaway(read.summary))
