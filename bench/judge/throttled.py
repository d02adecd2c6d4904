"""Blocks under a throttle, and what became of them."""

import pandas as pd

from loopmark.bench.judge.laps import LapsByCase
from loopmark.bench.records.run import disturbs
from loopmark.bench.records.samples import Samples

_GROUP = ["case", "launch", "round", "lapped"]


def throttled(blocks: pd.DataFrame) -> "pd.Series[bool]":
    """For each block, whether the GPU's clock was held down when it ended."""
    return blocks["throttle_reasons"].fillna("") != ""


def counted(blocks: pd.DataFrame) -> "pd.Series[bool]":
    """For each block, whether it counts: a throttled one does not where its round has others that were not.

    A turn under a throttle is taken again at its round's end; where that too was throttled, all that there is counts,
    and is marked. A block at the power cap always counts: that is the loop's own doing.
    """
    reasons = blocks["throttle_reasons"].fillna("")
    held = reasons.isin([reason for reason in reasons.unique() if disturbs(reason)])
    if not held.any():
        return ~held
    any_free = (~held).groupby([blocks[column] for column in _GROUP]).transform("any")
    return ~(held & any_free)


def laps_by_case(samples: Samples) -> LapsByCase:
    """The laps that count."""
    blocks = counted(samples.blocks)
    return LapsByCase(samples.phases, None if blocks.all() else samples.blocks[blocks])
