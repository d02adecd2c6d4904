"""The parts of `loopmark run`, measured one after another, in one pool and one folder."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from loopmark.bench.errors import BadInput
from loopmark.bench.measure.ceilings.survey import measure_ceilings
from loopmark.bench.measure.inventory import nothing_measured
from loopmark.bench.measure.machine import CommandFacts
from loopmark.bench.measure.pool import CaseEnded, WorkerPool
from loopmark.bench.measure.runner import Runner
from loopmark.bench.measure.schedule import Progress, parts_of, sentence
from loopmark.bench.measure.training.stopping import Terms
from loopmark.bench.measure.training.trainer import Trainer, endings_of
from loopmark.bench.records import store
from loopmark.bench.records.ceilings import CEILINGS_FILE, Ceilings
from loopmark.bench.records.files import write_record
from loopmark.bench.records.run import Run, Status
from loopmark.bench.records.samples import Samples
from loopmark.bench.records.training import Training, TrainingSamples


@dataclass(frozen=True)
class Stage:
    """One part of the run. It reports its progress as a share of the whole run."""

    progress: Progress
    begin: float  # its start, as a share of the whole
    share: float
    later: Callable[[float], float] = lambda _: 0.0
    """Seconds of the later parts, as a function of this part's own seconds."""
    started: float = field(default_factory=time.perf_counter)

    def tell(self, doing: str, done: float, left_seconds: float | None, expected_seconds: float | None = None) -> None:
        """Report progress. ``done`` and ``left_seconds`` refer to this part."""
        if left_seconds is not None:
            left_seconds += self.later(time.perf_counter() - self.started + left_seconds)
        self.progress.tell(doing, self.begin + self.share * done, left_seconds, expected_seconds)


@dataclass(frozen=True)
class WholeRun:
    """All results; None for a part that was not requested, not reached, or not available."""

    folder: Path
    run: Run
    samples: Samples
    ceilings: Ceilings | None = None
    trained: tuple[Training, TrainingSamples] | None = None
    interrupted: bool = False  # True if the user stopped the run before its end

    @property
    def statuses(self) -> set[Status]:
        """How the cases ended, in any part."""
        timed = {case.status for case in self.run.cases}
        return timed | self.trained[0].statuses if self.trained else timed


def measure_all(
    facts: CommandFacts,
    terms: Terms | None,
    ceiling_seconds: float,
    pool: WorkerPool,
    progress: Progress,
    announce: Callable[[str], None] = lambda _: None,
) -> WholeRun:
    """Measure the loops' times, then the device's ceilings, then compare each loop's training with the baseline's.

    The results go to the folder of ``pool``. ``announce`` receives the expected duration before anything is measured.

    Raises BadInput, with the reasons, where no case could be measured, and KeyboardInterrupt before the first one was.
    """
    plan, machine = facts.plan, facts.machine
    runner = Runner(facts, progress)
    parts = parts_of(plan, runner.cases, terms, ceiling_seconds)
    seconds = {after: sum(part.seconds for part in parts if part.after is after) for after in (False, True)}
    training = seconds[True] / seconds[False]
    timing = 1 / (1 + training)
    runner.progress = Stage(progress, 0.0, timing, lambda own: ceiling_seconds + training * own)
    announce(sentence(parts) + ("" if plan.device == "cpu" else "; estimates, not measured on a GPU yet"))
    run, samples = runner.run(pool)
    if not run.was_measured:
        if run.interrupted:
            raise KeyboardInterrupt
        raise BadInput(nothing_measured(run.cases))
    found = WholeRun(pool.folder, run, samples, interrupted=run.interrupted)
    try:
        if not found.interrupted:
            left = ceiling_seconds + training * run.seconds
            progress.tell("what the device can do", timing, left, ceiling_seconds)
            try:
                ceilings = measure_ceilings(pool, plan, machine, ceiling_seconds)
                write_record(pool.folder / CEILINGS_FILE, ceilings)
                found = replace(found, ceilings=ceilings)
            except CaseEnded as end:  # the timing is kept
                found = _warned(found, f"what the device can do is not known: {end.reason}; try loopmark ceilings")
            if terms is not None:
                begun, stage = CommandFacts(plan, machine, datetime.now(UTC)), Stage(progress, timing, 1 - timing)
                trained = Trainer(begun, terms, stage, endings_of(run)).run(pool)
                found = replace(found, trained=trained, interrupted=trained[0].interrupted)
    except KeyboardInterrupt:  # the timing is still shown
        found = replace(found, interrupted=True)
        missing = ["what the device can do"] if found.ceilings is None else []
        if terms is not None and found.trained is None:
            missing.append("how the loops train")
        if missing:
            without = " and ".join(missing)
            found = _warned(found, f"interrupted after the timing, without {without}; run its command again for that")
    return found


def _warned(found: WholeRun, warning: str) -> WholeRun:
    run = replace(found.run, warnings=(*found.run.warnings, warning))
    store.write(found.folder, run, found.samples)
    return replace(found, run=run)
