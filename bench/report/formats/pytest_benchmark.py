"""A run in the storage format of ``pytest-benchmark compare`` and ``--benchmark-compare``.

A case is a benchmark in its workload's group, and each phase is a benchmark in its own group, named as by the pytest
plugin. Rounds are seconds a step: of blocks timed as a whole for a step, and of lapped blocks for a phase. The rounds
of each launch (their number), the verdict and the intervals are in ``extra_info``.
"""

import json
import statistics
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from loopmark import __version__
from loopmark.bench.judge.comparison import block_seconds
from loopmark.bench.judge.laps import counted_blocks, laps_by_case, phases_by_block
from loopmark.bench.judge.statistics import finite
from loopmark.bench.judge.summary import Summary
from loopmark.bench.records import PYTEST_BENCHMARK_KEY
from loopmark.bench.records.run import Run
from loopmark.bench.records.samples import ByCase, Samples
from loopmark.bench.report.figures import record
from loopmark.bench.report.formats.entry import LOOP_LENGTH, Entry, distinct, entries
from loopmark.bench.report.text import elide, plain

MOST_ROUNDS = 100_000  # of all benchmarks; a larger run's file has none, as without ``--benchmark-save-data``
_BLOCK = ["launch", "round", "block"]


def export(summary: Summary, samples: Samples) -> str:
    """Every case that was measured, and its phases."""
    blocks, laps = ByCase(samples.blocks[counted_blocks(samples.blocks)]), laps_by_case(samples)
    measured = [(one, _rounds(blocks[one.index]), _phases(one, laps[one.index])) for one in entries(summary)]
    count = sum(len(rounds) + sum(map(len, phases.values())) for _, rounds, phases in measured)
    benchmarks = [b for one in measured for b in _benchmarks(*one, include_data=count <= MOST_ROUNDS)]
    commit, _, changes = (summary.run.environment.code or "").partition("+")
    stored = {
        "machine_info": _machine(summary.run),
        "commit_info": {
            "id": commit or "unknown", "time": None, "author_time": None, "dirty": bool(changes), "project": "unknown",
            "branch": "(unknown)",
        },
        "benchmarks": benchmarks,
        "datetime": summary.run.started,
        "version": f"loopmark {__version__}",
    }  # fmt: skip
    return json.dumps(stored, indent=4, allow_nan=False) + "\n"


def _rounds(blocks: pd.DataFrame) -> "pd.Series[float]":
    """Seconds a step in each block timed as a whole, by launch, in the order in which they were measured."""
    chosen = blocks[~blocks["lapped"]].sort_values(_BLOCK)
    return pd.Series(block_seconds(chosen).to_numpy(), chosen["launch"].to_numpy(), dtype=float)


def _phases(entry: Entry, laps: pd.DataFrame) -> dict[str, "pd.Series[float]"]:
    """Seconds a step of each phase in each lapped block; on the device's clock where there is one."""
    by_launch = phases_by_block(laps).droplevel(["round", "block"])
    found = {phase: by_launch[phase].dropna() for phase in entry.row.case.phases if phase in by_launch}
    return {phase: rows for phase, rows in found.items() if len(rows)}


def _benchmarks(
    entry: Entry, rounds: "pd.Series[float]", phases: dict[str, "pd.Series[float]"], *, include_data: bool
) -> Iterator[dict[str, Any]]:
    figures = {name: plain(v) if isinstance(v, str) else v for name, v in record(entry.row, entry.of).items()}
    yield _benchmark(entry, None, rounds, {**figures, "said": list(entry.words)}, include_data)
    names = distinct(zip(phases, phases, strict=True), LOOP_LENGTH)
    for phase, seconds in phases.items():
        yield _benchmark(entry, names[phase], seconds, {"phase": names[phase]}, include_data)


def _benchmark(
    entry: Entry, phase: str | None, rounds: "pd.Series[float]", extra: dict[str, Any], include_data: bool
) -> dict[str, Any]:
    ending = f"-{phase}" if phase else ""
    name = f"{entry.workload}[{entry.loop}{ending}]"
    launches = [int(count) for count in rounds.groupby(level=0).size()]
    whose = {"workload": entry.workload, "loop": elide(entry.row.case.loop, LOOP_LENGTH), "rounds_per_launch": launches}
    return {
        "group": f"{entry.workload} {phase}" if phase else entry.workload,
        "name": name,
        "fullname": f"loopmark::{name}",
        "params": {"workload": entry.workload, "loop": entry.loop, "phase": phase or "step"},
        "param": f"{entry.loop}{ending}",
        "extra_info": {PYTEST_BENCHMARK_KEY: extra | whose},
        "options": {},
        "stats": stats([float(value) for value in rounds], include_data),
    }


def stats(data: Sequence[float], include_data: bool = True) -> dict[str, Any]:
    """The statistics of at least one round, by the definitions of ``pytest_benchmark.stats.Stats``."""
    ordered, count, total, mean = sorted(data), len(data), sum(data), statistics.mean(data)
    deviation = statistics.stdev(data) if count > 1 else 0.0
    q1, q3 = map(float, np.quantile(ordered, (0.25, 0.75), method="hazen"))
    iqr = q3 - q1
    unusual = sum(not mean - deviation <= value <= mean + deviation for value in data)
    outliers = sum(not q1 - 1.5 * iqr <= value <= q3 + 1.5 * iqr for value in data)
    return {
        "min": ordered[0],
        "max": ordered[-1],
        "mean": mean,
        "stddev": deviation,
        "rounds": count,
        "median": statistics.median(data),
        "iqr": iqr,
        "q1": q1,
        "q3": q3,
        "iqr_outliers": outliers,
        "stddev_outliers": unusual,
        "outliers": f"{unusual};{outliers}",
        "ld15iqr": ordered[0] if count == 1 else ordered[bisect_left(ordered, q1 - 1.5 * iqr)],
        "hd15iqr": ordered[bisect_right(ordered, q3 + 1.5 * iqr) - 1],
        "ops": finite(count / total if total else 0.0) or 0.0,
        "total": total,
        **({"data": list(data)} if include_data else {}),
        "iterations": 1,
    }


def _machine(run: Run) -> dict[str, Any]:
    machine, software = run.machine, run.environment
    system, _, release = plain(machine.operating_system).partition(" ")
    versions = {"driver": software.driver, "torch": software.torch, "cuda": software.cuda}
    return {
        "machine": plain(machine.architecture),
        "python_version": plain(software.python),
        "system": system,
        "release": release,
        "cpu": {"brand_raw": plain(machine.cpu), "count": machine.logical_cores},
        PYTEST_BENCHMARK_KEY: {
            "gpus": [plain(gpu.name) for gpu in machine.gpus],
            **{name: version and plain(version) for name, version in versions.items()},
            "physical_cores": machine.physical_cores,
            "memory_bytes": machine.memory_bytes,
            "threads": software.threads,
            "device": plain(run.plan.device),
            "size": plain(run.plan.size),
        },
    }
