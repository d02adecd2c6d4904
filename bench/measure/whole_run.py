"""All that `loopmark run` measures, one after the other, in one crew and one folder."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from bench.measure.ceilings.crew import measure_ceilings
from bench.measure.conduct import Conductor, Progress
from bench.measure.crew import Crew, crew_of
from bench.measure.process import CaseEnded
from bench.measure.training.terms import Terms
from bench.measure.training.trainer import Trainer, endings_of
from bench.records import store
from bench.records.ceilings import CEILINGS_FILE, Ceilings, write_ceilings
from bench.records.machine import Machine
from bench.records.run import Plan, Run
from bench.records.samples import Samples
from bench.records.training import Training
from bench.records.training_samples import TrainingSamples


@dataclass(frozen=True)
class WholeRun:
    """What was measured; None for a part that was not asked for, not reached, or not to be had."""

    folder: Path
    run: Run
    samples: Samples
    ceilings: Ceilings | None = None
    trained: tuple[Training, TrainingSamples] | None = None
    interrupted: bool = False
    """Whether a person had had enough before all of it was done."""

    @property
    def failed(self) -> bool:
        """Whether any case failed or timed out, at whatever it was."""
        statuses = {case.status for case in self.run.cases}
        if self.trained:
            statuses |= {one.status for several in (self.trained[0].proofs, self.trained[0].trials) for one in several}
        return bool(statuses & {"failed", "timed_out"})


def measure_all(
    plan: Plan,
    terms: Terms | None,
    ceiling_seconds: float,
    machine: Machine,
    make_folder: Callable[[datetime], Path],
    progress: Progress,
) -> WholeRun:
    """The loops' times; then what the device can do; then whether they train what eager trains.

    Args:
        terms: of the training; None for none.
        ceiling_seconds: for what the device can do.
        make_folder: makes the run's folder, once there is something to keep; it is given the start.

    Raises:
        BadInput: whatever its parts raise of it.
    """
    started = datetime.now(UTC)
    conductor = Conductor(plan, machine, started, progress)
    folder = make_folder(started)
    with crew_of(plan, folder) as crew:
        run, samples = conductor.conduct(crew)
        found = WholeRun(folder, run, samples, interrupted=run.interrupted)
        try:
            if not found.interrupted:
                progress.tell("what the device can do", 1.0, ceiling_seconds)
                found = _with_ceilings(found, crew, ceiling_seconds)
                if terms is not None:
                    trained = Trainer(plan, terms, machine, progress, endings_of(run)).conduct(crew)
                    found = replace(found, trained=trained, interrupted=trained[0].interrupted)
        except KeyboardInterrupt:  # what was timed is still shown
            found = replace(found, interrupted=True)
    return found


def _with_ceilings(found: WholeRun, crew: Crew, seconds: float) -> WholeRun:
    """The run with its device's ceilings, or a warning that they are not known: what was timed stands."""
    run = found.run
    try:
        ceilings = measure_ceilings(crew, run.plan, run.machine, seconds)
    except CaseEnded as end:
        warned = replace(run, warnings=(*run.warnings, f"what the device can do is not known: {end.reason}"))
        store.write(found.folder, warned, found.samples)
        return replace(found, run=warned)
    write_ceilings(found.folder / CEILINGS_FILE, ceilings)
    return replace(found, ceilings=ceilings)
