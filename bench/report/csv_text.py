"""A table as comma-separated text. What others wrote in it is no formula to a spreadsheet, no command to a terminal."""

import csv
import io
import unicodedata
from collections.abc import Iterable, Mapping, Sequence

FORMULA = ("=", "+", "-", "@")
"""What a spreadsheet takes a cell for a formula by."""


def csv_text(headings: Sequence[str], rows: Iterable[Mapping[str, object] | Sequence[object]]) -> str:
    """``headings``, and the rows below them, by heading or in their order; nothing for None.

    A text that begins as a formula does gets an apostrophe before it; control and direction characters are left out.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(map(_cell, headings))
    for row in rows:
        values = [row.get(heading) for heading in headings] if isinstance(row, Mapping) else row
        writer.writerow(map(_cell, values))
    return text.getvalue()


def _cell(value: object) -> object:
    if not isinstance(value, str):
        return value
    clean = "".join(c for c in value if unicodedata.category(c) not in {"Cc", "Cf"})
    return f"'{clean}" if clean.startswith(FORMULA) else clean
