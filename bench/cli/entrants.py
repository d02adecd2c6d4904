"""Runs that are to be compared: found, told apart, and read as far as that takes."""

from collections.abc import Callable, Iterable
from pathlib import Path

from loopmark.bench.cli.judged import Judged, Reading, find, judge, side_of
from loopmark.bench.cli.options import is_same_loop, refuse_unknown
from loopmark.bench.cli.warning_list import Warnings
from loopmark.bench.cores import over_cores
from loopmark.bench.errors import BadInput
from loopmark.bench.judge.comparison import BASELINE
from loopmark.bench.judge.machine_names import LONGEST, apart, machine_names
from loopmark.bench.judge.side_by_side import (
    ComparedRun,
    FoundRun,
    SideBySide,
    WorkloadComparison,
    by_setting,
    compare_workloads,
    shifts,
)
from loopmark.bench.records.run import Run
from loopmark.bench.records.store import run_folders
from loopmark.bench.report.compare.words import named
from loopmark.bench.report.text import elide

MOST_MACHINES = 8
"""Side by side; more could not be told apart in a plot."""
MOST_RUNS = 6
"""Of one machine: the oldest, and the newest of the others. More are a history."""


class Reader:
    """Reads what is asked for; of many runs only those that are shown in full.

    Args:
        workloads: that are wanted; all where there is none.
        loops: likewise, with their techniques in any order.
        warnings: gets what is left out, and why.
        tell: is told what is being done, and what fraction of it is done.
    """

    def __init__(
        self,
        workloads: tuple[str, ...],
        loops: tuple[str, ...],
        warnings: Warnings,
        tell: Callable[[str, float], None],
    ) -> None:
        self._workloads, self._loops, self._warnings, self._tell = workloads, loops, warnings, tell
        self._found: list[FoundRun] = []
        self._mistakes: list[BadInput] = []
        self._readings: dict[str, Reading] = {}
        """By folder."""

    def look_for(self, places: Iterable[Path]) -> None:
        """Find the runs at and under ``places``; each counts once. Raises BadInput where there is none to read."""
        folders = self._folders(places)
        found = over_cores(find, folders, lambda done: self._tell("reading the runs", 0.5 * done))
        digests: dict[str, Path] = {}
        for folder, one in zip(folders, found, strict=True):
            if isinstance(one, BadInput):
                self._leave_out(folder, one)
            elif (digest := one[1]) in digests:
                self._warnings.add(f"left out: it is a copy of {digests[digest]}", folder)
            else:
                self._found.append(one[0])
                digests[digest] = folder
        self._expect(self._found)

    def compare(self) -> SideBySide:
        """What was found, side by side. Raises BadInput where nothing of it has a name that was asked for."""
        runs = [found.run for found in self._found]
        refuse_unknown("workload", self._workloads, {case.workload for run in runs for case in run.cases})
        refuse_unknown("loop", self._loops, {case.loop for run in runs for case in run.cases})
        wanted = [found for found in self._found if self._has_what_is_wanted(found.run)]
        if not wanted:
            raise BadInput("no run has such a loop on such a workload; ask for one of the two alone")
        if without := [found.folder for found in self._found if found not in wanted]:
            self._warnings.add(f"left out, with nothing of what is asked for: {named(without)}")
        groups = by_setting(wanted)
        return self._course(*groups.values()) if len(groups) == 1 else self._machines(list(groups.values()))

    def _course(self, runs: list[FoundRun]) -> SideBySide:
        self._read_ahead([runs[0], *runs[1 - MOST_RUNS :]])
        newest = self._read(runs[::-1], MOST_RUNS - 1)
        shown = {judged.found.folder for judged in newest}
        read = [*self._read([found for found in runs if found.folder not in shown], 1), *newest[::-1]]
        self._expect(read)
        if len(read) == 1:  # with nothing before it, it is shown as its machine
            alone = self._entrants(machine_names([read[0].found.run]), read)
            return SideBySide(alone, self._contests(alone), is_course=False)
        entrants = self._entrants(apart([elide(judged.found.run.name, LONGEST - 4) for judged in read]), read)
        moved, not_compared = shifts(side_of(read[0]), side_of(read[-1]), self._wants_in_a_ratio)
        between = len(runs) - len(read)
        note = f"{between} runs in between are not shown; `loopmark history DIR` says where a loop's speedup changed"
        notes = (note,) if len(read) == MOST_RUNS < len(runs) else ()
        return SideBySide(entrants, self._contests(entrants), True, moved, not_compared, notes)

    def _machines(self, groups: list[list[FoundRun]]) -> SideBySide:
        latest = sorted(groups, key=lambda runs: runs[-1].started, reverse=True)[:MOST_MACHINES]
        left = [runs[-1].run.machine.name for runs in groups if runs not in latest]
        if left:
            self._warnings.add(f"of {len(groups)} machines the latest {MOST_MACHINES} are shown, and not {named(left)}")
        self._read_ahead(runs[-1] for runs in latest)
        read, counts = [], []
        for runs in (runs for runs in groups if runs in latest):
            for judged in self._read(runs[::-1], 1):
                read.append(judged)
                counts.append(len(runs) - 1)
        self._expect(read)
        entrants = self._entrants(machine_names([judged.found.run for judged in read]), read)
        older = [f"{count} of {e.name}" for e, count in zip(entrants, counts, strict=True) if count]
        note = f"the newest run of each machine counts; older ones are not shown: {named(older)}"
        return SideBySide(entrants, self._contests(entrants), False, notes=(note,) if older else ())

    def _read_ahead(self, runs: Iterable[FoundRun]) -> None:
        """Read those that are shown unless something is wrong with them, all cores at once."""
        wanted = {found.folder: found for found in runs}
        readings = over_cores(judge, wanted.values(), lambda done: self._tell("judging", 0.5 + 0.4 * done))
        self._readings |= dict(zip(wanted, readings, strict=True))

    def _read(self, runs: list[FoundRun], most: int) -> list[Judged]:
        """The first ``most`` of ``runs`` that can be read."""
        read: list[Judged] = []
        for found in runs:
            if len(read) == most:
                break
            reading = self._readings.get(found.folder) or judge(found)
            self._warnings.include(reading.warnings)
            if reading.mistake is not None:
                self._leave_out(Path(found.folder), reading.mistake)
            elif reading.judged is not None:
                read.append(reading.judged)
        return read

    def _entrants(self, labels: list[str], read: list[Judged]) -> tuple[ComparedRun, ...]:
        for label, one in zip(labels, read, strict=True):
            for warning in one.found.run.warnings:  # what a run says against itself, it says in a comparison as well
                self._warnings.add(warning, label)
        return tuple(
            ComparedRun(label, one.found, one.summary, one.phases) for label, one in zip(labels, read, strict=True)
        )

    def _contests(self, entrants: tuple[ComparedRun, ...]) -> tuple[WorkloadComparison, ...]:
        return compare_workloads(entrants, self._wants_workload, self._wants_loop)

    def _folders(self, places: Iterable[Path]) -> list[Path]:
        folders: dict[Path, Path] = {}
        for place in places:
            try:
                found = run_folders(place, self._warnings.add)
            except BadInput as error:
                self._leave_out(place, error)
                continue
            for folder in found:
                if folder.resolve() in folders:
                    self._warnings.add("it is given twice, and counts once", folder)
                folders.setdefault(folder.resolve(), folder)
        return list(folders.values())

    def _has_what_is_wanted(self, run: Run) -> bool:
        return any(
            self._wants_workload(c.workload) and (not self._loops or self._wants_loop(c.loop)) for c in run.cases
        )

    def _wants_workload(self, name: str) -> bool:
        return not self._workloads or name in self._workloads

    def _wants_loop(self, name: str) -> bool:
        return not self._loops or any(is_same_loop(name, wanted) for wanted in self._loops)

    def _wants_in_a_ratio(self, workload: str, loop: str) -> bool:
        return self._wants_workload(workload) and (loop == BASELINE or self._wants_loop(loop))

    def _leave_out(self, folder: Path, error: BadInput) -> None:
        self._mistakes.append(error)
        self._warnings.add_error("left out", folder, error)

    def _expect(self, anything: list[FoundRun] | list[Judged]) -> None:
        if not anything and self._mistakes:
            raise self._mistakes[0]
