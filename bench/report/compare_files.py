"""Runs side by side as files (``compare.csv``, ``before_after.csv``, pages and plots) and as JSON."""

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import product
from operator import itemgetter
from pathlib import Path
from typing import Any

from loopmark.bench.errors import BadInput
from loopmark.bench.judge.comparison import peaks_of_memory
from loopmark.bench.judge.side_by_side import ComparedRun, Line, Shift, SideBySide, WorkloadComparison
from loopmark.bench.judge.statistics import Estimate
from loopmark.bench.judge.summary import Row
from loopmark.bench.records.files import replace_file, writing_to
from loopmark.bench.records.store import RUN_FILE
from loopmark.bench.report import cells, figures, show
from loopmark.bench.report import compare_words as words
from loopmark.bench.report.compare_table import contents
from loopmark.bench.report.pages import write_pages
from loopmark.bench.report.plot_files import Figures, draw_plots
from loopmark.bench.report.table import csv_of, ends, picked
from loopmark.bench.report.text import short

SHIFT_HEADINGS = (
    "machine", "run_before", "run_after", "workload", "loop", "unit", "before", "before_low", "before_high", "after",
    "after_low", "after_high", "ratio", "ratio_low", "ratio_high",
)  # fmt: skip


def write_comparison(folder: Path, found: SideBySide, warnings: Sequence[str] = ()) -> None:
    """Write the spreadsheets, the pages and the plots, as PNG and SVG, into ``folder``.

    Raises:
        BadInput: the folder cannot be written to, or is a run's folder, which holds measurements only.
    """
    with writing_to(folder):
        if (folder / RUN_FILE).exists():
            raise BadInput(f"{folder} is the folder of a run; choose another --out")
        folder.mkdir(parents=True, exist_ok=True)
        plots = draw_plots(folder / "plots", _figures(found), run_figures(found.workloads))
        replace_file(folder / "compare.csv", as_csv(found))
        replace_file(folder / "before_after.csv", shifts_as_csv(found))
        write_pages(folder, "compare", "compare.jinja", contents(found, folder, plots, warnings), plots)


def as_csv(found: SideBySide) -> str:
    """One row for each loop of a compared run, in base units, phases last; empty for values not measured."""
    lines = [line for comparison in found.workloads for line in comparison.lines]
    names, records = cells.phase_names(line.row for line in lines), []
    for line in lines:
        record, phases = _record(line), _phases(line)
        for name in names:
            record |= ends(f"{name}_seconds", phases.get(name))
        records.append(record)
    return csv_of(records, ("entrant", "workload", "loop"))


def shifts_as_csv(found: SideBySide) -> str:
    """One row for each loop, before and after, in base units; headings only for runs of several machines."""
    first, last = found.runs[0].run, found.runs[-1].run
    runs = {"machine": first.machine.name, "run_before": first.name, "run_after": last.name}
    return csv_of([{**runs, **_shift(shift)} for shift in found.shifts], SHIFT_HEADINGS)


def comparison_as_json(found: SideBySide) -> dict[str, Any]:
    """The comparison as strict JSON values in base units; None for a value not measured or unbounded."""
    return {
        "kind": "before and after" if found.is_over_time else "machines",
        "headline": words.headline(found),
        "notes": list(found.notes),
        "differences": words.facts(found) if len(found.runs) > 1 else {},
        "entrants": [_compared_record(compared) for compared in found.runs],
        "workloads": [
            {
                "workload": comparison.workload,
                "is_same_work": comparison.is_same_work,
                "work": words.works(comparison),
                "loops": [
                    {**_record(line), "phases": {name: ends("seconds", e) for name, e in _phases(line).items()}}
                    for line in comparison.lines
                ],
            }
            for comparison in found.workloads
        ],
        "answers": [
            {
                "workload": workload,
                "text": text,
                "places": [
                    dict(entrant=one.name, loop=row.case.loop, verdict=verdict, **ends("over_the_fastest", slower))
                    for (one, row), slower, verdict in places
                ],
            }
            for workload, text, places in words.answers(found)
        ],
        "conclusions": list(words.conclusions(found)),
        "shifts": [_shift(shift) for shift in found.shifts],
        "without_a_ratio": list(found.not_compared),
    }


def _compared_record(compared: ComparedRun) -> dict[str, Any]:
    run = compared.run
    return {
        "entrant": compared.name,
        "machine": run.machine.name,
        **picked(run.plan, "device", "threads"),
        "run": run.name,
        "folder": compared.found.folder,
        "started": compared.found.started.isoformat(),
        "torch": run.environment.torch,
        "size": run.plan.size,
    }


def _record(line: Line) -> dict[str, Any]:
    compared, row = line
    workload = compared.workload(row.case.workload)
    assert workload is not None
    peaks = peaks_of_memory(row.case)
    least = {"least_peak_memory_bytes": min(peaks) if len(peaks) > 1 else None}
    return _compared_record(compared) | figures.record(row, workload) | least


def _phases(line: Line) -> Mapping[str, Estimate]:
    return line.compared.phases.get((line.row.case.workload, line.row.case.loop), {})


def _shift(shift: Shift) -> dict[str, Any]:
    return {
        "workload": shift.workload,
        "loop": shift.loop,
        "unit": "seconds a step" if shift.is_of_seconds else "speedup over the baseline",
        **ends("before", shift.before),
        **ends("after", shift.after),
        **ends("ratio", shift.ratio),
    }


def _figures(found: SideBySide) -> Figures:
    from loopmark.bench.report.compare_plots import shares, speedups, throughput

    for comparison in found.workloads:
        yield comparison.workload, "machines", partial(throughput, comparison, found.runs)
        yield comparison.workload, "speedups", partial(speedups, comparison)
        yield comparison.workload, "shares", partial(shares, comparison)


MOST_TOLD = 3  # machines or runs in a text; tables have all


def run_figures(comparisons: Sequence[WorkloadComparison]) -> dict[tuple[str, str], str]:
    """The key figures of the plots, for ``draw_plots``."""
    told = {}
    for one, (stem, tell) in product(comparisons, _OF_PLOT.items()):
        rows = {run.name: [row for own, row in one.lines if own is run] for run in one.runs}
        said = [f"{name} {text}" for name, own in rows.items() if (text := tell(own))]
        more = [f"and {len(said) - MOST_TOLD} more"] if len(said) > MOST_TOLD else []
        told[stem, one.workload] = "; ".join(said[:MOST_TOLD] + more)
    return told


def _rates(rows: Sequence[Row]) -> str:
    known = [(row, row.samples_per_second.value) for row in rows if row.samples_per_second]
    best = sorted(known, key=itemgetter(1))[-1:]
    base = [one for one in known if one[0].is_baseline] or best
    return ", ".join(dict.fromkeys(f"{short(r.case.label)} {show.rate(rate)} a second" for r, rate in (*base, *best)))


def _speedups(rows: Sequence[Row]) -> str:
    known = sorted((row for row in rows if row.speedup), key=lambda row: -row.speedup.value if row.speedup else 0.0)
    return ", ".join(dict.fromkeys(f"{short(r.case.label)} {cells.speedup(r)}" for r in (*known[:1], *known[-1:])))


def _shares(rows: Sequence[Row]) -> str:
    base = next((row for row in rows if row.is_baseline), None)
    share = cells.shares(base.phases) if base else {}
    if base is None or not share:
        return ""
    longest = max(share, key=lambda name: share[name])
    return f"{show.percent(share[longest])} of {short(base.baseline)}'s step in {short(longest)}"


_OF_PLOT = {"machines": _rates, "speedups": _speedups, "shares": _shares}
