"""One loop against the baseline of its own run: paired by round, claimed by launch."""

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
RoundLogs: TypeAlias = "pd.Series[float]"  # (rounds,) natural logs of seconds a step, by launch and round

BASELINE = "eager"  # the loop that every other is compared with
QUAD = 4  # blocks of a turn that belong together: two with laps, two without
# The columns of ``Samples.blocks`` that a comparison looks at.
FIGURES = ("case", "launch", "round", "block", "lapped", "steps", "host_seconds", "device_seconds")
NARROWEST_SAME, WIDEST_SAME = 0.01, 0.05  # `same` leaves open a log ratio of the noise floor, held between these


def block_seconds(blocks: pd.DataFrame) -> pd.Series:
    """Seconds a step of each block: the device's where a device was timed, else the host's."""
    return seconds_of(blocks) / blocks["steps"]


def round_logs(blocks: pd.DataFrame) -> pd.DataFrame:
    """The median log seconds a step of the blocks without laps: a row a (launch, round), a column a case.

    What disturbs a block only makes it longer: on a shared 2-core machine the mean's interval was half as wide again.
    NaN where a case has no block in a round.
    """
    plain = blocks.loc[~blocks["lapped"], list(FIGURES)]
    logs = pd.Series(np.log(block_seconds(plain)), plain.index)
    return logs.groupby([plain["case"], plain["launch"], plain["round"]]).median().unstack("case")


def step_seconds(rounds: pd.DataFrame) -> dict[int, Estimate]:
    """Seconds a step of every case of ``round_logs``, by case; the geometric mean over launches."""
    return {case: logs.map(math.exp) for case, logs in over_launches(rounds).items()}


def log_speedups(rounds: pd.DataFrame, baseline: int) -> dict[int, Estimate]:
    """ln(baseline's step / this step), by case: positive is faster. Only of those that share a round with it.

    Each round of ``round_logs`` gives a pair, whose blocks ran so close together that a machine that slows down slows
    both; each launch the median of its pairs; the launches the interval, infinite for one alone.
    """
    if baseline not in rounds:
        return {}
    return over_launches(rounds.drop(columns=baseline).rsub(rounds[baseline], axis="index"))


def over_launches(rounds: pd.DataFrame) -> dict[int, Estimate]:
    """Each case over its launches, which differ by more than the samples of one: the mean of their medians."""
    launches = rounds.groupby(level="launch").median()  # of the rounds that there are
    known = {int(str(case)): column.dropna().to_numpy() for case, column in launches.items()}
    return {case: student(values) for case, values in known.items() if len(values)}


def lap_costs(blocks: pd.DataFrame) -> "pd.Series[float]":
    """How much longer each quad's steps take with their phases timed than without, as a log ratio.

    A quad's lapped and plain blocks (ABBA or BAAB, at random) ran side by side in one process, and are paired.
    """
    logs = pd.Series(np.log(block_seconds(blocks)), blocks.index)
    quad = (blocks["block"] // QUAD).rename("quad")
    places = [blocks["case"], blocks["launch"], blocks["round"], quad, blocks["lapped"]]
    means = logs.groupby(places).mean().unstack("lapped").reindex(columns=[False, True])
    costs: pd.Series[float] = (means[True] - means[False]).dropna()
    return costs


def instrumentation(costs: "pd.Series[float]") -> Estimate | None:
    """How many times as long a step takes with its phases timed as without, from ``lap_costs``; 1 is free."""
    return median(costs).map(math.exp) if len(costs) else None


def verdict(log_ratio: Estimate, noise_floor: float | None) -> Verdict:
    """What may be said of a difference.

    ``faster`` or ``slower`` when the interval excludes zero and the difference exceeds the noise floor (a log ratio:
    how far apart the baseline and its own repetition may be); ``same`` when the whole interval lies within that floor,
    held between 1 % and 5 %; ``inconclusive`` otherwise, and wherever the floor was not measured.
    """
    if noise_floor is None:
        return "inconclusive"
    if log_ratio.excludes_zero and abs(log_ratio.value) > noise_floor:
        return "faster" if log_ratio.value > 0 else "slower"
    return "same" if log_ratio.reach <= min(max(noise_floor, NARROWEST_SAME), WIDEST_SAME) else "inconclusive"


def rounds_of(blocks: pd.DataFrame) -> RoundLogs:
    """Log seconds a step of one case in each of its rounds, from its blocks without laps; of lapped ones, none."""
    return round_logs(blocks).sum(axis="columns", min_count=1)  # of the one column


def step_logs(rounds: RoundLogs) -> LaunchLogs:
    """Log seconds a step of each launch of one case: the median of its rounds."""
    return np.asarray(rounds.groupby(level="launch").median(), dtype=np.float64)


def ratio_logs(rounds: RoundLogs, baseline: RoundLogs) -> LaunchLogs:
    """ln(this step / the baseline's step) of each launch, paired by round in one run; empty where they share none."""
    return step_logs((rounds - baseline).dropna())


def phase_logs(laps: pd.DataFrame) -> dict[str, LaunchLogs]:
    """Log seconds a step in each phase of one case, for each launch the median of its lapped steps.

    A phase that repeats within a step counts with all its turns. One too short for the clock is left out.
    """
    steps = counted_laps(laps).groupby(["phase", "launch", "step"], observed=True)["seconds"].sum()
    medians = steps.groupby(level=["phase", "launch"], observed=True).median()
    by_phase = medians.groupby(level="phase", observed=True)
    return {str(name): np.log(rows.to_numpy()) for name, rows in by_phase if (rows > 0).all()}


def peaks_of_memory(case: Case) -> list[int]:
    """Bytes at each launch's peak; of launches that hold the compiler's too, only where there is no other."""
    known = [(launch.compile_cache, bytes_) for launch in case.launches if (bytes_ := launch.peak_memory_bytes)]
    return [bytes_ for cache, bytes_ in known if cache != "cold"] or [bytes_ for _, bytes_ in known]
