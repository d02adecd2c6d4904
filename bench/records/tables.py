"""Tidy tables on disk: Parquet with checksums, each column of the type that it was written with."""

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from loopmark.bench.errors import BadInput
from loopmark.bench.records.limits import MOST_COUNTED, span_of

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile

AGAIN = "copy the folder again or repeat the run"

Columns = dict[str, str]
"""The names of a table's columns, in order, each with its type."""


def typed(columns: Columns, frame: pd.DataFrame) -> pd.DataFrame:
    """``frame`` with ``columns``, in order and typed. Raises KeyError for a missing column."""
    return frame[list(columns)].astype(columns).reset_index(drop=True)


def table(columns: Columns, rows: list[dict[str, object]] | None = None) -> pd.DataFrame:
    """A table of ``rows``; of none, one with the right columns and types."""
    return typed(columns, pd.DataFrame(rows or [], columns=list(columns)))


def as_parquet(frame: pd.DataFrame) -> bytes:
    """The file's content."""
    return bytes(frame.to_parquet(index=False, write_page_checksum=True))


def read(folder: Path, name: str, columns: Columns, categories: Collection[str] = ()) -> pd.DataFrame:
    """The table ``name``.parquet of ``folder``.

    Args:
        categories: the columns of text that come as categories, in alphabetical order: ten million rows of six names
            are 10 MB as numbers and 150 MB as text, and are grouped several times as fast.

    Raises:
        BadInput: it is missing, damaged or of other types.
    """
    # Reading alone needs this part of pyarrow, as pandas knows, which imports it just as late.
    from pyarrow import parquet

    path = folder / f"{name}.parquet"
    texts = [column for column, kind in columns.items() if kind == "str"]
    try:
        # From an open file: given a path, pyarrow and pandas would take a folder for a table.
        with no_pipe(path).open("rb") as content:
            file = parquet.ParquetFile(content, page_checksum_verification=True, read_dictionary=texts)
            # A column at a time, since a whole table would be in memory twice while it is made pandas' own.
            found = {column: _column(file, column, kind, column in categories) for column, kind in columns.items()}
        return pd.DataFrame(found, copy=False)
    except FileNotFoundError:
        raise BadInput(f"{folder} lacks {path.name}; copy the whole folder, or repeat the run") from None
    except KeyError as error:
        (column,) = error.args
        text = column.decode(errors="replace") if isinstance(column, bytes) else column  # pyarrow's own are bytes
        raise BadInput(f"{path} lacks the column '{text}'; {AGAIN}") from None
    except (OSError, ValueError, TypeError, pa.ArrowException) as error:
        raise BadInput(f"cannot read {path}: {line(error)}; {AGAIN}") from None


def no_pipe(path: Path) -> Path:
    """``path``, to be opened. Raises OSError for a pipe or a device, which might be waited for without end."""
    if path.exists() and not (path.is_file() or path.is_dir()):  # of a folder, opening it says so
        raise OSError("it is a pipe or a device, and no file")
    return path


def expect(path: Path, column: "pd.Series[Any]", possible: "pd.Series[bool]", why: str) -> None:
    """Raise BadInput with the first row of the table ``path`` whose value of ``column`` is not ``possible``."""
    if not possible.all():
        row = int(possible.to_numpy().argmin())
        raise damaged(path, f"column '{column.name}' holds {column.iloc[row]} in row {row}, but {why}")


def damaged(path: Path, error: BaseException | str, again: str = AGAIN) -> BadInput:
    """A file whose content cannot be."""
    return BadInput(f"{path} is damaged: {line(error)}; {again}")


def line(error: BaseException | str) -> str:
    """What ``error`` says, on one line that is not too long and may go on."""
    return " ".join(str(error).split())[:160].rstrip(".")


def _column(file: "ParquetFile", column: str, kind: str, as_categories: bool) -> pd.Series:
    """One column, of the type that it should have. Raises KeyError, TypeError or ValueError where it has another."""
    table = file.read(columns=[column])
    if table.column_names != [column]:
        raise KeyError(column)
    values = table.column(0).to_pandas()
    texts = values.cat.categories if isinstance(values.dtype, pd.CategoricalDtype) else values
    # A cast would hide damage: as a bool, the text "False" is True.
    if not (pd.api.types.is_string_dtype(texts) if kind == "str" else values.dtype == kind):
        raise TypeError(f"column '{column}' should be {kind}, not {texts.dtype}")
    span = (0, MOST_COUNTED) if kind.startswith("int") else span_of(column)
    if span is not None:
        _expect_between(column, values.to_numpy(), *span)
    if kind != "str":
        # A column in one piece stays Arrow's own memory, which nobody may write to.
        own: pd.Series = values.copy() if table.column(0).num_chunks == 1 else values
    else:
        own = values.cat.reorder_categories(sorted(texts)) if as_categories else values.astype(kind)
    return own


def _expect_between(column: str, values: NDArray[Any], least: float, most: float) -> None:
    """Raise ValueError with the first row that is below ``least`` or beyond ``most``; NaN is neither."""
    bounds = (np.minimum, np.maximum) if values.dtype.kind == "i" else (np.fmin, np.fmax)  # the latter pass NaN over
    low, high = (bound.reduce(values, initial=0) for bound in bounds)  # no copy of ten million rows
    if low < least or high > most:
        row = int(np.argmax((values < least) | (values > most)))
        raise ValueError(
            f"column '{column}' holds {values[row]} in row {row}, which is not between {least:g} and {most:g}"
        )
