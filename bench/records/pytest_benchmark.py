"""A file of pytest-benchmark: what of it an imported run is made of.

``--benchmark-json`` writes it, and so does ``--benchmark-save`` together with ``--benchmark-save-data``. Loopmark's own
pytest plugin and ``loopmark export`` add what they know in ``extra_info``.
"""

import json
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

from loopmark.bench.errors import BadInput
from loopmark.bench.records.codec import Mismatch, decode
from loopmark.bench.records.limits import LONGEST_SECONDS, MOST_COUNTED
from loopmark.bench.records.tables import line, no_pipe

KEY = "loopmark"
"""Of what Loopmark adds, in ``extra_info`` and in ``machine_info``."""
MAKE_ONE = "make one with pytest --benchmark-json=FILE"


@dataclass(frozen=True)
class Stats:
    """A benchmark's rounds."""

    data: tuple[float, ...] | None = None
    """Seconds an iteration, one a round; None in a file that was saved without them."""
    iterations: int = 1
    """In each round."""


@dataclass(frozen=True)
class Told:
    """What Loopmark itself wrote of the loop that was measured; None of another benchmark."""

    workload: str | None = None
    loop: str | None = None
    repeat: str | None = None
    """``yes`` for the baseline's second appearance."""
    phase: str | None = None
    """Of a row that is one phase of a step."""
    device: str | None = None
    size: str | None = None
    batch_size: int | None = None
    parameters: int | None = None
    data_sha256: str | None = None
    threads: int | None = None
    rounds_per_launch: tuple[int, ...] = ()
    """How many of the rounds, in order, are of each launch; without it a file is one launch."""


@dataclass(frozen=True)
class Benchmark:
    """One row."""

    name: str
    fullname: str
    stats: Stats
    group: str | None = None
    told: Told = Told()

    @property
    def launches(self) -> tuple[slice, ...]:
        """The rounds of each launch."""
        count, ends = len(self.stats.data or ()), list(accumulate(self.told.rounds_per_launch, initial=0))
        if ends[-1] != count or min(self.told.rounds_per_launch) < 1:
            return (slice(0, count),)
        return tuple(slice(begin, end) for begin, end in pairwise(ends))

    @property
    def parent(self) -> str:
        """The full name of the whole step's row, of a phase's row: ``test[resnet]`` for ``test[resnet-forward]``."""
        alone, last = f"[{self.told.phase}]", f"-{self.told.phase}]"
        if self.fullname.endswith(last):
            return self.fullname.removesuffix(last) + "]"
        return self.fullname.removesuffix(alone)


@dataclass(frozen=True)
class Cpu:
    """What py-cpuinfo tells of it."""

    brand_raw: str | None = None
    count: int | None = None


@dataclass(frozen=True)
class Facts:
    """What Loopmark adds of the machine."""

    gpus: tuple[str, ...] | None = None
    """None where nobody looked for any."""
    driver: str | None = None
    torch: str | None = None
    cuda: str | None = None
    physical_cores: int | None = None
    memory_bytes: int | None = None
    threads: int | None = None
    device: str | None = None
    size: str | None = None


@dataclass(frozen=True)
class Host:
    """The machine, as far as the file tells; a network name, which it may hold too, is none of our business."""

    machine: str | None = None
    python_version: str | None = None
    system: str | None = None
    release: str | None = None
    cpu: Cpu = Cpu()
    loopmark: Facts = Facts()


@dataclass(frozen=True)
class Stored:
    """One file: one session of pytest."""

    path: Path
    datetime: str
    host: Host
    benchmarks: tuple[Benchmark, ...]


def read_stored(path: Path) -> Stored:
    """The file's benchmarks.

    Raises:
        BadInput: there is no such file, or it is none of pytest-benchmark's, damaged, or without its rounds.
    """
    try:
        content = json.loads(no_pipe(path).read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise BadInput(f"there is no file {path}; {MAKE_ONE}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise BadInput(f"cannot read {path}: {line(error)}; {MAKE_ONE}") from None
    if not (isinstance(content, dict) and isinstance(content.get("benchmarks"), list)):
        raise BadInput(f"{path} is no file of pytest-benchmark: it has no list of benchmarks; {MAKE_ONE}")
    if not content["benchmarks"]:
        raise BadInput(f"{path} holds no benchmark; {MAKE_ONE}, and a test that uses its fixture")
    try:
        host = decode(Host, content.get("machine_info") or {}, "machine_info")
        started = decode(str, content.get("datetime", ""), "datetime")
        rows = tuple(_benchmark(row, f"benchmarks[{i}]") for i, row in enumerate(content["benchmarks"]))
    except Mismatch as error:
        raise BadInput(f"{path} is damaged: {line(error)}; {MAKE_ONE}") from None
    for row in rows:
        _expect_rounds(path, row)
    return Stored(path, started, host, rows)


def _benchmark(row: Any, place: str) -> Benchmark:
    if not isinstance(row, dict):
        raise Mismatch(f"{place} should be an object")
    extra = row.get("extra_info")
    told = extra.get(KEY) if isinstance(extra, dict) else None
    return decode(Benchmark, {**row, "told": told or {}}, place)


def _expect_rounds(path: Path, row: Benchmark) -> None:
    name, data = line(row.fullname), row.stats.data
    if not data:
        raise BadInput(
            f"{path} holds no rounds of {name}, of which all else is derived: repeat it with --benchmark-save-data, or "
            "with --benchmark-json=FILE"
        )
    if not 0 < row.stats.iterations * len(data) < MOST_COUNTED:
        many = f"{len(data):,} rounds of {row.stats.iterations:,} iterations"
        raise BadInput(f"{path} is damaged: {name} has {many}, which cannot be; {MAKE_ONE}")
    if row.told.batch_size is not None and row.told.batch_size < 1:
        raise BadInput(f"{path} is damaged: {name} has a batch of {row.told.batch_size}; {MAKE_ONE}")
    bad = next((seconds for seconds in data if not 0 <= seconds * row.stats.iterations <= LONGEST_SECONDS), None)
    if bad is not None:
        raise BadInput(f"{path} is damaged: a round of {name} took {bad:g} s; {MAKE_ONE}")
