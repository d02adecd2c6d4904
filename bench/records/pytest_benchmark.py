"""A file of pytest-benchmark: the parts of it that an import needs.

``--benchmark-json`` writes it, and so does ``--benchmark-save`` together with ``--benchmark-save-data``. Loopmark's own
pytest plugin and ``loopmark export`` add their facts in ``extra_info`` and in ``machine_info``.
"""

import json
from collections.abc import Sequence
from dataclasses import MISSING, dataclass, fields, replace
from functools import cached_property
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from loopmark.bench.errors import BadInput
from loopmark.bench.records import PYTEST_BENCHMARK_KEY
from loopmark.bench.records.files import LONGEST_SECONDS, MOST_COUNTED, Mismatch, damaged, decode, line, no_pipe
from loopmark.bench.records.run import Launch
from loopmark.bench.records.samples import COLUMNS, Samples, typed

MAKE_ONE = "make one with pytest --benchmark-json=FILE"


@dataclass(frozen=True)
class Stats:
    data: tuple[float, ...] | None = None  # seconds per iteration, one per round; None in a file saved without them
    iterations: int = 1


@dataclass(frozen=True)
class Told:
    """The facts that Loopmark wrote about its measured loop; empty for other benchmarks."""

    workload: str | None = None
    loop: str | None = None
    repeat: str | None = None  # `yes` for the baseline's repetition
    baseline: str | None = None  # the loop that it was compared with
    phase: str | None = None
    device: str | None = None
    size: str | None = None
    batch_size: int | None = None
    parameters: int | None = None
    data_sha256: str | None = None
    threads: int | None = None
    rounds_per_launch: tuple[int, ...] = ()  # of each launch, in order; empty if the file is one launch


@dataclass(frozen=True)
class Benchmark:
    name: str
    fullname: str
    stats: Stats
    group: str | None = None
    told: Told = Told()

    @property
    def workload(self) -> str:
        """Loopmark's name of the workload, or else the group, or else the file."""
        return self.told.workload or self.group or self.fullname.partition("::")[0]

    @property
    def seconds(self) -> NDArray[np.float64]:
        return np.asarray(self.stats.data or (), float) * self.stats.iterations

    @property
    def launches(self) -> tuple[slice, ...]:
        count, ends = len(self.stats.data or ()), list(accumulate(self.told.rounds_per_launch, initial=0))
        if ends[-1] != count or min(self.told.rounds_per_launch) < 1:
            return (slice(0, count),)
        return tuple(slice(begin, end) for begin, end in pairwise(ends))

    @property
    def parent(self) -> str:
        """The full name of the step that contains this phase: ``test[resnet]`` for ``test[resnet-forward]``."""
        alone, last = f"[{self.told.phase}]", f"-{self.told.phase}]"
        if self.fullname.endswith(last):
            return self.fullname.removesuffix(last) + "]"
        return self.fullname.removesuffix(alone)


@dataclass(frozen=True)
class Cpu:
    brand_raw: str | None = None
    count: int | None = None


@dataclass(frozen=True)
class AddedFacts:
    """Loopmark's additions to ``machine_info``."""

    gpus: tuple[str, ...] | None = None  # None if nothing looked for GPUs
    driver: str | None = None
    torch: str | None = None
    cuda: str | None = None
    physical_cores: int | None = None
    memory_bytes: int | None = None
    threads: int | None = None
    device: str | None = None
    size: str | None = None


@dataclass(frozen=True)
class MachineInfo:
    """``machine_info`` without the machine's network name, which is private."""

    machine: str | None = None
    python_version: str | None = None
    system: str | None = None
    release: str | None = None
    cpu: Cpu = Cpu()
    loopmark: AddedFacts = AddedFacts()


@dataclass(frozen=True)
class Stored:
    """One file: one session of pytest."""

    path: Path
    datetime: str
    machine: MachineInfo
    benchmarks: tuple[Benchmark, ...]

    @cached_property
    def steps(self) -> dict[str, Benchmark]:
        """The rows of whole steps, by their full names."""
        return {row.fullname: row for row in self.benchmarks if row.told.phase is None}

    @cached_property
    def phases(self) -> list[Benchmark]:
        return [row for row in self.benchmarks if row.told.phase is not None]


def read_stored(path: Path) -> Stored:
    """The file's benchmarks. Raises BadInput if it is missing, of another kind, damaged, or without rounds."""
    try:
        content = json.loads(no_pipe(path).read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise BadInput(f"there is no file {path}; {MAKE_ONE}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise BadInput(f"cannot read {path}: {line(error)}; {MAKE_ONE}") from None
    if not (isinstance(content, dict) and isinstance(content.get("benchmarks"), list)):
        raise BadInput(f"{path} is not a file of pytest-benchmark: it has no list of benchmarks; {MAKE_ONE}")
    if not content["benchmarks"]:
        raise BadInput(f"{path} holds no benchmark; {MAKE_ONE}, and a test that uses its fixture")
    try:
        machine = decode(MachineInfo, content.get("machine_info") or {}, "machine_info")
        started = decode(str, content.get("datetime", ""), "datetime")
        rows = tuple(_benchmark(row, f"benchmarks[{i}]") for i, row in enumerate(content["benchmarks"]))
    except Mismatch as error:
        raise damaged(path, error, MAKE_ONE) from None
    for row in rows:
        _expect_rounds(path, row)
    return Stored(path, started, machine, rows)


def _benchmark(row: Any, place: str) -> Benchmark:
    if not isinstance(row, dict):
        raise Mismatch(f"{place} should be an object")
    extra = row.get("extra_info")
    told = extra.get(PYTEST_BENCHMARK_KEY) if isinstance(extra, dict) else None
    return decode(Benchmark, {**row, "told": told or {}}, place)


def _expect_rounds(path: Path, row: Benchmark) -> None:
    name, data = line(row.fullname), row.stats.data
    if not data:
        remedy = "repeat it with --benchmark-save-data, or with --benchmark-json=FILE"
        raise BadInput(f"{path} holds no rounds of {name}, which an import needs: {remedy}")
    seconds = row.seconds
    possible = (seconds >= 0) & (seconds <= LONGEST_SECONDS)
    if not 0 < row.stats.iterations * len(data) < MOST_COUNTED:
        damage = f"{name} has {len(data):,} rounds of {row.stats.iterations:,} iterations, which is impossible"
    elif row.told.batch_size is not None and row.told.batch_size < 1:
        damage = f"{name} has a batch of {row.told.batch_size}"
    elif not possible.all():
        damage = f"a round of {name} took {data[int(possible.argmin())]:g} s"
    else:
        return
    raise BadInput(f"{path} is damaged: {damage}; {MAKE_ONE}")


WHOLE, LAPPED = 0, 1
"""The rounds of blocks. All whole rounds of a launch are in one, since rounds of two benchmarks never ran side by side,
and any pairing would be arbitrary."""
# Disturbances are unknown; the report shows no section for them, and the run's warning says why.
UNSEEN = {"involuntary_switches": 0, "steal_seconds": 0.0, "throttle_reasons": "", "foreign_processes": 0}
_FACTS = [field.name for field in fields(Launch) if field.default_factory is MISSING]
UNKNOWN_LAUNCH = Launch(**cast(dict[str, Any], dict.fromkeys(_FACTS)))


class ImportedRounds:
    """The blocks and laps of every case, in the order of their files."""

    def __init__(self) -> None:
        self._blocks: list[pd.DataFrame] = []
        self._laps: list[pd.DataFrame] = []

    def add(self, case: int, first: int, row: Benchmark, phases: Sequence[Benchmark]) -> list[Launch]:
        """Add a file's row, and return its launches, numbered from ``first``; ``phases`` fit it, see ``fitting``."""
        made = []
        for number, part in enumerate(row.launches):
            at = {"case": case, "launch": first + number}
            seconds = row.seconds[part]
            self._blocks.append(_blocks(at, WHOLE, 0, seconds, row.stats.iterations))
            steps = len(seconds) * row.stats.iterations
            if phases:
                laps = {str(phase.told.phase): phase.seconds[phase.launches[number]] for phase in phases}
                whole = np.sum(list(laps.values()), axis=0)
                self._blocks.append(_blocks(at, LAPPED, steps, whole, 1))
                self._laps.append(_laps(at, steps, laps))
                steps += len(whole)
            made.append(replace(UNKNOWN_LAUNCH, index=first + number, steps=steps))
        return made

    def samples(self) -> Samples:
        """The tables; those of warm-up and losses are empty."""
        samples = replace(Samples.empty(), blocks=typed(COLUMNS["blocks"], pd.concat(self._blocks)))
        return replace(samples, phases=typed(COLUMNS["phases"], pd.concat(self._laps))) if self._laps else samples


def fitting(row: Benchmark, phases: Sequence[Benchmark]) -> bool:
    """True if ``phases`` have the same lapped rounds of one step, and the same number of launches as ``row``."""
    shapes = {tuple(part.stop - part.start for part in phase.launches) for phase in phases}
    if len(shapes) != 1 or len({phase.told.phase for phase in phases}) < len(phases):
        return False
    whole = np.sum([phase.seconds for phase in phases], axis=0)
    alone = all(phase.stats.iterations == 1 for phase in phases)
    return len(shapes.pop()) == len(row.launches) and alone and bool((whole > 0).all())


def _blocks(
    at: dict[str, int], round_: int, first_step: int, seconds: NDArray[np.float64], iterations: int
) -> pd.DataFrame:
    count = np.arange(len(seconds))
    place = {**at, "round": round_, "block": count, "lapped": round_ == LAPPED}
    steps = {"first_step": first_step + count * iterations, "steps": iterations, "host_seconds": seconds}
    clocks = dict.fromkeys(("device_seconds", "sm_clock_hertz"), np.nan)
    return pd.DataFrame({**place, **steps, **clocks, **UNSEEN})


def _laps(at: dict[str, int], first_step: int, laps: dict[str, NDArray[np.float64]]) -> pd.DataFrame:
    """One row per phase of a lapped round, step by step."""
    count, seconds = len(next(iter(laps.values()))), np.column_stack(list(laps.values())).ravel()
    blocks = np.repeat(np.arange(count), len(laps))
    steps = {"block": blocks, "step": first_step + blocks, "phase": [*laps] * count}
    return pd.DataFrame({**at, "round": LAPPED, **steps, "host_seconds": seconds, "device_seconds": np.nan})
