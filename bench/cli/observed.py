"""The runs of a history: each read by itself, so that only few runs' samples are in memory, and what is wanted kept."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from loopmark.bench.cli.options import is_same_loop, refuse_unknown
from loopmark.bench.cores import over_cores
from loopmark.bench.errors import BadInput
from loopmark.bench.judge.comparison import round_logs
from loopmark.bench.judge.history import Observation, lost, measured, observe
from loopmark.bench.judge.laps import counted_blocks
from loopmark.bench.records.run import Run
from loopmark.bench.records.store import digest_of, read_run, read_table

Wanted = tuple[str, ...]


@dataclass
class Observed:
    """What came of looking at a run."""

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
    """Looks at runs, and keeps what was asked for.

    Args:
        workloads: that are wanted; all where there is none.
        loops: likewise, with their techniques in any order.
        warn: is told what is left out, and why.
    """

    def __init__(self, workloads: Wanted, loops: Wanted, warn: Callable[[str], None]) -> None:
        self._workloads, self._loops, self._warn = workloads, loops, warn
        self._kept: list[Observed] = []

    @property
    def count(self) -> int:
        """How many runs could be read."""
        return len(self._kept)

    def observations(
        self, folders: Sequence[Path], tell: Callable[[str, float, float | None], None]
    ) -> list[Observation]:
        """Every loop's ratio in every run; a run that cannot be read is a warning.

        Raises:
            BadInput: no run could be read, or none of them has a name that was asked for.
        """
        found = over_cores(self._look_at, folders, lambda done: tell("reading the runs", done, None))
        digests: dict[str, Path] = {}
        for one in found:
            if one.digest in digests:
                self._warn(f"left out: {one.folder} is a copy of {digests[one.digest]}")
                continue
            for warning in one.warnings:
                self._warn(warning)
            if one.mistake is not None:
                self._warn(f"left out: {one.mistake}")
                continue
            # Only now: the copy of a run that could not be read may be whole.
            digests[one.digest] = one.folder
            self._kept.append(one)
        self._check(found)
        return [seen for one in self._kept for seen in one.observations]

    def _check(self, found: Sequence[Observed]) -> None:
        first_mistake = next((one.mistake for one in found if one.mistake is not None), None)
        if not self._kept and first_mistake is not None:
            raise first_mistake
        refuse_unknown("workload", self._workloads, {name for one in found for name in one.workloads})
        refuse_unknown("loop", self._loops, {name for one in found for name in one.loops})

    def _look_at(self, folder: Path) -> Observed:
        observed = Observed(folder)
        try:
            self._observe(observed)
        except BadInput as error:
            observed.mistake = error
        return observed

    def _observe(self, observed: Observed) -> None:
        folder = observed.folder
        run = read_run(folder)
        observed.digest = digest_of(folder)
        observed.workloads = {case.workload for case in run.cases}
        observed.loops = {case.loop for case in run.cases}
        blocks, no_longer_training = read_table(folder, "blocks", run), lost(read_table(folder, "losses", run))
        rounds = round_logs(blocks[counted_blocks(blocks)])
        for workload in self._wanted_workloads(run):
            places = measured(run, workload)
            if not places:
                observed.warnings.append(f"{folder}: {workload} has no ratio there, since eager was not measured")
                continue
            base, *others = places
            if base in no_longer_training:
                observed.warnings.append(f"{folder}: {workload} is left out, since eager's loss was not finite")
                continue
            wanted = [
                i for i in others if not self._loops or any(is_same_loop(n, run.cases[i].loop) for n in self._loops)
            ]
            for i in (i for i in wanted if i in no_longer_training):
                loop = run.cases[i].loop
                observed.warnings.append(f"{folder}: {loop} on {workload} is left out, since its loss was not finite")
            kept = [i for i in (base, *wanted) if i not in no_longer_training and i in rounds]
            observed.observations += observe(run, rounds[kept], workload, str(folder))

    def _wanted_workloads(self, run: Run) -> list[str]:
        present = dict.fromkeys(case.workload for case in run.cases)
        return [w for w in present if not self._workloads or w in self._workloads]
