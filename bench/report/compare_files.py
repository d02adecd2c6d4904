"""Runs side by side as files: ``compare.csv``, ``before_after.csv``, pages and plots; and their JSON."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from loopmark.bench.errors import BadInput
from loopmark.bench.judge.comparison import BASELINE, peaks_of_memory
from loopmark.bench.judge.side_by_side import ComparedRun, Shift, SideBySide, WorkloadComparison
from loopmark.bench.judge.statistics import Estimate
from loopmark.bench.judge.summary import Row
from loopmark.bench.records.files import replace_file, writing_to
from loopmark.bench.records.store import RUN_FILE
from loopmark.bench.report import cells, figures
from loopmark.bench.report import compare_words as words
from loopmark.bench.report import format as show
from loopmark.bench.report.cells import phase_names
from loopmark.bench.report.compare_table import contents
from loopmark.bench.report.pages import html_page, markdown_page
from loopmark.bench.report.plot_files import Figures, Plot, draw_plots
from loopmark.bench.report.table import csv_of, ends
from loopmark.bench.report.text import elide

Cell = str | int | float | None

SHIFT_HEADINGS = (
    "machine", "run_before", "run_after", "workload", "loop", "unit", "before", "before_low", "before_high", "after",
    "after_low", "after_high", "ratio", "ratio_low", "ratio_high",
)  # fmt: skip


def write_comparison(folder: Path, found: SideBySide, warnings: Sequence[str] = ()) -> None:
    """Write the spreadsheets, the pages and the plots, as PNG and SVG, into ``folder``.

    Raises:
        BadInput: it cannot be written to, or is the folder of a run, which keeps what was measured and no more.
    """
    with writing_to(folder):
        if (folder / RUN_FILE).exists():
            raise BadInput(f"{folder} is the folder of a run; choose another --out")
        folder.mkdir(parents=True, exist_ok=True)
        workloads = [contest.workload for contest in found.workloads]
        drawn = draw_plots(folder / "plots", workloads, _figures(found))
        plots = with_key_figures(drawn, found.workloads)
        said = contents(found, plots, warnings)
        texts = {
            "compare.csv": as_csv(found),
            "before_after.csv": shifts_as_csv(found),
            "compare.md": markdown_page("compare.md.jinja", said),
            "compare.html": html_page("compare.html.jinja", said, plots),
        }
        for name, text in texts.items():
            replace_file(folder / name, text)


def as_csv(found: SideBySide) -> str:
    """One row a loop of an entrant, in base units; empty for what was not measured. Each phase's columns follow."""
    rows = [row for contest in found.workloads for loop in contest.loops for _, row in contest.rows(loop)]
    names = phase_names(rows)
    records = []
    places = [(one, loop, e) for one in found.workloads for loop in one.loops for e, _ in one.rows(loop)]
    for contest, loop, entrant in places:
        record, phases = _record(contest, loop, entrant), _phases(contest, loop, entrant)
        for name in names:
            record |= ends(f"{name}_seconds", phases.get(name))
        records.append(record)
    return csv_of(records, ("entrant", "workload", "loop"))


def shifts_as_csv(found: SideBySide) -> str:
    """One row a loop before and after, in base units; headings alone where the runs are of several machines."""
    first, last = found.runs[0].run, found.runs[-1].run
    runs = {"machine": first.machine.name, "run_before": first.name, "run_after": last.name}
    return csv_of([{**runs, **_shift(shift)} for shift in found.shifts], SHIFT_HEADINGS)


def comparison_as_json(found: SideBySide) -> dict[str, Any]:
    """The comparison as strict JSON values in base units; None where nothing was measured or bounds it."""
    return {
        "kind": "before and after" if found.is_over_time else "machines",
        "headline": words.headline(found),
        "notes": list(found.notes),
        "differences": words.facts(found) if len(found.runs) > 1 else {},
        "entrants": [_entrant(entrant) for entrant in found.runs],
        "workloads": [
            {
                "workload": contest.workload,
                "is_same_work": contest.is_same_work,
                "work": words.works(contest),
                "loops": [
                    {
                        **_record(contest, loop, entrant),
                        "phases": {name: ends("seconds", e) for name, e in _phases(contest, loop, entrant).items()},
                    }
                    for loop in contest.loops
                    for entrant, _ in contest.rows(loop)
                ],
            }
            for contest in found.workloads
        ],
        "conclusions": list(words.conclusions(found)),
        "shifts": [_shift(shift) for shift in found.shifts],
        "without_a_ratio": list(found.not_compared),
    }


def _entrant(entrant: ComparedRun) -> dict[str, Cell]:
    run = entrant.run
    return {
        "entrant": entrant.name,
        "machine": run.machine.name,
        "device": run.plan.device,
        "threads": run.plan.threads,
        "run": run.name,
        "folder": entrant.found.folder,
        "started": entrant.found.started.isoformat(),
        "torch": run.environment.torch,
        "size": run.plan.size,
    }


def _record(contest: WorkloadComparison, loop: str, entrant: ComparedRun) -> dict[str, Cell]:
    row, workload = entrant.row(contest.workload, loop), entrant.workload(contest.workload)
    assert row is not None
    assert workload is not None
    peaks = peaks_of_memory(row.case)
    least = {"least_peak_memory_bytes": min(peaks) if len(peaks) > 1 else None}
    return _entrant(entrant) | figures.record(row, workload) | least


def _phases(contest: WorkloadComparison, loop: str, entrant: ComparedRun) -> Mapping[str, Estimate]:
    return entrant.phases.get((contest.workload, loop), {})


def _shift(shift: Shift) -> dict[str, Cell]:
    return {
        "workload": shift.workload,
        "loop": shift.loop,
        "unit": "seconds a step" if shift.is_of_seconds else "speedup over the baseline",
        **ends("before", shift.before),
        **ends("after", shift.after),
        **ends("ratio", shift.ratio),
    }


def _figures(found: SideBySide) -> Figures:
    from functools import partial

    from loopmark.bench.report.compare_plots import shares, speedups, throughput

    for contest in found.workloads:
        yield contest.workload, "machines", partial(throughput, contest, found.runs)
        yield contest.workload, "speedups", partial(speedups, contest)
        yield contest.workload, "shares", partial(shares, contest)


MOST_TOLD = 3  # of machines or runs; tables have all
NAME_LENGTH = 48


def with_key_figures(plots: Sequence[Plot], contests: Sequence[WorkloadComparison]) -> list[Plot]:
    """The plots, each with its key figures at the end of its text."""
    by_workload = {contest.workload: contest for contest in contests}

    def told(plot: Plot) -> Plot:
        said = list(_OF_PLOT[plot.stem](by_workload[plot.workload]))
        more = f"; and {len(said) - MOST_TOLD} more" if len(said) > MOST_TOLD else ""
        return replace(plot, text=f"{plot.text}: {'; '.join(said[:MOST_TOLD])}{more}") if said else plot

    return [told(plot) for plot in plots]


def _rates(contest: WorkloadComparison) -> Iterator[str]:
    for entrant, rows in _by_entrant(contest):
        known = [row for row in rows if row.samples_per_second is not None]
        if known:
            best = max(known, key=lambda row: row.samples_per_second.value if row.samples_per_second else 0.0)
            base = next((row for row in known if row.case.loop == BASELINE), best)
            ends = dict.fromkeys(f"{_name(r)} {show.rate(cells.throughput(r))} a second" for r in (base, best))
            yield f"{entrant.name} {', '.join(ends)}"


def _speedups(contest: WorkloadComparison) -> Iterator[str]:
    for entrant, rows in _by_entrant(contest):
        known = sorted((row for row in rows if row.speedup), key=lambda row: -row.speedup.value if row.speedup else 0.0)
        if known:
            ends = dict.fromkeys(f"{_name(row)} {cells.speedup(row)}" for row in (known[0], known[-1]))
            yield f"{entrant.name} {', '.join(ends)}"


def _shares(contest: WorkloadComparison) -> Iterator[str]:
    for entrant, rows in _by_entrant(contest):
        base = next((row for row in rows if row.case.loop == BASELINE), None)
        share = cells.shares(base.phases) if base else {}
        if share:
            longest = max(share, key=lambda name: share[name])
            yield f"{entrant.name} {show.percent(share[longest])} of {BASELINE}'s step in {elide(longest, NAME_LENGTH)}"


def _by_entrant(contest: WorkloadComparison) -> Iterator[tuple[ComparedRun, list[Row]]]:
    for entrant in contest.runs:
        yield entrant, [row for loop in contest.loops if (row := entrant.row(contest.workload, loop)) is not None]


def _name(row: Row) -> str:
    return elide(row.case.label, NAME_LENGTH)


_OF_PLOT = {"machines": _rates, "speedups": _speedups, "shares": _shares}
