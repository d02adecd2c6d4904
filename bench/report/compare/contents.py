"""What the pages on runs side by side say, section by section, before anyone lays it out."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from loopmark.bench.judge.side_by_side import ComparedRun, Shift, SideBySide, WorkloadComparison
from loopmark.bench.judge.statistics import Estimate
from loopmark.bench.judge.summary import Row, is_baseline
from loopmark.bench.report import cells, rooflines
from loopmark.bench.report import format as show
from loopmark.bench.report.cells import phase_names
from loopmark.bench.report.compare import words as words
from loopmark.bench.report.plot_files import Plot
from loopmark.bench.report.table import Cell, Table, figure, table_of
from loopmark.bench.report.training import words as training


def contents(found: SideBySide, plots: Sequence[Plot], warnings: Sequence[str]) -> dict[str, Any]:
    """What the templates are given: plain text, tables, plots. What has nothing to say is empty."""
    facts = words.facts(found) if len(found.runs) > 1 else {}
    names = [entrant.name for entrant in found.runs]
    return {
        "headline": words.headline(found),
        "notes": found.notes,
        "warnings": warnings,
        "facts": table_of(["", *names], ([name, *values] for name, values in facts.items()), figures=False),
        "conclusions": [] if found.is_over_time else list(words.conclusions(found)),
        "is_over_time": found.is_over_time and found.have_something_in_common,
        "ask": words.ASK_FOR_A_VERDICT,
        "shifts": _shifts(found.shifts),
        "not_compared": found.not_compared,
        "workloads": [_section(contest, plots) for contest in found.workloads],
        "legend": words.LEGEND,
        "runs": _runs(found.runs),
    }


def _section(contest: WorkloadComparison, plots: Sequence[Plot]) -> dict[str, Any]:
    return {
        "name": contest.workload,
        "work": words.works(contest),
        "table": _table(contest),
        "noise": words.noise(contest),
        "remarks": [{"name": name, "text": text} for name, text in [*words.endings(contest), *words.remarks(contest)]],
        "plots": [plot for plot in plots if plot.workload == contest.workload],
        "phases": _phases(contest),
    }


def _table(contest: WorkloadComparison) -> Table[Any]:
    rows = [(loop, entrant, row) for loop in contest.loops for entrant, row in contest.rows(loop)]
    headings = [
        "loop", "on", "speedup", "verdict", "step", "samples/s", "trains as eager", "peak memory",
        "energy a step", "of its ceiling", "MFU",
    ]  # fmt: skip
    return table_of(headings, (_cells(loop, entrant, row) for loop, entrant, row in rows))


def _cells(loop: str, entrant: ComparedRun, row: Row) -> list[Cell]:
    rate, roofline = row.samples_per_second, row.roofline
    return [
        Cell(loop, strong=is_baseline(row.case)),
        Cell(entrant.name, whole=True),
        figure(cells.speedup(row), 1.0 if is_baseline(row.case) else row.speedup),
        Cell(cells.verdict(row) if row.step_seconds is not None else cells.status(row)),
        figure(show.seconds_range(row.step_seconds), row.step_seconds),
        figure(show.rate_range(rate), rate),
        Cell(training.verdict(row.trained), whole=True),
        figure(words.memory(row), row.peak_memory_bytes),
        figure(show.joules(row.joules_per_step), row.joules_per_step),
        figure(rooflines.reached(row), roofline.share if roofline else None),
        figure(rooflines.utilisation(row), roofline.utilisation if roofline else None),
    ]


def _phases(contest: WorkloadComparison) -> Table[Any]:
    rows = [(loop, e, row) for loop in contest.loops for e, row in contest.rows(loop) if row.phases]
    names = phase_names([row for _, _, row in rows])
    return table_of(
        ["loop", "on", *names],
        (
            [
                Cell(loop, strong=is_baseline(row.case)),
                Cell(entrant.name, whole=True),
                *(_phase(name, row, entrant.phases.get((contest.workload, loop), {})) for name in names),
            ]
            for loop, entrant, row in rows
        ),
    )


def _phase(name: str, row: Row, estimates: Mapping[str, Estimate]) -> Cell:
    return figure(words.phase(name, row, estimates), estimates.get(name))


def _shifts(shifts: Sequence[Shift]) -> Table[Any]:
    def cell(estimate: Estimate, *, seconds: bool = False) -> Cell:
        return figure((show.seconds_range if seconds else show.ratio_range)(estimate), estimate)

    rows: Iterator[list[Cell | str]] = (
        [
            Cell(s.loop, strong=s.is_of_seconds), s.workload,
            *(cell(side, seconds=s.is_of_seconds) for side in (s.before, s.after)), cell(s.ratio),
        ]
        for s in shifts
    )  # fmt: skip
    return table_of(["loop", "workload", "speedup, or eager's step, before", "after", "times as fast"], rows)


def _runs(entrants: Sequence[ComparedRun]) -> Table[Any]:
    rows = (
        [e.name, e.run.machine.name, e.run.plan.device, str(e.run.plan.threads), e.run.name, e.found.folder]
        for e in entrants
    )
    return table_of(["name", "machine", "device", "threads", "run", "folder"], rows, figures=False)
