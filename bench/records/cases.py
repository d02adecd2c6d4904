"""A run's table, case by case."""

import numpy as np
import pandas as pd


class ByCase:
    """One of ``Samples``' tables, split by its cases once.

    To look for each case's rows among all of them takes cases x rows. A case's rows are copied only when asked for, so
    that the table is not in memory twice.

    Args:
        table: it has a column ``case``.
    """

    def __init__(self, table: pd.DataFrame) -> None:
        self._table = table
        self._places = table.groupby("case", sort=False).indices

    def __getitem__(self, case: int) -> pd.DataFrame:
        """The rows of ``case``, in their order and with their index; none where there are none."""
        places = self._places.get(case)
        return self._table.iloc[:0] if places is None else self._table.take(np.asarray(places, dtype=np.intp))
