"""A history of runs: in words, on the terminal, and as CSV, JSON, pages and plots."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from itertools import starmap
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from loopmark.bench.errors import BadInput
from loopmark.bench.judge.history import Change, Point, Series, SeriesSubject, Suspicion, by_subject, suspicions
from loopmark.bench.judge.side_by_side import number_alike
from loopmark.bench.judge.statistics import Estimate, finite
from loopmark.bench.records.files import replace_file, writing_to
from loopmark.bench.records.store import RUN_FILE
from loopmark.bench.report import show
from loopmark.bench.report.cells import work
from loopmark.bench.report.pages import write_pages
from loopmark.bench.report.plot_files import Figures, Plot, draw_plots
from loopmark.bench.report.table import (
    GAP,
    NAME_WIDTH,
    Cell,
    Column,
    Table,
    as_wide_as,
    csv_of,
    ends,
    figure,
    linked,
    picked,
    print_lines,
    table_of,
)
from loopmark.bench.report.text import elide, plain, short, slugs

LONGEST = 400  # letters of the changes at a run; a reinstalled machine has very many
MOST_LISTED = 400  # runs on a page; history.csv has all
Named = Mapping[str, tuple[Series, ...]]  # the series of each subject, by its name on the page


def where(subject: SeriesSubject) -> str:
    """``amd-epyc-2-core-749cb0: cpu, 2 threads, small, batch of 64, data 0e117e``: the facts that its runs share."""
    threads = "" if subject.threads is None else f"{subject.threads} thread{'' if subject.threads == 1 else 's'}, "
    instructions = "" if subject.instructions is None else f"{subject.instructions}, "
    return plain(f"{subject.machine}: {subject.device}, {threads}{instructions}{work(subject)}")


def span(series: Sequence[Series]) -> str:
    """``30 runs, 2026-11-01 to 2026-11-30``."""
    runs = {point.folder: point.started for one in series for point in one.points}
    first, last = (f"{day:%Y-%m-%d}" for day in (min(runs.values()), max(runs.values())))
    days = first if first == last else f"{first} to {last}"
    return f"{len(runs)} run{'' if len(runs) == 1 else 's'}, {days}"


def signed(change: Change) -> str:
    """``-8.0 %``: the change of the loop's speed relative to the baseline, in per cent of its speed."""
    share = change.ratio.value - 1
    return f"{'+' if share > 0 else '-'}{show.percent(abs(share))}"


def happened(change: Change) -> str:
    """``slower by 8.0 % since 20261120-101010: 1.21x [1.20, 1.22] → 1.11x [1.10, 1.12]``."""
    direction = "faster" if change.is_improvement else "slower"
    size = show.percent(abs(change.ratio.value - 1))
    levels = f"{show.ratio_range(change.before)} → {show.ratio_range(change.after)}"
    return f"{direction} by {size} since {plain(change.point.run.name)}: {levels}"


def came_with(change: Change) -> str:
    """The changes of the environment at that run, or its revision if nothing else changed."""
    if change.differences:
        return elide("; ".join(change.differences), LONGEST)
    environment = change.point.run.environment
    revision = f"revision {environment.code}" if environment.code else "revision unknown"
    return plain(f"{revision} and torch {environment.torch}, as before")


def changes(series: Series) -> str:
    """``none``, ``2``, or ``too few runs``."""
    if not series.is_long_enough:
        return "too few runs"
    return str(len(series.changes)) if series.changes else "none"


def suspected(suspicion: Suspicion) -> str:
    """The warning that the baseline may have changed, where many loops changed at one run."""
    became, baseline = ("faster", "slower") if suspicion.is_improvement else ("slower", "faster")
    return (
        f"{suspicion.loops} of {suspicion.of} loops became {became} at {plain(suspicion.run)}: "
        f"{short(suspicion.subject.baseline)} itself may have become {baseline}"
    )


INDEX = ("workload", "newest run", "fastest loop then", "speedup", "changes", "loops", "runs", "setting")
CHANGE = ("loop", "since", "became", "by", "came with", "revision", "before", "after")
NOTHING = "no run measured a loop beside its baseline: there is no ratio to follow"
FILE_WIDTH = 110
INDENT = "    "
COLUMNS: tuple[Column[Series], ...] = (
    Column("runs", lambda one: figure(str(len(one.points)), len(one.points))),
    Column("first", lambda one: _speedup(one.points[0]), left=True, lost=1),
    Column("latest", lambda one: _speedup(one.points[-1]), left=True),
    Column("changes", changes, left=True),
)


def _speedup(point: Point) -> Cell:
    return figure(show.ratio_range(point.speedup), point.speedup)


def print_history(series: tuple[Series, ...], console: Console | None = None) -> None:
    """Print every subject's loops, as wide as the terminal; a file counts as ``FILE_WIDTH`` wide."""
    console = as_wide_as(console, FILE_WIDTH)
    if not series:
        console.print(NOTHING, markup=False)
    for number, (subject, alike) in enumerate(by_subject(series).items()):
        if number:
            console.print()
        print_lines(_subject(subject, alike, console.width), console)


def _subject(subject: SeriesSubject, alike: tuple[Series, ...], width: int) -> Iterator[Text]:
    head = Text(elide(subject.workload, NAME_WIDTH), "bold")
    yield head.append(f"{GAP}{where(subject)}; {span(alike)}; speedups over {short(subject.baseline)}", "not bold dim")
    table = Table(COLUMNS, alike).in_terminal((one.loop for one in alike), width)
    yield from table.headings()
    for one in alike:
        yield table.line(one.loop, one)
        for change in one.changes:
            yield Text(INDENT + happened(change), "green" if change.is_improvement else "red")
            yield Text(f"{INDENT}{INDENT}{came_with(change)}", "dim")
    yield from table.rest("history.csv")
    yield from (Text(suspected(found), "yellow") for found in suspicions(alike))


def write_history(
    folder: Path, series: tuple[Series, ...], warnings: Sequence[str] = (), addresses: Mapping[str, str] | None = None
) -> None:
    """Write ``history.csv``, the pages, and a plot of each subject, as PNG and SVG, into ``folder``.

    Args:
        addresses: the web pages of revisions.
    """
    with writing_to(folder):
        if (folder / RUN_FILE).exists():
            raise BadInput(f"{folder} is the folder of a run; choose another --out")
        folder.mkdir(parents=True, exist_ok=True)
        replace_file(folder / "history.csv", as_csv(series))
        subjects = by_subject(series)
        names = number_alike([f"{short(one.workload)} on {one.machine}" for one in subjects])
        named = dict(zip(names, subjects.values(), strict=True))
        plots = draw_plots(folder / "plots", _figures(named))
        context = {"warnings": warnings, **contents(named, folder, plots, addresses or {})}
        write_pages(folder, "history", "history.jinja", context, plots)


def contents(named: Named, folder: Path, plots: Sequence[Plot], addresses: Mapping[str, str]) -> dict[str, Any]:
    """The context of the pages in ``folder``: plain text, tables and plots; a part without content is empty."""
    found = {point.folder: point for alike in named.values() for one in alike for point in one.points}
    newest = sorted(found.values(), key=lambda point: (point.started, point.run.name), reverse=True)

    def run(point: Point) -> Cell:
        return linked(point.run.name, point.folder, folder)

    def revision(point: Point) -> Cell:
        known = point.run.environment.code or show.ABSENT
        return Cell(known, link=addresses.get(known, ""), whole=True)

    def software(point: Point) -> Sequence[Cell | str]:
        torch = point.run.environment.torch or show.ABSENT
        return run(point), f"{point.started:%Y-%m-%d %H:%M}", point.run.machine.name, revision(point), torch

    def changed(series: Series, change: Change) -> Sequence[Cell | str]:
        direction = "faster" if change.is_improvement else "slower"
        levels = (figure(show.ratio_range(level), level) for level in (change.before, change.after))
        by = figure(signed(change), change.ratio)
        return series.loop, run(change.point), direction, by, came_with(change), revision(change.point), *levels

    def section(name: str, alike: tuple[Series, ...]) -> dict[str, Any]:
        pairs = [(one, change) for one in alike for change in one.changes]
        pairs.sort(key=lambda pair: pair[1].point.started, reverse=True)
        return {
            "name": name,
            "shared": f"{where(alike[0].subject)}; {span(alike)}",
            "loops": Table((Column[Series]("loop", lambda one: one.loop), *COLUMNS), alike),
            "changes": table_of(CHANGE, starmap(changed, pairs)),
            "suspicions": list(map(suspected, suspicions(alike))),
            "plots": [plot for plot in plots if plot.workload == name],
        }

    ids, more = slugs(named), len(newest) - MOST_LISTED
    return {
        "headline": span([one for alike in named.values() for one in alike]) if named else NOTHING,
        "workloads": [section(name, alike) for name, alike in named.items()],
        "index": table_of(INDEX, (_index_row(name, alike, ids[name]) for name, alike in named.items())),
        "runs": table_of(("run", "started (UTC)", "machine", "revision", "torch"), map(software, newest[:MOST_LISTED])),
        "more": f"{more} older runs are in history.csv" if more > 0 else "",
    }


def _index_row(name: str, alike: tuple[Series, ...], place: str) -> Sequence[Cell | str]:
    """A subject with the loop that was the fastest in its newest run, the baseline if no other was."""
    last = max(one.points[-1].started for one in alike)
    there = [one for one in alike if one.points[-1].started == last]
    best = max(there, key=lambda one: one.points[-1].speedup.value)
    runs, changed = len({point.folder for one in alike for point in one.points}), sum(len(one.changes) for one in alike)
    counts = (figure(str(count), count) for count in (changed, len(alike), runs))
    is_ahead = best.points[-1].speedup.low > 1  # else its report claims nothing
    fastest = (best.loop, _speedup(best.points[-1])) if is_ahead else (best.subject.baseline, show.ABSENT)
    return Cell(name, link=f"#{place}"), figure(f"{last:%Y-%m-%d}"), *fastest, *counts, where(alike[0].subject)


def as_csv(series: tuple[Series, ...]) -> str:
    """One row for each point, with its level; ``change`` is set where a new level begins."""
    rows = [_record(one, i) for one in series for i in range(len(one.points))]
    return csv_of(rows, ("machine", "workload", "loop", "run", "speedup"))


def history_as_json(series: tuple[Series, ...]) -> dict[str, Any]:
    """The history as strict JSON values; None for a value not measured or unbounded."""
    return {
        "series": [
            {
                **_subject_record(one.subject),
                "loop": one.loop,
                "noise": one.noise,
                "points": [_point(point) for point in one.points],
                "levels": [
                    {"first": one.points[at.start].run.name, "runs": at.end - at.start, **_figure(at.speedup)}
                    for at in one.levels
                ],
                "changes": [_change(change) for change in one.changes],
            }
            for one in series
        ],
        "suspicions": [
            {"workload": found.subject.workload, "machine": found.subject.machine, "text": suspected(found)}
            for found in suspicions(series)
        ],
    }


def _record(series: Series, at: int) -> dict[str, Any]:
    level = next(level for level in series.levels if level.start <= at < level.end)
    change = next((change for change in series.changes if change.at == at), None)
    return {
        **_subject_record(series.subject),
        "loop": series.loop,
        **_point(series.points[at]),
        **ends("level", level.speedup),
        "change": finite(change.ratio.value) if change else None,
    }


def _subject_record(subject: SeriesSubject) -> dict[str, Any]:
    facts = asdict(subject)
    newest = {name: facts.pop(name) for name in ("instructions", "baseline")}  # the newest columns come last
    return {**facts, **newest}


def _point(point: Point) -> dict[str, Any]:
    return {
        "run": point.run.name,
        "folder": point.folder,
        "started": point.started.isoformat(),
        **picked(point.run.environment, "loopmark", "torch", revision="code"),
        "launches": point.launches,
        **ends("speedup", point.speedup),
    }


def _change(change: Change) -> dict[str, Any]:
    point = _point(change.point)
    return {
        **{name: point[name] for name in ("run", "folder", "started", "revision", "torch")},
        "direction": "faster" if change.is_improvement else "slower",
        "before": _figure(change.before),
        "after": _figure(change.after),
        "ratio": _figure(change.ratio),
        "differences": list(change.differences),
    }


def _figure(estimate: Estimate) -> dict[str, float | None]:
    return dict(zip(("value", "low", "high"), ends("", estimate).values(), strict=True))


def _figures(named: Named) -> Figures:
    from loopmark.bench.report.trend_plots import history

    for name, alike in named.items():
        yield name, "history", partial(history, alike)
