"""A run with what lies beside it in its folder: how its loops trained, and what its device can do."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

from loopmark.bench.errors import BadInput
from loopmark.bench.records.ceilings import CEILINGS_FILE, Ceilings, read_ceilings
from loopmark.bench.records.run import Run
from loopmark.bench.records.samples import Samples
from loopmark.bench.records.store import read, read_run, read_table
from loopmark.bench.records.training import Training
from loopmark.bench.records.training_samples import TrainingSamples
from loopmark.bench.records.training_store import TRAINING_FILE, read_training

T = TypeVar("T")


class Whole(NamedTuple):
    """All that a run's folder holds."""

    run: Run
    samples: Samples
    trained: tuple[Training, TrainingSamples] | None
    ceilings: Ceilings | None


def read_whole(folder: Path) -> Whole:
    """All that ``folder`` holds. Raises BadInput where it holds no run, or anything of it is damaged or another's."""
    run, samples = read(folder)
    return Whole(run, samples, training_of(folder, run), ceilings_of(folder, run))


def salvage(folder: Path) -> Whole:
    """All of ``folder`` that can be read; what cannot is a warning of the run, beside what is known without it.

    Raises:
        BadInput: where ``folder`` holds no run, or what every verdict rests on is damaged: its blocks, or the losses,
            which tell what speed is claimed of no loop.
    """
    run, lost = read_run(folder), []

    def attempt(read: Callable[[], T], without: T, unknown: str) -> T:
        try:
            return read()
        except BadInput as error:
            lost.append(f"{unknown} is not known: {error}")
            return without

    needed = {name: read_table(folder, name, run) for name in ("blocks", "losses")}
    spared = {
        name: attempt(partial(read_table, folder, name, run), getattr(Samples.empty(), name), unknown)
        for name, unknown in (("phases", "how long each phase takes"), ("warmup", "how each loop warmed up"))
    }
    trained = attempt(lambda: training_of(folder, run), None, "how the loops train")
    ceilings = attempt(lambda: ceilings_of(folder, run), None, "what the device can do")
    warned = replace(run, warnings=(*run.warnings, *lost))
    return Whole(warned, Samples(**needed, **spared), trained, ceilings)


def training_of(folder: Path, run: Run) -> tuple[Training, TrainingSamples] | None:
    """How the loops of ``run`` trained; None where that was not looked at. Raises BadInput as ``read_training`` does.

    And where it is of other loops than the run's: none of its plots and tables would have a place.
    """
    trained = read_training(folder)
    if trained is not None:
        own = {(case.workload, case.loop) for case in run.cases if not case.repeat}
        training, _ = trained
        its = [*(trial.key for trial in training.trials), *(proof.key for proof in training.proofs)]
        for workload, loop in (key for key in its if key not in own):
            raise BadInput(
                f"{folder / TRAINING_FILE} is of another run: {loop!r:.60} on {workload!r:.60} is none of this one's; "
                "remove it"
            )
    return trained


def ceilings_of(folder: Path, run: Run) -> Ceilings | None:
    """What the device of ``run`` can do; None where that was not measured. Raises BadInput as ``read_ceilings`` does.

    And where it is another device's.
    """
    path = folder / CEILINGS_FILE
    ceilings = read_ceilings(path)
    if ceilings is not None and not ceilings.belong_to(run):
        raise BadInput(f"{path} is of another device, machine or number of threads; remove it")
    return ceilings
