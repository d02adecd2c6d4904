"""A run's table, case by case."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray


class ByCase:
    """One of ``Samples``' tables, split by its cases once.

    To look for each case's rows among all of them takes cases x rows. A case's rows are copied only when asked for, so
    that the table is not in memory twice.

    Args:
        table: it has a column ``case``.
        kept: for each row whether it is wanted; None where all are. (rows,)
    """

    def __init__(self, table: pd.DataFrame, kept: NDArray[np.bool_] | None = None) -> None:
        self._table = table
        rows = None if kept is None else np.flatnonzero(kept)
        places = (table if rows is None else table[["case"]].take(rows)).groupby("case", sort=False).indices
        self._places = places if rows is None else {case: rows[at] for case, at in places.items()}

    def __getitem__(self, case: int) -> pd.DataFrame:
        """The rows of ``case``, in their order and with their index; none where there are none."""
        places = self._places.get(case)
        return self._table.iloc[:0] if places is None else self._table.take(np.asarray(places, dtype=np.intp))
