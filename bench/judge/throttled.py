"""Blocks under a throttle, and what became of them."""

from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.judge.laps import begins_block
from bench.records.cases import ByCase
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
    reasons = blocks["throttle_reasons"].fillna("")
    held = reasons.isin([reason for reason in reasons.unique() if disturbs(reason)])
    if not held.any():
        return ~held
    any_free = (~held).groupby([blocks[column] for column in _GROUP]).transform("any")
    return ~(held & any_free)


def without_throttled(samples: Samples) -> Samples:
    """The samples that count."""
    if not throttled(samples.blocks).any():
        return samples
    blocks = samples.blocks[counted(samples.blocks)]
    return replace(samples, blocks=blocks, phases=samples.phases[_are_of(samples.phases, blocks)])


def laps_by_case(samples: Samples) -> ByCase:
    """The laps that count: ten million of them are not copied to leave a few throttled ones out."""
    if not throttled(samples.blocks).any():
        return ByCase(samples.phases)
    return ByCase(samples.phases, _are_of(samples.phases, samples.blocks[counted(samples.blocks)]))


def _are_of(laps: pd.DataFrame, blocks: pd.DataFrame) -> NDArray[np.bool_]:
    """For each row of ``Samples.phases``, whether it belongs to one of ``blocks``. (rows,)"""
    first = begins_block(laps)
    sought = laps.loc[first, _BLOCK]
    numbers = pd.concat([sought, blocks[_BLOCK]]).groupby(_BLOCK, sort=False).ngroup().to_numpy()
    kept = np.isin(numbers[: len(sought)], numbers[len(sought) :])
    found: NDArray[np.bool_] = kept[np.cumsum(first) - 1]
    return found
