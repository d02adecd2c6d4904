"""A judged run: one row per case, with every figure that tables, plots and sentences show."""

import math
import statistics
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias, TypeVar

import numpy as np
import pandas as pd

from loopmark.bench.cores import over_cores
from loopmark.bench.judge import comparison
from loopmark.bench.judge.bounds import Bound, Roofline, bounds, flops_of, roofline
from loopmark.bench.judge.course import Course, course_of, in_stretches
from loopmark.bench.judge.laps import counted_blocks, laps_by_case, phase_seconds
from loopmark.bench.judge.statistics import Estimate, student
from loopmark.bench.judge.training import TrainedRow, TrainingSummary
from loopmark.bench.records.ceilings import Ceilings
from loopmark.bench.records.run import CacheState, Case, Run
from loopmark.bench.records.samples import Samples

MANY_LAPS = 1_000_000
_Phases: TypeAlias = tuple[dict[str, float], dict[str, float], dict[str, Bound]]  # host's, device's and bounds
Value = TypeVar("Value")


@dataclass(frozen=True)
class Row:
    """One judged case. Figures that were not measured are None; a case that did not end well has only its reason."""

    case: Case
    baseline: str  # the name of the loop that it is compared with
    step_seconds: Estimate | None = None
    speedup: Estimate | None = None  # baseline's seconds over this loop's: 2 is twice as fast; None for the baseline
    verdict: comparison.Verdict | None = None
    host_phases: dict[str, float] | None = None  # seconds per step on the host's clock; on a GPU, the time to enqueue
    device_phases: dict[str, float] | None = None  # seconds per step on the device's clock; None if there is none
    bounds: dict[str, Bound] = field(default_factory=dict)  # empty if one clock saw no phases
    instrumentation: Estimate | None = None  # seconds per step with laps over seconds without
    joules_per_step: Estimate | None = None  # the mean over launches; None if no counter measures energy
    peak_memory_bytes: int | None = None
    first_step_seconds: float | None = None  # the first launch's if it compiled, else the median launch's
    start_seconds: float | None = None  # set-up, and warm-up beyond as many steady steps; of the same launches
    compile_seconds: float | None = None
    compile_cache: CacheState | None = None
    break_even_steps: Estimate | None = None  # steps after which a faster loop has compensated its slower start
    skipped_steps: int | None = None
    final_scale: float | None = None
    lost_at_step: int | None = None  # first step with a NaN or infinite loss, in any launch; no speed is claimed then
    roofline: Roofline | None = None  # its distance to the device's best; None if unknown
    trained: TrainedRow | None = None  # its equivalence to the baseline and its learning; None if not trained
    watched: bool = False  # True for a process of a watched script
    course: Course | None = None  # of a watched script with enough steps

    @property
    def is_baseline(self) -> bool:
        return self.case.loop == self.baseline and not self.case.repeat

    @property
    def departs(self) -> bool:  # True if it is known to train another model than the baseline
        return self.trained is not None and self.trained.departs

    @property
    def compiled_nothing(self) -> bool:  # True if torch.compile was used in vain
        return self.case.compilation is not None and not self.case.compilation.compiled

    @property
    def phases(self) -> dict[str, float]:
        """Seconds per step in each phase, on the device's clock if there is one, else the host's."""
        return self.device_phases or self.host_phases or {}

    @property
    def joules_per_sample(self) -> Estimate | None:
        batch = self.case.units_per_step.get("samples")
        if self.joules_per_step is None or not batch:
            return None
        return self.joules_per_step.map(lambda joules: joules / batch)

    @property
    def samples_per_second(self) -> Estimate | None:
        return self.units_per_second("samples")

    def units_per_second(self, unit: str) -> Estimate | None:
        """Training samples, or another unit that the task counts, a second; None where it is unknown."""
        units = self.case.units_per_step.get(unit)
        if self.step_seconds is None or units is None:
            return None
        return self.step_seconds.map(lambda seconds: units / seconds if seconds else math.inf)


@dataclass(frozen=True)
class WorkloadSummary:
    """The cases of one workload, compared with the baseline."""

    workload: str
    baseline: str  # the name of the loop that the others are compared with
    rows: tuple[Row, ...]
    noise_floor: float | None  # log ratio between baseline and repetition (0.01 is 1 %); None if not measured
    instrumentation: Estimate | None = None  # seconds per step with laps over seconds without, over all loops

    @property
    def base(self) -> Row | None:
        return next((row for row in self.rows if row.is_baseline and row.step_seconds), None)


@dataclass(frozen=True)
class Summary:
    run: Run
    workloads: tuple[WorkloadSummary, ...]
    trained: TrainingSummary | None = None  # the run's training; None if it has none

    @property
    def rows(self) -> tuple[Row, ...]:
        return tuple(row for workload in self.workloads for row in workload.rows)

    def places(self, workload: WorkloadSummary) -> dict[str, int]:
        """The index in ``Run.cases`` of each measured case of a workload, by its label."""
        measured = {id(row.case) for row in workload.rows if row.step_seconds is not None}
        return {case.label: i for i, case in enumerate(self.run.cases) if id(case) in measured}

    @property
    def interrupted(self) -> bool:
        return self.run.interrupted or (self.trained is not None and self.trained.training.interrupted)


def lost_at_step(losses: pd.DataFrame) -> dict[Hashable, int]:
    """The first step with a NaN or infinite loss of each case that has one. No speed is claimed for such a case."""
    return losses[losses["loss"].isna()].groupby("case")["step"].min().to_dict()


def summarise(
    run: Run,
    samples: Samples,
    trained: TrainingSummary | None = None,
    ceilings: Ceilings | None = None,
    steps: pd.DataFrame | None = None,
) -> Summary:
    """Judge the speed of every case of ``run``, and add its training and its device's ceilings if known.

    ``steps``: those of a watched script; see ``loopmark.bench.records.watching``.
    """
    laps = samples.phases
    if run.watched is not None:
        samples = in_stretches(samples)
    blocks = samples.blocks.loc[counted_blocks(samples.blocks), list(comparison.FIGURES)]
    lost = lost_at_step(samples.losses)
    names, phases = dict.fromkeys(case.workload for case in run.cases), _phases_by_case(run, samples)
    workloads = tuple(_summarise_workload(name, run, blocks, lost, phases) for name in names)
    if trained is not None:
        compiled = {(case.workload, case.loop): case.compilation for case in run.cases}
        known = tuple(
            replace(w, rows=tuple(replace(r, compilation=compiled.get((r.workload, r.loop))) for r in w.rows))
            for w in trained.workloads
        )
        trained = replace(trained, workloads=known)
        workloads = tuple(_with_training(workload, trained) for workload in workloads)
    if ceilings is not None:
        workloads = tuple(_with_rooflines(workload, ceilings) for workload in workloads)
    if run.watched is not None:
        workloads = tuple(_with_courses(workload, run, laps, samples.blocks, steps) for workload in workloads)
    return Summary(run, workloads, trained)


def _with_courses(
    workload: WorkloadSummary, run: Run, laps: pd.DataFrame, blocks: pd.DataFrame, steps: pd.DataFrame | None
) -> WorkloadSummary:
    """The rows of a watched script, each a process with its course; none is faster than another."""

    def course(case: int) -> Course | None:
        if steps is None:
            return None
        return course_of(*(table[table["case"] == case] for table in (steps, laps, blocks)))

    def watched(row: Row) -> Row:
        # The laps lengthen the steps that they time: only the phases' shares are the step's.
        total, step = sum(row.phases.values()), row.step_seconds.value if row.step_seconds else 0.0
        phases = {phase: seconds * step / total for phase, seconds in row.phases.items()} if total and step else None
        row = replace(row, device_phases=phases) if row.device_phases else replace(row, host_phases=phases)
        return replace(row, watched=True, course=course(run.cases.index(row.case)), speedup=None, verdict=None)

    return replace(workload, rows=tuple(map(watched, workload.rows)))


def _with_training(workload: WorkloadSummary, trained: TrainingSummary) -> WorkloadSummary:
    rows = (replace(r, trained=trained.row(r.case.workload, r.case.loop, r.case.repeat)) for r in workload.rows)
    return replace(workload, rows=tuple(rows))


def _with_rooflines(workload: WorkloadSummary, ceilings: Ceilings) -> WorkloadSummary:
    base = workload.base
    if base is None:
        return workload
    needed = flops_of(base.case.work)

    def judged(row: Row) -> Row:
        if row.step_seconds is None or row.case.batch_size is None:  # its work was counted on a single batch only
            return row
        # From the speedup, which is steadier than the ratio of the two steps.
        its = None if row.speedup is None or row.case.repeat else row.step_seconds.value * row.speedup.value
        return replace(row, roofline=roofline(row.case.work, row.phases, row.step_seconds, ceilings, needed, its))

    return replace(workload, rows=tuple(judged(row) for row in workload.rows))


def _phases_by_case(run: Run, samples: Samples) -> dict[int, _Phases]:
    """The phases of the cases that ended well, by their index in the run."""
    laps = laps_by_case(samples, run.cases)

    def phases(case: int) -> _Phases:
        own, order = laps[case], run.cases[case].phases
        host, device = (phase_seconds(own, order, f"{clock}_seconds") for clock in ("host", "device"))
        return host, device, bounds(own, order)

    measured = [i for i, case in enumerate(run.cases) if case.status == "ok"]
    # Few laps do not justify a process.
    found = over_cores(phases, measured) if len(samples.phases) > MANY_LAPS else map(phases, measured)
    return dict(zip(measured, found, strict=True))


def _summarise_workload(
    name: str, run: Run, blocks: pd.DataFrame, lost: dict[Hashable, int], phases: dict[int, _Phases]
) -> WorkloadSummary:
    cases = {i: case for i, case in enumerate(run.cases) if case.workload == name}
    blocks = blocks[blocks["case"].isin([i for i, case in cases.items() if case.status == "ok"])]
    timed = set(blocks["case"])
    baseline = run.plan.baseline
    either = {case.repeat: i for i, case in cases.items() if case.loop == baseline and i in timed}
    base, repeat = either.get(False), either.get(True)
    rounds, costs = comparison.round_logs(blocks), comparison.lap_costs(blocks)
    steps = comparison.step_seconds(rounds)
    against = comparison.log_speedups(rounds, base) if base is not None else {}
    lapping = {int(str(case)): comparison.instrumentation(rows) for case, rows in costs.groupby(level="case")}
    again = against.get(repeat) if repeat is not None else None
    floor = again.reach if again and math.isfinite(again.reach) else None

    def row(i: int, case: Case) -> Row:
        if i not in timed:
            return Row(case, baseline)
        host, device, limits = phases[i]
        log_ratio = against.get(i)
        speedup = log_ratio.exp() if log_ratio else None
        judged = comparison.verdict(log_ratio, floor) if log_ratio and not case.repeat and i not in lost else None
        step, lapped = steps.get(i), lapping.get(i)
        measured = Row(case, baseline, step, speedup, judged, host or None, device or None, limits, lapped)
        return _with_launches(replace(measured, lost_at_step=lost.get(i)), cases[base] if base is not None else None)

    rows = tuple(row(i, case) for i, case in cases.items())
    return WorkloadSummary(name, baseline, rows, floor, comparison.instrumentation(costs))


def _with_launches(row: Row, baseline: Case | None) -> Row:
    case, launches = row.case, row.case.launches
    joules = _known(launch.joules_per_step for launch in launches)
    skipped = _known(launch.skipped_steps for launch in launches)
    return replace(
        row,
        joules_per_step=student(joules) if joules else None,
        peak_memory_bytes=max(comparison.peaks_of_memory(case), default=None),
        first_step_seconds=_of_start(case, [launch.first_step_seconds for launch in launches]),
        start_seconds=_start(case),
        compile_seconds=launches[0].compile_seconds if launches else None,
        compile_cache=launches[0].compile_cache if launches else None,
        break_even_steps=_break_even(row, baseline) if baseline else None,
        skipped_steps=sum(skipped) if skipped else None,
        final_scale=launches[-1].final_scale if launches else None,
    )


def _break_even(row: Row, baseline: Case) -> Estimate | None:
    """Steps until a loop that starts later and steps faster has caught up with the baseline; None for other loops.

    A delay within the baseline's interquartile range counts as none; a single cold launch does not widen that range.
    """
    start, usual, step, speedup = _start(row.case), _start(baseline), row.step_seconds, row.speedup
    if row.verdict != "faster" or start is None or usual is None or step is None or speedup is None:
        return None
    low, high = np.quantile(_known(launch.start_seconds for launch in baseline.launches), (0.25, 0.75))
    cost = start - usual if start - usual > float(high - low) else 0.0
    return speedup.map(lambda ratio: cost / (step.value * (ratio - 1)) if ratio > 1 else math.inf)


def _start(case: Case) -> float | None:
    return _of_start(case, [launch.start_seconds for launch in case.launches])


def _of_start(case: Case, values: Sequence[float | None]) -> float | None:
    """A figure of the start: the first launch's if this one compiled with an empty cache, else the median launch's."""
    if values and values[0] is not None and case.launches[0].compile_cache == "cold":
        return values[0]
    known = _known(values)
    return statistics.median(known) if known else None


def _known(values: Iterable[Value | None]) -> list[Value]:
    return [value for value in values if value is not None]
