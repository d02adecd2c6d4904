"""What each launch of a case came to, as logs: the values that two separate runs are compared by."""

from typing import TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from loopmark.bench.judge.comparison import round_logs
from loopmark.bench.judge.laps import counted
from loopmark.bench.records.run import Case

Logs = NDArray[np.float64]
"""One value a launch, the natural log of seconds, bytes or a ratio; the order says nothing. (launches,)"""
Rounds: TypeAlias = "pd.Series[float]"
"""One value a round, the natural log of seconds a step; the index tells launch and round. (rounds,)"""


def rounds_of(blocks: pd.DataFrame) -> Rounds:
    """Log seconds a step of one case in each of its rounds, from its blocks without laps; of lapped ones, none."""
    return round_logs(blocks).sum(axis="columns", min_count=1)  # of the one column


def step_logs(rounds: Rounds) -> Logs:
    """Log seconds a step of each launch of one case: the median of its rounds."""
    return _medians(rounds)


def ratio_logs(rounds: Rounds, baseline: Rounds) -> Logs:
    """ln(this step / the baseline's step) of each launch, paired by round in one run; empty where they share none."""
    return _medians((rounds - baseline).dropna())


def phase_logs(laps: pd.DataFrame) -> dict[str, Logs]:
    """Log seconds a step in each phase of one case, for each launch the median of its lapped steps.

    On the device's clock where there is one, else the host's. A phase that repeats within a step (gradient
    accumulation) counts with all its turns. One that the clock is too coarse for, at no time at all, is left out.
    """
    steps = counted(laps).groupby(["phase", "launch", "step"], observed=True)["seconds"].sum()
    medians = steps.groupby(level=["phase", "launch"], observed=True).median()
    by_phase = medians.groupby(level="phase", observed=True)
    return {str(name): np.log(rows.to_numpy()) for name, rows in by_phase if (rows > 0).all()}


def memory_logs(case: Case) -> Logs:
    """Log bytes of each launch's peak memory; empty where it was not measured."""
    return np.log(peaks_of_memory(case))


def peaks_of_memory(case: Case) -> list[int]:
    """Bytes at the peak of each launch where it was measured.

    A launch that compiled from nothing holds the compiler's memory too, so it counts only where there is no other.
    """
    known = [(launch.compile_cache, bytes_) for launch in case.launches if (bytes_ := launch.peak_memory_bytes)]
    steady = [bytes_ for cache, bytes_ in known if cache != "cold"]
    return steady or [bytes_ for _, bytes_ in known]


def _medians(values: Rounds) -> Logs:
    return np.asarray(values.groupby(level="launch").median(), dtype=np.float64)
