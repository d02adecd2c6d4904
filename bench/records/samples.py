"""Raw samples: tidy tables of the measured values, stored as Parquet with checksums. Everything else is derived."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from loopmark.bench.errors import BadInput
from loopmark.bench.records.files import AGAIN, MOST_COUNTED, as_json, damaged, line, no_pipe, replace_file, span_of

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile

Columns = dict[str, str]  # the names of a table's columns, in order, each with its type

# The tables of a run. `case` is an index into `Run.cases`. `launch` is a `Launch.index`; these numbers may have gaps.
# All times are seconds. A device column is NaN if the clock is the host's.
_LAUNCH = {"case": "int32", "launch": "int32"}
_BLOCK = {**_LAUNCH, "round": "int32", "block": "int32"}
_STEPS = {"first_step": "int64", "steps": "int64"}
TIMES = {"host_seconds": "float64", "device_seconds": "float64"}
ON_CORES = {"involuntary_switches": "int64", "steal_seconds": "float64"}  # disturbances of a block there
ON_GPU = {"throttle_reasons": "str", "foreign_processes": "int64"}
COLUMNS: dict[str, Columns] = {
    # One row per phase of a lapped step. Host seconds are NaN if the host sees nothing (in a graph). On a device the
    # step before a block's first is included: it began with an idle device, and does not count.
    "phases": {**_BLOCK, "step": "int64", "phase": "str", **TIMES},
    # One row per block: consecutive steps of one process, `lapped` phase by phase or timed as a whole.
    "blocks": {**_BLOCK, "lapped": "bool", **_STEPS, **TIMES, **ON_CORES, "sm_clock_hertz": "float64", **ON_GPU},
    # One row per warm-up step, each timed to its end.
    "warmup": {**_LAUNCH, "step": "int64", "seconds": "float64"},
    # One row per step whose loss was read: every warm-up step and every lapped one.
    "losses": {**_LAUNCH, "step": "int64", "loss": "float64"},
}
TABLES = tuple(COLUMNS)


@dataclass(frozen=True)
class Samples:
    """The four tables of a run; see ``COLUMNS``. ``phase`` is a category: group by it with ``observed=True``."""

    phases: pd.DataFrame
    blocks: pd.DataFrame
    warmup: pd.DataFrame
    losses: pd.DataFrame

    @classmethod
    def empty(cls) -> "Samples":
        """Four tables with the right columns and types, without rows."""
        return cls(**{name: table(COLUMNS[name]) for name in TABLES})


def seconds_of(rows: pd.DataFrame) -> "pd.Series[float]":
    """The seconds of blocks or phases: the device's if a device was timed, else the host's."""
    return rows["device_seconds"].fillna(rows["host_seconds"])


class ByCase:
    """A table split once by its column ``case``. The rows of a case are copied on access, not all at once."""

    def __init__(self, table: pd.DataFrame) -> None:
        self._table = table
        self._places = table.groupby("case", sort=False).indices

    def __getitem__(self, case: int) -> pd.DataFrame:
        """The rows of ``case``, in their order and with their index; empty if there are none."""
        places = self._places.get(case)
        return self._table.iloc[:0] if places is None else self._table.take(np.asarray(places, dtype=np.intp))


def typed(columns: Columns, frame: pd.DataFrame) -> pd.DataFrame:
    """``frame`` with ``columns`` in this order and of these types. Raises KeyError for a missing column."""
    return frame[list(columns)].astype(columns).reset_index(drop=True)


def table(columns: Columns, rows: list[dict[str, object]] | None = None) -> pd.DataFrame:
    """A table of ``rows``; without rows, an empty one with the right columns and types."""
    return typed(columns, pd.DataFrame(rows or [], columns=list(columns)))


def write_with_tables(path: Path, record: Any, tables: Mapping[str, pd.DataFrame]) -> None:
    """Write ``record`` to ``path`` as JSON and each table beside it; each file is replaced in one move.

    Everything is encoded before any file is replaced. The record comes last, so a folder with a record is complete.
    """
    content = as_json(record)
    encoded = {name: frame.to_parquet(index=False, write_page_checksum=True) for name, frame in tables.items()}
    for name, parquet in encoded.items():
        replace_file(path.with_name(f"{name}.parquet"), parquet)
    replace_file(path, content)


def read_columns(folder: Path, name: str, columns: Columns, categories: Collection[str] = ()) -> pd.DataFrame:
    """The table ``name``.parquet of ``folder``. Raises BadInput if it is missing, damaged or has other types.

    Args:
    categories: the text columns to read as categories, in alphabetical order: ten million rows of six names take
    10 MB as numbers and 150 MB as text, and numbers are grouped several times as fast.
    """
    # Imported here, since only reading needs this part of pyarrow; pandas imports it as late.
    from pyarrow import parquet

    path = folder / f"{name}.parquet"
    texts = [column for column, kind in columns.items() if kind == "str"]
    try:
        # From an open file: with a path, pyarrow and pandas would read a folder as a table.
        with no_pipe(path).open("rb") as content:
            file = parquet.ParquetFile(content, page_checksum_verification=True, read_dictionary=texts)
            # A column at a time, since the conversion to pandas would hold a whole table in memory twice.
            found = {column: _column(file, column, kind, column in categories) for column, kind in columns.items()}
        return pd.DataFrame(found, copy=False)
    except FileNotFoundError:
        raise BadInput(f"{folder} lacks {path.name}; copy the whole folder, or repeat the run") from None
    except KeyError as error:
        (column,) = error.args
        text = column.decode(errors="replace") if isinstance(column, bytes) else column  # pyarrow's own error has bytes
        raise BadInput(f"{path} lacks the column '{text}'; {AGAIN}") from None
    except (OSError, ValueError, TypeError, pa.ArrowException) as error:
        raise BadInput(f"cannot read {path}: {line(error)}; {AGAIN}") from None


def expect(path: Path, column: "pd.Series[Any]", possible: "pd.Series[bool]", why: str) -> None:
    """Raise BadInput, with the first such row, if a value of ``column`` in the table ``path`` is not ``possible``."""
    if not possible.all():
        row = int(possible.to_numpy().argmin())
        raise damaged(path, f"column '{column.name}' holds {column.iloc[row]} in row {row}, but {why}")


def _column(file: "ParquetFile", column: str, kind: str, as_categories: bool) -> pd.Series:
    """One column of the expected type. Raises KeyError, TypeError or ValueError for any other."""
    table = file.read(columns=[column])
    if table.column_names != [column]:
        raise KeyError(column)
    values: pd.Series[Any] = table.column(0).to_pandas()
    texts = values.cat.categories if isinstance(values.dtype, pd.CategoricalDtype) else values
    # A cast would hide damage: the text "False" becomes True as a bool.
    if not (pd.api.types.is_string_dtype(texts) if kind == "str" else values.dtype == kind):
        raise TypeError(f"column '{column}' should be {kind}, not {texts.dtype}")
    span = (0, MOST_COUNTED) if kind.startswith("int") else span_of(column)
    if span is not None:
        _expect_between(column, values.to_numpy(), *span)
    if kind == "str":
        return values.cat.reorder_categories(sorted(texts)) if as_categories else values.astype("str")
    # A column in one chunk would share Arrow's memory, which is read-only.
    return values.copy() if table.column(0).num_chunks == 1 else values


def _expect_between(column: str, values: NDArray[Any], least: float, most: float) -> None:
    """Raise ValueError, with the first such row, for a value below ``least`` or above ``most``; NaN is allowed."""
    bounds = (np.minimum, np.maximum) if values.dtype.kind == "i" else (np.fmin, np.fmax)  # the latter ignore NaN
    low, high = (bound.reduce(values, initial=0) for bound in bounds)  # no copy of ten million rows
    if low < least or high > most:
        row = int(np.argmax((values < least) | (values > most)))
        found = f"column '{column}' holds {values[row]} in row {row}"
        raise ValueError(f"{found}, which is not between {least:g} and {most:g}")
