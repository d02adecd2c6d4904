"""One loop against the baseline of its own run: paired by round, claimed by launch."""

import math
from typing import Literal

import numpy as np
import pandas as pd

from loopmark.bench.judge.statistics import Estimate, median, student
from loopmark.bench.records.samples import seconds_of

Verdict = Literal["faster", "slower", "same", "inconclusive"]

BASELINE = "eager"
"""The loop that every other is compared with."""
QUAD = 4
"""Blocks of a turn that belong together: two with laps, two without."""
FIGURES = ("case", "launch", "round", "block", "lapped", "steps", "host_seconds", "device_seconds")
"""The columns of ``Samples.blocks`` that a comparison looks at."""
NARROWEST_SAME, WIDEST_SAME = 0.01, 0.05
"""The log ratio that ``same`` leaves open: the noise floor, but no less than anyone asks for, and no more than anyone
would call the same."""


def block_seconds(blocks: pd.DataFrame) -> pd.Series:
    """Seconds a step of each block: the device's where a device was timed, else the host's."""
    return seconds_of(blocks) / blocks["steps"]


def round_logs(blocks: pd.DataFrame) -> pd.DataFrame:
    """The median log seconds a step of the blocks without laps: a row a (launch, round), a column a case.

    The median, since what disturbs a block only ever makes it longer: on a shared 2-core machine the mean's interval
    was half as wide again. NaN where a case has no block in a round.
    """
    plain = blocks.loc[~blocks["lapped"], list(FIGURES)]
    logs = pd.Series(np.log(block_seconds(plain)), plain.index)
    return logs.groupby([plain["case"], plain["launch"], plain["round"]]).median().unstack("case")


def step_seconds(rounds: pd.DataFrame) -> dict[int, Estimate]:
    """Seconds a step of every case of ``round_logs``, by case; the geometric mean over launches."""
    return {case: logs.map(math.exp) for case, logs in over_launches(rounds).items()}


def log_speedups(rounds: pd.DataFrame, baseline: int) -> dict[int, Estimate]:
    """ln(baseline's step / this step), by case: positive is faster. Only of those that share a round with it.

    Each round of ``round_logs`` gives one pair, whose two blocks ran within the same fraction of a second, so that a
    machine that slows down slows both; each launch gives the median of its pairs; the launches give the interval. One
    launch alone gives an infinite one: a claim is about the next process too, and of that it says nothing.
    """
    if baseline not in rounds:
        return {}
    return over_launches(rounds.drop(columns=baseline).rsub(rounds[baseline], axis="index"))


def over_launches(rounds: pd.DataFrame) -> dict[int, Estimate]:
    """What repeated launches say of each case: the mean of each launch's median, with the spread between launches.

    A launch is the unit because processes differ from one another (memory layout, hash seeds, thread placement) by
    more than the samples within one of them do.
    """
    launches = rounds.groupby(level="launch").median()  # of the rounds that there are
    known = {
        int(str(case)): column[~np.isnan(column)] for case, column in zip(launches, launches.to_numpy().T, strict=True)
    }
    return {case: student(values) for case, values in known.items() if len(values)}


def lap_costs(blocks: pd.DataFrame) -> "pd.Series[float]":
    """By how much each quad's steps take longer with their phases timed than without, as a log ratio.

    The lapped and the plain blocks of one quad (ABBA or BAAB, at random) are paired; they ran side by side in one
    process. The index tells the case, launch, round and quad.
    """
    quads = [blocks[column] for column in ("case", "launch", "round")] + [(blocks["block"] // QUAD).rename("quad")]
    logs = pd.Series(np.log(block_seconds(blocks)), blocks.index)
    means = logs.groupby([*quads, blocks["lapped"]]).mean().unstack("lapped").reindex(columns=[False, True])
    costs: pd.Series[float] = (means[True] - means[False]).dropna()
    return costs


def instrumentation(costs: "pd.Series[float]") -> Estimate | None:
    """How many times longer a step takes with its phases timed than without, of ``lap_costs``; 1 is free."""
    return median(costs).map(math.exp) if len(costs) else None


def verdict(log_ratio: Estimate, noise_floor: float | None) -> Verdict:
    """What may be said of a difference.

    ``faster`` or ``slower`` when the interval excludes no difference and the difference exceeds the noise
    floor (a log ratio: how far apart the baseline and its own repetition may be); ``same`` when the whole
    interval lies within that floor, held between 1 % and 5 %; ``inconclusive`` otherwise, and
    wherever the floor was not measured.
    """
    if noise_floor is None:
        return "inconclusive"
    if log_ratio.excludes_zero and abs(log_ratio.value) > noise_floor:
        return "faster" if log_ratio.value > 0 else "slower"
    return "same" if log_ratio.reach <= min(max(noise_floor, NARROWEST_SAME), WIDEST_SAME) else "inconclusive"
