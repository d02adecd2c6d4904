"""Runs side by side: their selection, their common work, their ranking, and the names of their machines."""

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import count
from typing import NamedTuple

from loopmark.bench.judge import gate
from loopmark.bench.judge.comparison import LaunchLogs, Verdict, step_logs
from loopmark.bench.judge.differences import UNKNOWN
from loopmark.bench.judge.laps import laps_by_case, phase_estimates
from loopmark.bench.judge.run_comparison import (
    ComparisonKey,
    JudgedRun,
    RunComparison,
    device_of,
    fill_instructions,
    instructions_of,
)
from loopmark.bench.judge.settings import STEP, Thresholds
from loopmark.bench.judge.statistics import Estimate, welch
from loopmark.bench.judge.summary import Row, Summary, WorkloadSummary
from loopmark.bench.records.run import Run
from loopmark.bench.records.samples import Samples

WORDS_OVER_TIME = {
    "only the baseline has it": "only the oldest run has it", "only the run has it": "only the newest run has it",
    "in the baseline": "before", "in the run": "now",
}  # fmt: skip
LONGEST = 28  # characters of a machine's name, so that it fits beside a figure
PhaseEstimates = Mapping[tuple[str, str], Mapping[str, Estimate]]  # seconds of each phase, by workload and loop


@dataclass(frozen=True)
class Setting(ComparisonKey):
    """The facts that two runs must share for their seconds to be compared."""

    fingerprint: str
    device: str
    threads: int


@dataclass(frozen=True)
class FoundRun:
    folder: str
    run: Run
    started: datetime


@dataclass(frozen=True)
class StepWork:
    """The work of one step of a workload. Figures for different work cannot be compared."""

    size: str
    batch_size: int | None
    parameters: int | None
    data_sha256: str | None


@dataclass(frozen=True)
class ComparedRun:
    name: str  # short and unique
    found: FoundRun
    summary: Summary
    judged: JudgedRun
    phases: PhaseEstimates = field(default_factory=dict)  # on the clock of the row's `phases`

    @property
    def run(self) -> Run:
        return self.found.run

    def workload(self, name: str) -> WorkloadSummary | None:
        return next((one for one in self.summary.workloads if one.workload == name), None)

    def row(self, workload: str, loop: str) -> Row | None:
        """The row of one loop; None if it is not part of the run."""
        found = self.workload(workload)
        rows = found.rows if found else ()
        return next((row for row in rows if row.case.loop == loop and not row.case.repeat), None)


class Line(NamedTuple):
    """One loop of one compared run."""

    compared: ComparedRun
    row: Row


@dataclass(frozen=True)
class WorkloadComparison:
    """One workload in every run that has it."""

    workload: str
    loops: tuple[str, ...]
    runs: tuple[ComparedRun, ...]

    def works(self, compared: ComparedRun) -> tuple[StepWork, ...]:
        """The work of its steps in this run; several only if its loops had different work."""
        found = compared.workload(self.workload)
        cases = [row.case for row in found.rows if row.step_seconds is not None] if found else []
        size = compared.run.plan.size
        return tuple(dict.fromkeys(StepWork(size, c.batch_size, c.parameters, c.data_sha256) for c in cases))

    @property
    def is_same_work(self) -> bool:
        """True if a step has the same work everywhere, so that its seconds compare the machines."""
        return len({work for run in self.runs for work in self.works(run)}) <= 1

    def rows(self, loop: str) -> list[Line]:
        return [Line(run, row) for run in self.runs if (row := run.row(self.workload, loop)) is not None]

    @property
    def lines(self) -> list[Line]:
        """The rows of every loop."""
        return [line for loop in self.loops for line in self.rows(loop)]


class Place(NamedTuple):
    """One loop of one run in a ranking."""

    line: Line
    slower: Estimate | None = None  # its seconds a step over those of the fastest; None for the fastest itself
    verdict: Verdict | None = None  # on that difference


def rank(lines: Sequence[Line]) -> tuple[Place, ...]:
    """Measured loops of several runs, at the same work, by their seconds a step: each against the fastest.

    Independent runs are compared as in `check`: by Welch's t over the logs of their launches. Machines drift between
    runs, so a difference counts only beyond the default threshold of a step and the noise floors of both runs.
    """

    def logs(line: Line) -> LaunchLogs:
        return step_logs(line.compared.judged.members[line.row.case.workload, line.row.case.loop].rounds)

    first, *others = sorted(lines, key=lambda line: line.row.step_seconds.value if line.row.step_seconds else math.inf)
    places = [Place(first)]
    for line in others:
        slower = welch(logs(line), logs(first)).exp()
        floors = [one.compared.judged.noise_floor(one.row.case.workload) for one in (line, first)]
        floor = max((floor for floor in floors if floor is not None), default=None)
        places.append(Place(line, slower, gate.verdict(slower, Thresholds().step, floor)))
    return tuple(places)


@dataclass(frozen=True)
class Shift:
    """One loop before and after, on one machine."""

    workload: str
    loop: str
    before: Estimate  # its speedup over the baseline; for the baseline itself, seconds per step
    after: Estimate
    ratio: Estimate
    """Speed after over speed before, by Welch's t over both runs' launches: 0.92 is slower by 8 %."""
    is_of_seconds: bool = False  # True for the baseline itself


@dataclass(frozen=True)
class SideBySide:
    """The runs of a comparison, and what can be compared between them."""

    runs: tuple[ComparedRun, ...]
    workloads: tuple[WorkloadComparison, ...]
    is_over_time: bool  # all have the same machine and setting, oldest first: before and after, not machine by machine
    shifts: tuple[Shift, ...] = ()  # over time, from the oldest run to the newest
    not_compared: tuple[str, ...] = ()  # loops without such a ratio, and why, a sentence each
    notes: tuple[str, ...] = ()  # the given runs that are not shown, a sentence each

    @property
    def have_something_in_common(self) -> bool:
        """True if any loop was measured in two of the runs."""
        rows = ([row for _, row in c.rows(loop) if row.step_seconds] for c in self.workloads for loop in c.loops)
        return any(len(measured) > 1 for measured in rows)


def without_ratios(summary: Summary) -> Summary:
    """``summary`` without speedups and verdicts, for a comparison with a run that has another baseline."""
    workloads = (
        replace(one, rows=tuple(replace(row, speedup=None, verdict=None, break_even_steps=None) for row in one.rows))
        for one in summary.workloads
    )
    return replace(summary, workloads=tuple(workloads))


def estimate_phases(run: Run, samples: Samples) -> PhaseEstimates:
    """Each loop's phases in one run, without the baseline's repetition."""
    laps = laps_by_case(samples, run.cases)
    cases = [(i, case) for i, case in enumerate(run.cases) if case.status == "ok" and not case.repeat]
    return {(c.workload, c.loop): phase_estimates(rows, c.phases) for i, c in cases if len(rows := laps[i])}


def settings_of(runs: Sequence[Run]) -> list[Setting]:
    """The setting of each run. Unknown instructions are taken from another run of the same machine."""
    own = [Setting(r.machine.fingerprint, device_of(r), r.plan.threads, instructions=instructions_of(r)) for r in runs]
    filled = fill_instructions(own)
    return [filled[setting] for setting in own]


def by_setting(found: Iterable[FoundRun]) -> dict[Setting, list[FoundRun]]:
    """The runs of each machine and setting, oldest first; the settings in the order of their first appearance."""
    runs = list(found)
    gathered: dict[Setting, list[FoundRun]] = {}
    for setting, one in zip(settings_of([one.run for one in runs]), runs, strict=True):
        gathered.setdefault(setting, []).append(one)
    return {setting: sorted(runs, key=lambda f: (f.started, f.run.name)) for setting, runs in gathered.items()}


def compare_workloads(
    compared: Sequence[ComparedRun], wants_workload: Callable[[str], bool], wants_loop: Callable[[str], bool]
) -> tuple[WorkloadComparison, ...]:
    """Every wanted workload with the wanted loops; the baseline is always included, and first."""
    made = []
    names = dict.fromkeys(workload.workload for one in compared for workload in one.summary.workloads)
    for name in filter(wants_workload, names):
        having = [(one, found) for one in compared if (found := one.workload(name)) is not None]
        rows = [row for _, found in having for row in found.rows if not row.case.repeat]
        base = dict.fromkeys(row.case.loop for row in rows if row.is_baseline)
        loops = dict.fromkeys(row.case.loop for row in rows if row.case.loop not in base and wants_loop(row.case.loop))
        made.append(WorkloadComparison(name, (*base, *loops), tuple(one for one, _ in having)))
    return tuple(made)


def shifts(
    base: JudgedRun, head: JudgedRun, wants: Callable[[str, str], bool] = lambda *_: True
) -> tuple[tuple[Shift, ...], tuple[str, ...]]:
    """The shift of each loop's speedup between two runs of the same machine, compared as in `check`.

    The baseline comes first, by its seconds: if it shifts, so do all ratios to it. There are no verdicts, since these
    need thresholds and a share of false alarms, as in `check`. The second result names each loop that was measured in
    one of the runs and has no shift, with the reason. ``wants`` is True for a requested loop on a workload. Runs with
    different baselines have no shifts.
    """
    compared, found = RunComparison(base, head), []
    if compared.no_ratios:
        return (), ()
    for one in (one for one in compared.metrics if wants(*one.key)):
        rows = base.members[one.key].row, head.members[one.key].row
        before, after = (row.step_seconds if one.metric == STEP else row.speedup for row in rows)
        is_baseline = one.key[1] == compared.baseline
        is_its_own = one.metric == STEP if is_baseline else one.unit == "ratio"
        if is_its_own and before is not None and after is not None:
            found.append(Shift(*one.key, before, after, welch(one.base, one.head).exp(), is_of_seconds=is_baseline))
    cases = (case.row for run in (base, head) for key, case in run.members.items() if wants(*key))
    measured = {f"{row.case.workload} {row.case.loop}" for row in cases if row.step_seconds is not None}
    left_out = [(reason, name) for reason, names in compared.refused.items() for name in names if name in measured]
    left_out += [(f"now it {ailment}", " ".join(key)) for key, _, ailment in compared.broken if wants(*key)]
    left_out += [(reason, " ".join(key)) for key, _, _, reason in compared.missing if wants(*key)]
    by_reason: dict[str, list[str]] = {}
    for reason, name in left_out:
        for checks, ours in WORDS_OVER_TIME.items():
            reason = reason.replace(checks, ours)
        by_reason.setdefault(reason, []).append(name)
    return tuple(found), tuple(f"{reason} ({', '.join(names)})" for reason, names in by_reason.items())


def machine_names(runs: Sequence[Run]) -> list[str]:
    """A short, unique name for each run, from its machine's name.

    It includes the fingerprint if two machines would have the same name; the device, threads and instructions if one
    machine was measured with several; and the device if an existing GPU was not used.
    """
    settings = settings_of(runs)
    suffixes = [_suffix(run, setting, settings) for run, setting in zip(runs, settings, strict=True)]
    whole = (run.machine.name.removesuffix(f"-{run.machine.fingerprint}") for run in runs)
    stems = [_cut(name, LONGEST - len(suffix)) for name, suffix in zip(whole, suffixes, strict=True)]
    names = []
    for stem, suffix, setting in zip(stems, suffixes, settings, strict=True):
        like = {s.fingerprint for other, s in zip(stems, settings, strict=True) if other == stem}
        mark = f"-{setting.fingerprint}" if len(like) > 1 else ""
        names.append(f"{_cut(stem, LONGEST - len(suffix) - len(mark))}{mark}{suffix}")
    return number_alike(names)


def number_alike(names: Sequence[str]) -> list[str]:
    """``names``, with equal ones numbered."""
    times, numbers = Counter(names), {name: count(1) for name in names}
    return [f"{name} ({next(numbers[name])})" if times[name] > 1 else name for name in names]


def _suffix(run: Run, setting: Setting, settings: Sequence[Setting]) -> str:
    own = [other for other in settings if other.fingerprint == setting.fingerprint]
    same = [other for other in own if other.device == setting.device]
    parts = {
        f" {setting.device[:8]}": len(same) < len(own) or (setting.device == "cpu" and bool(run.machine.gpus)),
        f" {setting.threads} thread{'' if setting.threads == 1 else 's'}": len({one.threads for one in same}) > 1,
        f" {(setting.instructions or UNKNOWN)[:8]}": len({one.instructions for one in same}) > 1,
    }
    return "".join(part for part, tells in parts.items() if tells)


def _cut(text: str, length: int) -> str:
    if len(text) <= length:
        return text
    words = text[: length + 1].rpartition("-")[0] or text[:length]
    return re.sub(r"-\d+$", "", words) if text[len(words) :] == "-core" else words
