"""A case under names that every format can hold: on one line, not too long, and no two alike."""

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from loopmark.bench.judge.statistics import Estimate
from loopmark.bench.judge.summary import Row, Summary, WorkloadSummary
from loopmark.bench.report import cells
from loopmark.bench.report import format as show
from loopmark.bench.report.figures import Value
from loopmark.bench.report.table import ends, finite
from loopmark.bench.report.text import elide

WORKLOAD_LENGTH, LOOP_LENGTH = 90, 150
"""In letters. Together they stay below Bencher's 1,024 bytes, even where each letter takes four."""
UNNAMED = "unnamed"

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Entry:
    """One case that was measured."""

    index: int
    """Of the case in its run."""
    workload: str
    loop: str
    """The loop's name; the baseline's repetition is marked."""
    row: Row
    of: WorkloadSummary

    @property
    def name(self) -> str:
        """``resnet/compile``."""
        return f"{self.workload}/{self.loop}"

    @property
    def words(self) -> tuple[str, ...]:
        """What may be said of it, a line each: its verdict, its speedup with the interval, and the noise floor."""
        said = [f"verdict: {cells.verdict(self.row)}"]
        if self.row.speedup is not None:
            said.append(f"speedup over eager: {show.ratio_range(self.row.speedup)}")
        said.append(f"noise floor: {show.noise_floor(self.of.noise_floor)}")
        said.append(f"launches: {len(self.row.case.launches)}")
        if notes := cells.notes(self.row):
            said.append(notes)
        return tuple(said)


def entries(summary: Summary) -> tuple[Entry, ...]:
    """Every case whose step was measured, in the run's order."""
    places = {id(case): index for index, case in enumerate(summary.run.cases)}
    workloads = distinct(((w.workload, w.workload) for w in summary.workloads), WORKLOAD_LENGTH)
    found = []
    for workload in summary.workloads:
        loops = distinct(((places[id(row.case)], row.case.label) for row in workload.rows), LOOP_LENGTH)
        for row in workload.rows:
            place = places[id(row.case)]
            if row.step_seconds is not None:
                found.append(Entry(place, workloads[workload.workload], loops[place], row, workload))
    return tuple(found)


def distinct(named: Iterable[tuple[Key, str]], length: int) -> dict[Key, str]:
    """For each key its name on one line of at most ``length`` letters, with a number where another has it already."""
    given: dict[Key, str] = {}
    taken: set[str] = set()
    for key, raw in named:
        if key in given:
            continue
        name = elide(raw, length).strip() or UNNAMED
        number, candidate = 2, name
        while candidate in taken:
            ending = f" ({number})"
            candidate, number = elide(name, length - len(ending)) + ending, number + 1
        taken.add(candidate)
        given[key] = candidate
    return given


def scaled(value: Value, size: float) -> tuple[float, tuple[float, float] | None] | None:
    """A figure in units of ``size``, with the ends of its interval where they are known; None where it is not."""
    if isinstance(value, Estimate):
        estimate = value.map(lambda one: one / size)
        low, high = (ends("it", estimate)[f"it_{end}"] for end in ("low", "high"))
        known = finite(estimate.value)
        return None if known is None else (known, None if low is None or high is None else (low, high))
    return (value / size, None) if isinstance(value, int | float) else None
