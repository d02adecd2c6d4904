"""A case under names that fit every format: on one line, short and unique."""

from collections.abc import Iterable
from dataclasses import dataclass

from loopmark.bench.judge.statistics import Estimate
from loopmark.bench.judge.summary import Row, Summary, WorkloadSummary
from loopmark.bench.report import cells, show
from loopmark.bench.report.figures import Value
from loopmark.bench.report.table import ends
from loopmark.bench.report.text import Key, elide, numbered, short

WORKLOAD_LENGTH, LOOP_LENGTH = 90, 150  # letters; both fit into Bencher's 1,024 bytes, with four bytes a letter
UNNAMED = "unnamed"


@dataclass(frozen=True)
class Entry:
    """One case that was measured."""

    index: int  # of the case in its run
    workload: str
    loop: str  # the baseline's repetition is marked
    row: Row
    of: WorkloadSummary

    @property
    def name(self) -> str:
        """``resnet/compile``."""
        return f"{self.workload}/{self.loop}"

    @property
    def words(self) -> tuple[str, ...]:
        """The lines on a case: verdict, speedup with its interval, noise floor, launches and notes."""
        row = self.row
        said = (
            f"verdict: {cells.verdict(row)}",
            f"speedup over {short(self.row.baseline)}: {show.ratio_range(row.speedup)}"
            if row.speedup is not None
            else "",
            f"noise floor: {show.noise_floor(self.of.noise_floor)}",
            f"launches: {len(row.case.launches)}",
            cells.notes(row),
        )
        return tuple(filter(None, said))


def entries(summary: Summary) -> tuple[Entry, ...]:
    """Every case whose step was measured, in the run's order."""
    places = {id(case): index for index, case in enumerate(summary.run.cases)}
    workloads = distinct(((w.workload, w.workload) for w in summary.workloads), WORKLOAD_LENGTH)
    found = []
    for workload in summary.workloads:
        loops = distinct(((places[id(row.case)], row.case.label) for row in workload.rows), LOOP_LENGTH)
        for row in workload.rows:
            if row.step_seconds is not None:
                place = places[id(row.case)]
                found.append(Entry(place, workloads[workload.workload], loops[place], row, workload))
    return tuple(found)


def distinct(named: Iterable[tuple[Key, str]], length: int) -> dict[Key, str]:
    """Each key's name on one line of at most ``length`` letters, with a number if the name is taken."""

    def with_number(name: str, number: int) -> str:
        ending = f" ({number})"
        return elide(name, length - len(ending)) + ending

    return numbered(((key, elide(name, length).strip() or UNNAMED) for key, name in named), with_number)


def scaled(value: Value, size: float) -> tuple[float, tuple[float, float] | None] | None:
    """A figure in units of ``size``, with the ends of its interval if known; None for an unknown figure."""
    if isinstance(value, Estimate):
        estimate = value.map(lambda one: one / size)
        known, low, high = ends("", estimate).values()
        return None if known is None else (known, None if low is None or high is None else (low, high))
    return (value / size, None) if isinstance(value, int | float) else None
