"""A run of those that are compared, read and judged in one go, whichever process does it."""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from loopmark.bench.cli.warning_list import Warnings
from loopmark.bench.errors import BadInput
from loopmark.bench.judge.history import start_of
from loopmark.bench.judge.run_comparison import JudgedRun
from loopmark.bench.judge.side_by_side import FoundRun, PhaseEstimates, estimate_phases
from loopmark.bench.judge.summary import Summary, summarise
from loopmark.bench.judge.training import TrainingSummary, summarise_training
from loopmark.bench.records.ceilings import Ceilings
from loopmark.bench.records.run import Run
from loopmark.bench.records.samples import Samples
from loopmark.bench.records.store import ceilings_of, digest_of, read_run, read_table, training_of


class Judged(NamedTuple):
    """A run that was read, and is known by what its samples came to."""

    found: FoundRun
    summary: Summary
    phases: PhaseEstimates
    samples: Samples
    """Without the phases, which are most of them."""


class Reading(NamedTuple):
    """What came of reading a run: it was judged, or there was a mistake."""

    judged: Judged | None
    mistake: BadInput | None
    warnings: Warnings


def find(folder: Path) -> tuple[FoundRun, str] | BadInput:
    """The run of ``folder`` with its digest, or why there is none to be read."""
    try:
        run = read_run(folder)
        return FoundRun(str(folder), run, start_of(run, str(folder))), digest_of(folder)
    except BadInput as error:
        return error


def judge(found: FoundRun) -> Reading:
    """Read and judge a run that was found."""
    warnings = Warnings()
    try:
        return Reading(_judged(found, warnings), None, warnings)
    except BadInput as error:
        return Reading(None, error, warnings)


def _judged(found: FoundRun, warnings: Warnings) -> Judged:
    folder, run = Path(found.folder), found.run
    tables = {name: read_table(folder, name, run) for name in ("blocks", "phases", "losses")}
    samples = Samples(**tables, warmup=Samples.empty().warmup)
    if run.interrupted:
        warnings.add("it was interrupted, and holds only what had been measured by then", folder)
    summary = summarise(run, samples, _training(folder, run, warnings), _ceilings(folder, run, warnings))
    return Judged(found, summary, estimate_phases(run, samples), replace(samples, phases=Samples.empty().phases))


def _training(folder: Path, run: Run, warnings: Warnings) -> TrainingSummary | None:
    try:
        trained = training_of(folder, run)
    except BadInput as error:
        warnings.add_error("how its loops train is not known", folder, error)
        return None
    return summarise_training(*trained) if trained else None


def _ceilings(folder: Path, run: Run, warnings: Warnings) -> Ceilings | None:
    try:
        return ceilings_of(folder, run)
    except BadInput as error:
        warnings.add_error("what its device can do is not known", folder, error)
        return None


def side_of(judged: Judged) -> JudgedRun:
    """The run as it is held against another."""
    return JudgedRun.of(judged.found.run, judged.samples, judged.summary)
