"""Tidy tables on disk: Parquet with checksums, each column of the type that it was written with."""

import io
from pathlib import Path

import pandas as pd
import pyarrow as pa

from bench.errors import BadInput

LONGEST_SECONDS = 1e9
"""Thirty years; what was timed longer was not timed."""
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


def read(folder: Path, name: str, columns: Columns) -> pd.DataFrame:
    """The table ``name``.parquet of ``folder``. Raises BadInput for one that is missing, damaged or of other types."""
    path = folder / f"{name}.parquet"
    try:
        # From bytes: given a path, pandas would take a folder for a table.
        content = io.BytesIO(path.read_bytes())
        frame = pd.read_parquet(content, page_checksum_verification=True)
        _expect_types(frame, columns)
        return typed(columns, frame)
    except FileNotFoundError:
        raise BadInput(f"{folder} lacks {path.name}; copy the whole folder, or repeat the run") from None
    except KeyError as error:
        raise damaged(path, error) from None
    except (OSError, ValueError, TypeError, pa.ArrowException) as error:
        raise BadInput(f"cannot read {path}: {line(error)}; {AGAIN}") from None


def damaged(path: Path, error: BaseException | str, again: str = AGAIN) -> BadInput:
    """A file whose content cannot be."""
    return BadInput(f"{path} is damaged: {line(error)}; {again}")


def line(error: BaseException | str) -> str:
    """What ``error`` says, on one line that is not too long."""
    return " ".join(str(error).split())[:160]


def _expect_types(frame: pd.DataFrame, columns: Columns) -> None:
    # A cast would hide damage: as a bool, the text "False" is True.
    for column, kind in columns.items():
        found = frame[column].dtype
        if not (pd.api.types.is_string_dtype(frame[column]) if kind == "str" else found == kind):
            raise TypeError(f"column '{column}' should be {kind}, not {found}")
        if column.endswith("seconds"):
            low, high = frame[column].min(), frame[column].max()  # of what is not NaN
            if low < 0 or high > LONGEST_SECONDS:
                raise ValueError(f"column '{column}' holds seconds that cannot be, {low:g} to {high:g}")
