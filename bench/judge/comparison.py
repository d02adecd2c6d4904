"""One loop against the baseline of its own run: paired by round, claimed by launch."""

import math
from typing import Literal

import numpy as np
import pandas as pd

from bench.judge.statistics import Estimate, median, over_launches, student
from bench.records.samples import seconds_of

Verdict = Literal["faster", "slower", "same", "inconclusive"]

BASELINE = "eager"
"""The loop that every other is compared with."""
QUAD = 4
"""Blocks of a turn that belong together: two with laps, two without."""
NARROWEST_SAME, WIDEST_SAME = 0.01, 0.05
"""The log ratio that ``same`` leaves open: the noise floor, but no less than anyone asks for, and no more than anyone
would call the same."""


def block_seconds(blocks: pd.DataFrame) -> pd.Series:
    """Seconds a step of each block: the device's where a device was timed, else the host's."""
    return seconds_of(blocks) / blocks["steps"]


def round_logs(blocks: pd.DataFrame, *, lapped: bool) -> pd.Series:
    """The median log seconds a step of one case's blocks in each (launch, round).

    The median, since what disturbs a block only ever makes it longer: on a shared 2-core machine the mean's interval
    was half as wide again.
    """
    chosen = blocks[blocks["lapped"] == lapped]
    logs = pd.Series(np.log(block_seconds(chosen)), chosen.index)
    return logs.groupby([chosen["launch"], chosen["round"]]).median()


def step_seconds(blocks: pd.DataFrame) -> Estimate:
    """Seconds a step of one case, from its blocks without laps; the geometric mean over launches."""
    return over_launches(_by_launch(round_logs(blocks, lapped=False))).map(math.exp)


def log_speedup(blocks: pd.DataFrame, baseline: pd.DataFrame) -> Estimate | None:
    """ln(baseline's step / this step): positive is faster. None where they share no round.

    Each round gives one pair, whose two blocks ran within the same fraction of a second, so that a machine
    that slows down slows both; each launch gives the median of its pairs; the launches give the interval. One
    launch alone gives an infinite one: a claim is about the next process too, and of that it says nothing.
    """
    pairs = (round_logs(baseline, lapped=False) - round_logs(blocks, lapped=False)).dropna()
    return over_launches(_by_launch(pairs)) if len(pairs) else None


def log_speedups(blocks: pd.DataFrame, baseline: int) -> dict[int, Estimate]:
    """``log_speedup`` of every case of ``blocks`` but the ``baseline``, by case; only of those that share a round.

    All cases at once, since a history has thousands of them.
    """
    plain = blocks.loc[~blocks["lapped"], ["case", "launch", "round", "steps", "host_seconds", "device_seconds"]]
    logs = pd.Series(np.log(block_seconds(plain)), plain.index)
    medians = logs.groupby([plain["case"], plain["launch"], plain["round"]]).median().unstack("case")
    if baseline not in medians:
        return {}
    pairs = medians.drop(columns=baseline).rsub(medians[baseline], axis="index")
    launches = pairs.groupby(level="launch").median()  # of the pairs that there are
    known = {int(str(case)): column.dropna() for case, column in launches.items()}
    return {case: student(values) for case, values in known.items() if len(values)}


def instrumentation(blocks: pd.DataFrame) -> Estimate | None:
    """How many times longer a step takes with its phases timed than without; 1 is free.

    The lapped and the plain blocks of one quad (ABBA or BAAB, at random) are paired; they ran side by side in one
    process. ``blocks`` may hold several cases; each quad is of one.
    """
    quads = [blocks["case"], blocks["launch"], blocks["round"], blocks["block"] // QUAD]
    logs = pd.Series(np.log(block_seconds(blocks)), blocks.index)
    lapped, plain = (
        logs[chosen].groupby([quad[chosen] for quad in quads]).mean()
        for chosen in (blocks["lapped"], ~blocks["lapped"])
    )
    pairs = (lapped - plain).dropna()
    return median(pairs).map(math.exp) if len(pairs) else None


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


def _by_launch(values: pd.Series) -> list[np.ndarray]:
    return [group.to_numpy() for _, group in values.groupby(level="launch")]
