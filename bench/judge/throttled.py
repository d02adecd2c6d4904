"""Blocks under a throttle, and what became of them."""

from dataclasses import replace

import pandas as pd

from bench.records.samples import Samples
from bench.records.throttle import disturbs

_GROUP = ["case", "launch", "round", "lapped"]
_BLOCK = ["case", "launch", "round", "block"]


def throttled(blocks: pd.DataFrame) -> "pd.Series[bool]":
    """For each block, whether the GPU's clock was held down when it ended."""
    return blocks["throttle_reasons"].fillna("") != ""


def counted(blocks: pd.DataFrame) -> "pd.Series[bool]":
    """For each block, whether it counts: a throttled one does not where its round has others that were not.

    A turn under a throttle is taken again at its round's end; where that too was throttled, all that there is counts,
    and is marked. A block at the power cap always counts: that is the loop's own doing.
    """
    held = blocks["throttle_reasons"].fillna("").map(disturbs)
    any_free = (~held).groupby([blocks[column] for column in _GROUP]).transform("any")
    return ~(held & any_free)


def without_throttled(samples: Samples) -> Samples:
    """The samples that count."""
    if not throttled(samples.blocks).any():
        return samples
    blocks = samples.blocks[counted(samples.blocks)]
    kept = pd.MultiIndex.from_frame(blocks[_BLOCK])
    laps = samples.phases[pd.MultiIndex.from_frame(samples.phases[_BLOCK]).isin(kept)]
    return replace(samples, blocks=blocks, phases=laps)
