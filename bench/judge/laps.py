"""A case's laps as arrays: which block, step and phase each is of. Millions of rows are numbered in a pass or two."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Numbers = NDArray[np.intp]
BLOCK = ["case", "launch", "round", "block"]
"""The columns that tell one block from the others."""


class LapsByCase:
    """A run's laps, case by case; ten million of them are neither sorted nor copied to be split, their blocks are.

    Args:
        laps: ``Samples.phases``.
        blocks: rows of ``Samples.blocks`` whose laps are wanted; None where all are.
    """

    def __init__(self, laps: pd.DataFrame, blocks: pd.DataFrame | None = None) -> None:
        self._laps = laps
        self._starts = np.flatnonzero(begins_block(laps))
        self._lengths = np.diff(self._starts, append=len(laps))
        if blocks is not None:
            own, wanted = (pd.MultiIndex.from_frame(frame[BLOCK]) for frame in (laps.take(self._starts), blocks))
            kept = own.isin(wanted)
            self._starts, self._lengths = self._starts[kept], self._lengths[kept]
        cases = laps["case"].to_numpy()[self._starts]
        self._blocks = {case: np.flatnonzero(cases == case) for case in np.unique(cases)}

    def __getitem__(self, case: int) -> pd.DataFrame:
        """The rows of ``case``, in their order and with their index; none where there are none."""
        blocks = self._blocks.get(case, self._starts[:0])
        starts, lengths = self._starts[blocks], self._lengths[blocks]
        before = np.cumsum(lengths) - lengths
        return self._laps.take(np.repeat(starts - before, lengths) + np.arange(lengths.sum()))


def begins_block(laps: pd.DataFrame) -> NDArray[np.bool_]:
    """For each row of ``Samples.phases`` whether a block begins with it: those of one were written one after the other.

    ``laps`` may hold several cases. (rows,)
    """
    begins = np.ones(len(laps), dtype=bool)
    places = (laps[column].to_numpy() for column in BLOCK if column in laps)
    begins[1:] = np.logical_or.reduce([np.diff(place) != 0 for place in places])
    return begins


def found_busy(laps: pd.DataFrame) -> NDArray[np.bool_]:
    """For each row whether its step found the device at work. (rows,)

    The first of a block that has several did not: it is there for those after it. A graph's step, of which the host
    sees no phases, is read by itself and begins at work.
    """
    if laps.empty:
        return np.empty(0, dtype=bool)
    begins = np.flatnonzero(begins_block(laps))
    block = np.repeat(np.arange(len(begins)), np.diff(begins, append=len(laps)))
    step = laps["step"].to_numpy()
    first, last = (reach.reduceat(step, begins) for reach in (np.minimum, np.maximum))
    found: NDArray[np.bool_] = (step > first[block]) | (first == last)[block] | laps["host_seconds"].isna().to_numpy()
    return found


def counted(laps: pd.DataFrame) -> pd.DataFrame:
    """The rows that count, with their ``seconds``: on the device's clock those of steps that found it at work."""
    device = laps["device_seconds"]
    seconds = device.where(found_busy(laps)) if device.notna().any() else laps["host_seconds"]
    return laps.assign(seconds=seconds)[seconds.notna()]


def steps_of(laps: pd.DataFrame) -> tuple[Numbers, Numbers]:
    """The step that each row of one case is of, numbered from 0 (rows,), and the launch that each step is of (steps,).

    There is at least one row. Launches are numbered from 0 too, whatever their names are.
    """
    launch, step = pd.factorize(laps["launch"])[0], laps["step"].to_numpy(np.int64)
    key = launch * (step.max() - step.min() + 1) + step
    ahead = np.diff(key)
    if (ahead >= 0).all():  # as they were written; to hash them would take ten times as long
        first = np.append(True, ahead > 0)
        return np.cumsum(first) - 1, launch[first]
    numbers, keys = pd.factorize(key)
    launches = np.empty(len(keys), dtype=np.intp)
    launches[numbers] = launch
    return numbers, launches


def phases_of(laps: pd.DataFrame) -> tuple[Numbers, list[str]]:
    """The phase that each row is of, as a place in the list of their names. (rows,)"""
    phases = pd.Categorical(laps["phase"])
    return phases.codes.astype(np.intp), [str(name) for name in phases.categories]
