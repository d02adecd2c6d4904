"""What the plots of a comparison come to, for who cannot see them: of the first few machines or runs, a few figures."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from loopmark.bench.judge.comparison import BASELINE
from loopmark.bench.judge.side_by_side import ComparedRun, WorkloadComparison
from loopmark.bench.judge.summary import Row
from loopmark.bench.report import cells
from loopmark.bench.report import format as show
from loopmark.bench.report.plot_files import Plot
from loopmark.bench.report.text import elide

MOST_TOLD = 3
"""Of machines or runs; tables have all."""
NAME_LENGTH = 48


def with_key_figures(plots: Sequence[Plot], contests: Sequence[WorkloadComparison]) -> list[Plot]:
    """The plots, each with its key figures at the end of its text."""
    by_workload = {contest.workload: contest for contest in contests}
    told = []
    for plot in plots:
        said = list(_OF_PLOT[plot.stem](by_workload[plot.workload]))
        more = f"; and {len(said) - MOST_TOLD} more" if len(said) > MOST_TOLD else ""
        told.append(replace(plot, text=f"{plot.text}: {'; '.join(said[:MOST_TOLD])}{more}") if said else plot)
    return told


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
