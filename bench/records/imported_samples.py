"""The rounds of pytest-benchmark's files as blocks and laps, launch by launch."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from loopmark.bench.records.pytest_benchmark import Benchmark
from loopmark.bench.records.run import Launch
from loopmark.bench.records.samples import COLUMNS, Samples
from loopmark.bench.records.tables import typed

WHOLE, LAPPED = 0, 1
"""The rounds that blocks are put in. All whole rounds of a launch share one, since the rounds of two benchmarks were
never side by side: to pair them would be chance, and the median of a launch's is what there is."""

Laps = dict[str, NDArray[np.float64]]
"""Seconds a step of each phase, one a lapped round."""


class Rounds:
    """Blocks and laps of every case, as they come."""

    def __init__(self) -> None:
        self._blocks: list[pd.DataFrame] = []
        self._laps: list[pd.DataFrame] = []

    def add(self, case: int, first: int, row: Benchmark, phases: Sequence[Benchmark]) -> list[Launch]:
        """The launches, from number ``first`` on, that one file's row is of; ``phases`` fit it, see ``fitting``."""
        made = []
        for number, part in enumerate(row.launches):
            at = {"case": case, "launch": first + number}
            seconds = np.asarray(row.stats.data)[part] * row.stats.iterations
            self._blocks.append(_blocks(at, WHOLE, 0, seconds, row.stats.iterations))
            steps = len(seconds) * row.stats.iterations
            if phases:
                laps = {str(p.told.phase): np.asarray(p.stats.data)[p.launches[number]] for p in phases}
                whole = np.sum(list(laps.values()), axis=0)
                self._blocks.append(_blocks(at, LAPPED, steps, whole, 1))
                self._laps.append(_laps(at, steps, laps))
                steps += len(whole)
            made.append(_launch(first + number, steps))
        return made

    def samples(self) -> Samples:
        """The tables; nothing is known of warm-up and losses."""
        empty = Samples.empty()
        return Samples(
            phases=typed(COLUMNS["phases"], pd.concat(self._laps)) if self._laps else empty.phases,
            blocks=typed(COLUMNS["blocks"], pd.concat(self._blocks)) if self._blocks else empty.blocks,
            warmup=empty.warmup,
            losses=empty.losses,
        )


def fitting(row: Benchmark, phases: Sequence[Benchmark]) -> bool:
    """Whether phases are of the same lapped rounds of one step, in as many launches as ``row``."""
    shapes = {tuple(part.stop - part.start for part in phase.launches) for phase in phases}
    if len(shapes) != 1 or len({phase.told.phase for phase in phases}) < len(phases):
        return False
    (shape,) = shapes
    whole = np.sum([np.asarray(phase.stats.data) for phase in phases], axis=0)
    alone = all(phase.stats.iterations == 1 for phase in phases)
    return len(shape) == len(row.launches) and alone and bool((whole > 0).all())


def _blocks(
    at: dict[str, int], round_: int, first_step: int, seconds: NDArray[np.float64], iterations: int
) -> pd.DataFrame:
    count = np.arange(len(seconds))
    return pd.DataFrame(
        {
            **at,
            "round": round_,
            "block": count,
            "lapped": round_ == LAPPED,
            "first_step": first_step + count * iterations,
            "steps": iterations,
            "host_seconds": seconds,
            "device_seconds": np.nan,
            # Nobody looked; the report has no section for what nobody saw, and the run's warning says why.
            "involuntary_switches": 0,
            "steal_seconds": 0.0,
            "sm_clock_hertz": np.nan,
            "throttle_reasons": "",
            "foreign_processes": 0,
        }
    )


def _laps(at: dict[str, int], first_step: int, laps: Laps) -> pd.DataFrame:
    """One row a phase of a lapped round, step by step."""
    count, names = len(next(iter(laps.values()))), list(laps)
    return pd.DataFrame(
        {
            **at,
            "round": LAPPED,
            "block": np.repeat(np.arange(count), len(names)),
            "step": np.repeat(np.arange(first_step, first_step + count), len(names)),
            "phase": names * count,
            "host_seconds": np.column_stack([laps[name] for name in names]).ravel(),
            "device_seconds": np.nan,
        }
    )


def _launch(index: int, steps: int) -> Launch:
    return Launch(
        index=index, setup_seconds=None, first_step_seconds=None, warmup_steps=None, warmup_seconds=None, steady=None,
        steady_step_seconds=None, excess_seconds=None, compile_seconds=None, compile_cache=None, steps=steps,
        peak_memory_bytes=None, skipped_steps=None, final_scale=None, pid=None,
    )  # fmt: skip
