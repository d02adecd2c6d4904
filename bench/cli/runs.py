"""The runs given to ``compare``, ``history`` and ``runs``: found, labelled, and read as far as needed."""

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from loopmark.bench.cores import over_cores
from loopmark.bench.errors import BadInput
from loopmark.bench.judge import side_by_side
from loopmark.bench.judge.comparison import round_logs
from loopmark.bench.judge.history import Observation, measured, observe, start_of
from loopmark.bench.judge.laps import counted_blocks
from loopmark.bench.judge.run_comparison import JudgedRun
from loopmark.bench.judge.side_by_side import ComparedRun, FoundRun, SideBySide
from loopmark.bench.judge.summary import lost_at_step, summarise
from loopmark.bench.judge.training import TrainingSummary, summarise_training
from loopmark.bench.records.ceilings import Ceilings
from loopmark.bench.records.run import Case
from loopmark.bench.records.samples import Samples
from loopmark.bench.records.store import ceilings_of, digest_of, read_run, read_table, run_folders, training_of
from loopmark.bench.report.text import elide, grouped, named, short

MOST_MACHINES = 8  # side by side; more could not be distinguished in a plot
MOST_RUNS = 6  # of one machine: the oldest run and the newest ones; `history` shows more

Tell = Callable[[str, float], None]  # takes the name of the current work, and the fraction that is done


class Selection(NamedTuple):
    """The requested workloads and loops; all if none is named. A loop's techniques may be in any order."""

    workloads: tuple[str, ...]
    loops: tuple[str, ...]

    def has_workload(self, name: str) -> bool:
        return not self.workloads or name in self.workloads

    def has_loop(self, name: str) -> bool:
        return not self.loops or any(_is_same_loop(name, one) for one in self.loops)

    def has_ratio(self, baseline: str, workload: str, loop: str) -> bool:
        """True if this loop's ratio is requested, or it is the ``baseline`` of a requested one."""
        return self.has_workload(workload) and (loop == baseline or self.has_loop(loop))

    def refuse_unknown(self, cases: Iterable[Case]) -> None:
        """Raise BadInput for a requested name that none of ``cases``, those of the runs, has."""
        known = {(case.workload, case.loop) for case in cases}
        for kind, names, of_kind in (("workload", self.workloads, 0), ("loop", self.loops, 1)):
            there = sorted({case[of_kind] for case in known})
            for name in names:
                if not any(_is_same_loop(name, one) for one in there):
                    raise BadInput(f"no {kind} named '{name}' in these runs; they have {', '.join(there)}")


def _is_same_loop(one: str, other: str) -> bool:
    return sorted(one.split("+")) == sorted(other.split("+"))


class Warnings:
    """Gathers warnings. Equal ones become one line, with their number and the first runs that have it."""

    def __init__(self) -> None:
        self._whose: defaultdict[str, list[str]] = defaultdict(list)

    def add(self, text: str, whose: object = "") -> None:
        """Add a warning; ``whose`` is a run's folder or name, or empty."""
        self._whose[text].append(str(whose))

    def add_error(self, text: str, folder: Path, error: Exception) -> None:
        """Add a warning of an error in ``folder``. Its path is removed, so that equal warnings can be joined."""
        said = str(error).replace(f"{folder}{os.sep}", "")
        if said.startswith(f"{folder} "):
            said = f"it{said.removeprefix(str(folder))}"
        self.add(f"{text}: {said}", folder)

    def include(self, others: "Warnings") -> None:
        for text, whose in others._whose.items():
            self._whose[text] += whose

    def lines(self) -> list[str]:
        """A line for each warning, in the order of their first occurrence."""
        return [self._line(text, whose) for text, whose in self._whose.items()]

    def _line(self, text: str, whose: list[str]) -> str:
        if not any(whose):
            return text
        return f"{whose[0]}: {text}" if len(whose) == 1 else f"{len(whose)} runs: {text} ({named(whose)})"


class Reader:
    """Reads the runs to compare. Only those that are shown are read in full."""

    def __init__(self, selection: Selection, tell: Tell) -> None:
        self._selection, self._tell, self._warnings = selection, tell, Warnings()
        self._mistakes: list[BadInput] = []
        self._read_before: dict[str, tuple[ComparedRun | BadInput, Warnings]] = {}  # by folder

    def compare(self, places: Iterable[Path]) -> tuple[SideBySide, list[str]]:
        """The runs at and under ``places`` side by side, each once, and the warnings to print.

        Raises BadInput if no run can be read, or none of them has a requested name.
        """
        found = self._find(places)
        self._selection.refuse_unknown(case for one in found for case in one.run.cases)
        has_workload, has_loop = self._selection.has_workload, self._selection.has_loop
        asked_for = [o for o in found if any(has_workload(c.workload) and has_loop(c.loop) for c in o.run.cases)]
        if not asked_for:
            raise BadInput("no run has the given loop on the given workload; give --workload or --loop alone")
        if without := [one.folder for one in found if one not in asked_for]:
            self._warnings.add(f"left out, without the given workload and loop: {named(without)}")
        groups = [*side_by_side.by_setting(asked_for).values()]
        compared = self._over_time(groups[0]) if len(groups) == 1 else self._machines(groups)
        return compared, self._warnings.lines()

    def history(self, place: Path) -> tuple[list[Observation], int, list[str]]:
        """Every requested ratio in every run at and under ``place``, the number of these runs, and the warnings.

        A run in which nothing was measured is left out. Raises BadInput like ``compare``.
        """
        folders = self._folders([place])
        observed = over_cores(
            partial(_observe, self._selection), folders, lambda done: self._tell("reading the runs", done)
        )
        kept: dict[str, ObservedRun] = {}
        for one in observed:
            if one.digest in kept:
                self._warnings.add(f"left out: it is a copy of {kept[one.digest].folder}", one.folder)
            elif one.mistake is not None:  # not kept, since a copy of it may be whole
                self._leave_out(one.folder, one.mistake)
            elif one.is_empty:
                self._warnings.add("left out: nothing was measured", one.folder)
            else:
                self._warnings.include(one.warnings)
                kept[one.digest] = one
        self._expect([*kept])
        self._selection.refuse_unknown(case for one in observed for case in one.cases)
        observations = [seen for one in kept.values() for seen in one.observations]
        return observations, len(kept), self._warnings.lines()

    def _find(self, places: Iterable[Path]) -> list[FoundRun]:
        folders = self._folders(places)
        read = over_cores(find, folders, lambda done: self._tell("reading the runs", 0.5 * done))
        found: dict[str, FoundRun] = {}
        for folder, one in zip(folders, read, strict=True):
            if isinstance(one, BadInput):
                self._leave_out(folder, one)
            elif (digest := one[1]) in found:
                self._warnings.add(f"left out: it is a copy of {found[digest].folder}", folder)
            else:
                found[digest] = one[0]
        self._expect([*found.values()])
        return [*found.values()]

    def _over_time(self, runs: list[FoundRun]) -> SideBySide:
        self._read_ahead([runs[0], *runs[1 - MOST_RUNS :]])
        newest = self._read(runs[::-1], MOST_RUNS - 1)
        shown = {one.found.folder for one in newest}
        read = [*self._read([found for found in runs if found.folder not in shown], 1), *newest[::-1]]
        self._expect(read)
        if len(read) == 1:  # a single run is labelled by its machine
            return self._side_by_side(side_by_side.machine_names([read[0].run]), read, is_over_time=False)
        labels = side_by_side.number_alike([elide(one.run.name, side_by_side.LONGEST - 4) for one in read])
        first, last = read[0].judged, read[-1].judged
        wants = partial(self._selection.has_ratio, last.run.plan.baseline)
        moved, not_compared = side_by_side.shifts(first, last, wants)
        between = len(runs) - len(read)
        note = f"{between} runs in between are not shown; `loopmark history DIR` shows where a loop's speedup changed"
        notes = [note] if len(read) == MOST_RUNS < len(runs) else []
        found = self._side_by_side(labels, read, notes, is_over_time=True)
        return replace(found, shifts=moved, not_compared=not_compared)

    def _machines(self, groups: list[list[FoundRun]]) -> SideBySide:
        latest = sorted(groups, key=lambda runs: runs[-1].started, reverse=True)[:MOST_MACHINES]
        if left := [runs[-1].run.machine.name for runs in groups if runs not in latest]:
            self._warnings.add(
                f"only the latest {MOST_MACHINES} of {len(groups)} machines are shown, without {named(left)}"
            )
        self._read_ahead(runs[-1] for runs in latest)
        read, counts = [], []
        for runs in (runs for runs in groups if runs in latest):
            if newest := self._read(runs[::-1], 1):
                read += newest
                counts.append(len(runs) - 1)
        self._expect(read)
        labels = side_by_side.machine_names([one.run for one in read])
        older = [f"{count} of {label}" for label, count in zip(labels, counts, strict=True) if count]
        note = f"only the newest run of each machine is shown; older ones are not shown: {named(older)}"
        return self._side_by_side(labels, read, [note] if older else [], is_over_time=False)

    def _read_ahead(self, runs: Iterable[FoundRun]) -> None:
        """Read the runs that are likely to be shown, on all cores."""
        shown = {found.folder: found for found in runs}
        read = over_cores(read_and_judge, shown.values(), lambda done: self._tell("judging", 0.5 + 0.4 * done))
        self._read_before |= dict(zip(shown, read, strict=True))

    def _read(self, runs: list[FoundRun], most: int) -> list[ComparedRun]:
        """The first ``most`` readable ones of ``runs``."""
        read: list[ComparedRun] = []
        for found in runs:
            if len(read) == most:
                break
            one, warnings = self._read_before.get(found.folder) or read_and_judge(found)
            self._warnings.include(warnings)
            if isinstance(one, BadInput):
                self._leave_out(Path(found.folder), one)
            else:
                read.append(one)
        return read

    def _side_by_side(
        self, labels: list[str], read: list[ComparedRun], notes: Sequence[str] = (), *, is_over_time: bool
    ) -> SideBySide:
        """The runs with their workloads; without ratios, and with a note on that, if their baselines differ."""
        runs = tuple(replace(one, name=label) for label, one in zip(labels, read, strict=True))
        by_baseline = grouped((one.run.plan.baseline, one.name) for one in runs)
        if len(by_baseline) > 1:
            told = "; ".join(f"{short(name)} in {named(of)}" for name, of in by_baseline.items())
            notes = (
                *notes,
                f"speedups are not shown side by side: ratios to different baselines do not compare ({told})",
            )
            runs = tuple(replace(one, summary=side_by_side.without_ratios(one.summary)) for one in runs)
        for compared in runs:
            for warning in compared.run.warnings:  # a run's own warnings are shown in a comparison as well
                self._warnings.add(warning, compared.name)
        workloads = side_by_side.compare_workloads(runs, self._selection.has_workload, self._selection.has_loop)
        return SideBySide(runs, workloads, is_over_time, notes=tuple(notes))

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

    def _leave_out(self, folder: Path, error: BadInput) -> None:
        self._mistakes.append(error)
        self._warnings.add_error("left out", folder, error)

    def _expect(self, anything: Sequence[object]) -> None:
        if not anything and self._mistakes:
            raise self._mistakes[0]


def find(folder: Path) -> tuple[FoundRun, str] | BadInput:
    """The run of ``folder`` with its digest, or the error if it cannot be read."""
    try:
        run = read_run(folder)
        return FoundRun(str(folder), run, start_of(run, str(folder))), digest_of(folder)
    except BadInput as error:
        return error


def read_and_judge(found: FoundRun) -> tuple[ComparedRun | BadInput, Warnings]:
    """Read and judge a run, or return the error if that is impossible."""
    warnings, folder, run = Warnings(), Path(found.folder), found.run
    try:
        tables = {name: read_table(folder, name, run) for name in ("blocks", "phases", "losses")}
    except BadInput as error:
        return error, warnings
    samples = Samples(**tables, warmup=Samples.empty().warmup)
    if run.interrupted:
        warnings.add("it was interrupted, and holds only the samples measured by then", folder)
    trained: TrainingSummary | None = None
    ceilings: Ceilings | None = None
    try:
        training = training_of(folder, run)
        trained = summarise_training(*training) if training else None
    except BadInput as error:
        warnings.add_error("the training of its loops is not known", folder, error)
    try:
        ceilings = ceilings_of(folder, run)
    except BadInput as error:
        warnings.add_error("the ceilings of its device are not known", folder, error)
    summary, phases = summarise(run, samples, trained, ceilings), side_by_side.estimate_phases(run, samples)
    judged = JudgedRun.of(run, replace(samples, phases=Samples.empty().phases), summary)
    return ComparedRun(run.name, found, summary, judged, phases), warnings


@dataclass
class ObservedRun:
    """A run of a history: its observations, without its samples."""

    folder: Path
    digest: str = ""  # of its `run.json`
    cases: tuple[Case, ...] = ()
    observations: list[Observation] = field(default_factory=list)
    warnings: Warnings = field(default_factory=Warnings)
    is_empty: bool = False  # True if nothing was measured
    mistake: BadInput | None = None  # the error if it cannot be read


def _observe(selection: Selection, folder: Path) -> ObservedRun:
    observed = ObservedRun(folder)
    try:
        run = read_run(folder)
        observed.digest = digest_of(folder)
        observed.cases = run.cases
        blocks, no_longer_training = read_table(folder, "blocks", run), lost_at_step(read_table(folder, "losses", run))
        rounds = round_logs(blocks[counted_blocks(blocks)])
        observed.is_empty = not any(case.status == "ok" and i in rounds for i, case in enumerate(run.cases))
        for workload in filter(selection.has_workload, dict.fromkeys(case.workload for case in run.cases)):
            places = measured(run, workload)
            if not places or places[0] in no_longer_training:
                lost = f"is left out, since {short(run.plan.baseline)}'s loss was not finite"
                reason = lost if places else f"has no ratio there, since {short(run.plan.baseline)} was not measured"
                observed.warnings.add(f"{workload} {reason}", folder)
                continue
            asked_for = [i for i in places[1:] if selection.has_loop(run.cases[i].loop)]
            for i in (i for i in asked_for if i in no_longer_training):
                what = f"{run.cases[i].loop} on {workload}"
                observed.warnings.add(f"{what} is left out, since its loss was not finite", folder)
            kept = [i for i in (places[0], *asked_for) if i not in no_longer_training and i in rounds]
            observed.observations += observe(run, rounds[kept], workload, str(folder))
    except BadInput as error:
        observed.mistake = error
    return observed
