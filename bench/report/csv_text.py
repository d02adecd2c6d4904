"""A table as comma-separated text. What others wrote in it is no formula to a spreadsheet, no command to a terminal."""

import csv
import io
import unicodedata
from collections.abc import Iterable, Mapping, Sequence

FORMULA = ("=", "+", "-", "@")
"""What a spreadsheet takes a cell for a formula by."""


def csv_text(headings: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """``headings``, and the rows below them; nothing for None.

    A text that begins as a formula does gets an apostrophe before it; control and direction characters are left out.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(map(_cell, headings))
    writer.writerows(map(_cell, row) for row in rows)
    return text.getvalue()


def csv_of(records: Sequence[Mapping[str, object]], otherwise: Iterable[str] = ()) -> str:
    """``csv_text`` of records whose keys are the headings; ``otherwise`` where there is no record."""
    headings = list(records[0] if records else otherwise)
    return csv_text(headings, ([record.get(name) for name in headings] for record in records))


def _cell(value: object) -> object:
    if not isinstance(value, str):
        return value
    clean = "".join(c for c in value if unicodedata.category(c) not in {"Cc", "Cf"})
    return f"'{clean}" if clean.startswith(FORMULA) else clean
