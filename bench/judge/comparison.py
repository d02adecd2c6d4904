"""One loop compared with the baseline of its own run, paired by round, with intervals over launches."""

import math
from typing import Literal, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from loopmark.bench.judge.laps import counted_laps
from loopmark.bench.judge.statistics import Estimate, median, student
from loopmark.bench.records.run import Case
from loopmark.bench.records.samples import seconds_of

Verdict = Literal["faster", "slower", "same", "inconclusive"]
LaunchLogs = NDArray[np.float64]  # (launches,) natural logs of seconds, bytes or a ratio, in any order
RoundLogs: TypeAlias = "pd.Series[float]"  # (rounds,) natural logs of seconds per step, by launch and round

QUAD = 4  # blocks of a turn that form a group: two with laps, two without
# The columns of ``Samples.blocks`` that a comparison needs.
FIGURES = ("case", "launch", "round", "block", "lapped", "steps", "host_seconds", "device_seconds")
NARROWEST_SAME, WIDEST_SAME = 0.01, 0.05  # limits of the largest log ratio for `same`, which is the noise floor


def block_seconds(blocks: pd.DataFrame) -> pd.Series:
    """Seconds per step of each block: the device's if a device was timed, else the host's."""
    return seconds_of(blocks) / blocks["steps"]


def round_logs(blocks: pd.DataFrame) -> pd.DataFrame:
    """The median log seconds per step of the blocks without laps: one row per (launch, round), one column per case.

    The median, since disturbances only lengthen a block: on a shared 2-core machine the mean's interval was half as
    wide again. NaN if a case has no block in a round.
    """
    plain = blocks.loc[~blocks["lapped"], list(FIGURES)]
    logs = pd.Series(np.log(block_seconds(plain)), plain.index)
    return logs.groupby([plain["case"], plain["launch"], plain["round"]]).median().unstack("case")


def step_seconds(rounds: pd.DataFrame) -> dict[int, Estimate]:
    """Seconds per step of every case of ``round_logs``, by case; the geometric mean over launches."""
    return {case: logs.map(math.exp) for case, logs in over_launches(rounds).items()}


def log_speedups(rounds: pd.DataFrame, baseline: int) -> dict[int, Estimate]:
    """ln(baseline's step / this step), by case; positive is faster. Only cases that share a round with the baseline.

    Each round of ``round_logs`` gives a pair, whose blocks ran so close together that a slower machine slows both. A
    launch's value is the median of its pairs. The interval is over launches, and infinite for a single one.
    """
    if baseline not in rounds:
        return {}
    return over_launches(rounds.drop(columns=baseline).rsub(rounds[baseline], axis="index"))


def over_launches(rounds: pd.DataFrame) -> dict[int, Estimate]:
    """Each case's mean over its launches' medians, since launches differ by more than the samples of one launch."""
    launches = rounds.groupby(level="launch").median()  # over the existing rounds
    known = {int(str(case)): column.dropna().to_numpy() for case, column in launches.items()}
    return {case: student(values) for case, values in known.items() if len(values)}


def lap_costs(blocks: pd.DataFrame) -> "pd.Series[float]":
    """The log ratio of each quad's steps with timed phases to those without.

    A quad's lapped and plain blocks (ABBA or BAAB, at random) ran next to each other in one process, and are paired.
    """
    logs = pd.Series(np.log(block_seconds(blocks)), blocks.index)
    quad = (blocks["block"] // QUAD).rename("quad")
    places = [blocks["case"], blocks["launch"], blocks["round"], quad, blocks["lapped"]]
    means = logs.groupby(places).mean().unstack("lapped").reindex(columns=[False, True])
    costs: pd.Series[float] = (means[True] - means[False]).dropna()
    return costs


def instrumentation(costs: "pd.Series[float]") -> Estimate | None:
    """The time of a step with timed phases over that without, from ``lap_costs``; 1 means no cost."""
    return median(costs).map(math.exp) if len(costs) else None


def verdict(log_ratio: Estimate, noise_floor: float | None) -> Verdict:
    """The verdict on a difference.

    ``faster`` or ``slower`` if the interval excludes zero and the difference exceeds the noise floor (a log ratio: the
    possible difference of the baseline and its repetition); ``same`` if the whole interval lies within that floor,
    clipped to 1 % to 5 %; ``inconclusive`` otherwise, and if the floor was not measured.
    """
    if noise_floor is None:
        return "inconclusive"
    if log_ratio.excludes_zero and abs(log_ratio.value) > noise_floor:
        return "faster" if log_ratio.value > 0 else "slower"
    return "same" if log_ratio.reach <= min(max(noise_floor, NARROWEST_SAME), WIDEST_SAME) else "inconclusive"


def step_logs(rounds: RoundLogs) -> LaunchLogs:
    """Log seconds per step of each launch of one case: the median of its rounds."""
    return np.asarray(rounds.groupby(level="launch").median(), dtype=np.float64)


def ratio_logs(rounds: RoundLogs, baseline: RoundLogs) -> LaunchLogs:
    """ln(this step / the baseline's step) of each launch, paired by round in one run; empty without common rounds."""
    return step_logs((rounds - baseline).dropna())


def phase_logs(laps: pd.DataFrame) -> dict[str, LaunchLogs]:
    """Log seconds per step in each phase of one case: for each launch, the median of its lapped steps.

    The parts of a phase that repeats within a step are added up. A phase too short for the clock is left out.
    """
    steps = counted_laps(laps).groupby(["phase", "launch", "step"], observed=True)["seconds"].sum()
    medians = steps.groupby(level=["phase", "launch"], observed=True).median()
    by_phase = medians.groupby(level="phase", observed=True)
    return {str(name): np.log(rows.to_numpy()) for name, rows in by_phase if (rows > 0).all()}


def peaks_of_memory(case: Case) -> list[int]:
    """Bytes at each launch's peak. A launch that also holds the compiler's memory counts only if there is no other."""
    known = [(launch.compile_cache, bytes_) for launch in case.launches if (bytes_ := launch.peak_memory_bytes)]
    return [bytes_ for cache, bytes_ in known if cache != "cold"] or [bytes_ for _, bytes_ in known]
