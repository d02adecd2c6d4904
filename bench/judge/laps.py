"""A case's laps as arrays: which block, step and phase each is of. Millions of rows are numbered in a pass or two."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Numbers = NDArray[np.intp]


def begins_block(laps: pd.DataFrame) -> NDArray[np.bool_]:
    """For each row of ``Samples.phases`` whether a block begins with it: those of one were written one after the other.

    ``laps`` may hold several cases. (rows,)
    """
    begins = np.ones(len(laps), dtype=bool)
    places = (laps[column].to_numpy() for column in ("case", "launch", "round", "block") if column in laps)
    begins[1:] = np.logical_or.reduce([np.diff(place) != 0 for place in places])
    return begins


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
