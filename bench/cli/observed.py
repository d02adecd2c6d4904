"""The runs of a history: each read by itself, so that only few runs' samples are in memory, and what is wanted kept."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.cli.options import is_same_loop, refuse_unknown
from bench.cores import over_cores
from bench.errors import BadInput
from bench.judge.comparison import round_logs
from bench.judge.history import Observation, lost, measured, observe
from bench.judge.throttled import counted
from bench.records.run import Run
from bench.records.store import digest_of, read_run, read_table

Wanted = tuple[str, ...]


@dataclass
class Reading:
    """What came of reading a run."""

    folder: Path
    digest: str = ""
    """Of its ``run.json``."""
    workloads: set[str] = field(default_factory=set)
    loops: set[str] = field(default_factory=set)
    observations: list[Observation] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    mistake: BadInput | None = None
    """Why it cannot be read."""


class Finder:
    """Reads runs, and keeps what was asked for.

    Args:
        workloads: that are wanted; all where there is none.
        loops: likewise, with their techniques in any order.
        warn: is told what is left out, and why.
    """

    def __init__(self, workloads: Wanted, loops: Wanted, warn: Callable[[str], None]) -> None:
        self._workloads, self._loops, self._warn = workloads, loops, warn
        self._readings: list[Reading] = []

    @property
    def read(self) -> int:
        """How many runs could be read."""
        return len(self._readings)

    def observations(
        self, folders: Sequence[Path], tell: Callable[[str, float, float | None], None]
    ) -> list[Observation]:
        """Every loop's ratio in every run; a run that cannot be read is a warning.

        Raises:
            BadInput: no run could be read, or none of them has a name that was asked for.
        """
        found = over_cores(self._reading, folders, lambda done: tell(f"reading {len(folders)} runs", done, None))
        digests: dict[str, Path] = {}
        for reading in found:
            if reading.digest in digests:
                self._warn(f"left out: {reading.folder} is a copy of {digests[reading.digest]}")
                continue
            for warning in reading.warnings:
                self._warn(warning)
            if reading.mistake is not None:
                self._warn(f"left out: {reading.mistake}")
                continue
            # Only now: the copy of a run that could not be read may be whole.
            digests[reading.digest] = reading.folder
            self._readings.append(reading)
        self._check(next((reading.mistake for reading in found if reading.mistake is not None), None))
        return [seen for reading in self._readings for seen in reading.observations]

    def _check(self, first_mistake: BadInput | None) -> None:
        if not self._readings and first_mistake is not None:
            raise first_mistake
        refuse_unknown("workload", self._workloads, {name for r in self._readings for name in r.workloads})
        refuse_unknown("loop", self._loops, {name for r in self._readings for name in r.loops})

    def _reading(self, folder: Path) -> Reading:
        reading = Reading(folder)
        try:
            self._read(reading)
        except BadInput as error:
            reading.mistake = error
        return reading

    def _read(self, reading: Reading) -> None:
        folder = reading.folder
        run = read_run(folder)
        reading.digest = digest_of(folder)
        reading.workloads = {case.workload for case in run.cases}
        reading.loops = {case.loop for case in run.cases}
        blocks, no_longer_training = read_table(folder, "blocks", run), lost(read_table(folder, "losses", run))
        rounds = round_logs(blocks[counted(blocks)])
        for workload in self._wanted_workloads(run):
            places = measured(run, workload)
            if not places:
                reading.warnings.append(f"{folder}: {workload} has no ratio there, since eager was not measured")
                continue
            base, *others = places
            if base in no_longer_training:
                reading.warnings.append(f"{folder}: {workload} is left out, since eager's loss was not finite")
                continue
            wanted = [
                i for i in others if not self._loops or any(is_same_loop(n, run.cases[i].loop) for n in self._loops)
            ]
            for i in (i for i in wanted if i in no_longer_training):
                loop = run.cases[i].loop
                reading.warnings.append(f"{folder}: {loop} on {workload} is left out, since its loss was not finite")
            kept = [i for i in (base, *wanted) if i not in no_longer_training and i in rounds]
            reading.observations += observe(run, rounds[kept], workload, str(folder))

    def _wanted_workloads(self, run: Run) -> list[str]:
        present = dict.fromkeys(case.workload for case in run.cases)
        return [w for w in present if not self._workloads or w in self._workloads]
