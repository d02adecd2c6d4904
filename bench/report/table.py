"""Tables: declared columns over rows, for the terminal, for a page, in Markdown and as comma-separated text."""

import csv
import io
import math
import os
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import itemgetter
from pathlib import Path
from typing import Any, Generic, TypeVar
from urllib.parse import quote

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from loopmark.bench.judge.statistics import Estimate, finite
from loopmark.bench.report.text import SHORTEST_NAME, elide, markdown, said_once, told_apart, without_folders

R = TypeVar("R")

NAME_WIDTH, NARROWEST = 30, 30
FILE_WIDTH = 120  # for a file or a pipe, which has no width
GAP, BULLET = "  ", "· "
FORMULA = ("=", "+", "-", "@")  # first characters that make a spreadsheet read a cell as a formula


@dataclass(frozen=True)
class Cell:
    """One cell of a table."""

    text: str
    value: float | None = None  # the sort key, in base units; None sorts by the text, or last among numbers
    strong: bool = False
    figure: bool = False  # True if Loopmark wrote the text: digits and units, without markup
    whole: bool = False  # True if the text stays on one line, without breaks at its hyphens
    link: str = ""  # the address that a page links the text to

    @property
    def sorts(self) -> bool:
        """True if there is a number to sort by."""
        return self.value is not None and math.isfinite(self.value)


def figure(text: str, value: float | Estimate | None = None) -> Cell:
    """A cell with a figure as Loopmark prints it, and its sort key."""
    return Cell(text, value.value if isinstance(value, Estimate) else value, figure=True)


def linked(name: str, run_folder: str, page_folder: Path) -> Cell:
    """A run's name, linked from a page to the run's own page where it exists; the address is relative."""
    report = Path(run_folder, "report.html")
    way = quote(os.fsencode(os.path.relpath(report, page_folder))) if report.exists() else ""  # any bytes are a name
    return Cell(name, link=way, whole=True)


@dataclass(frozen=True)
class Column(Generic[R]):
    """A heading (one or two lines in the terminal) and each row's cell; a plain string may be text from outside."""

    heading: str
    cell: Callable[[R], Cell | str]
    left: bool = False  # True if the terminal aligns it to the left
    style: Callable[[R], str] = lambda _: ""  # the style of a row's cell in the terminal
    lost: int = 0  # a narrow terminal loses the columns with the highest number first, and those with 0 never

    @property
    def name(self) -> str:
        """The heading on one line."""
        first, _, second = self.heading.partition("\n")
        return f"{first}{second}" if first.endswith("/") else f"{first} {second}".strip()

    def of(self, row: R) -> Cell:
        cell = self.cell(row)
        return cell if isinstance(cell, Cell) else Cell(cell)

    def width(self, rows: Sequence[R]) -> int:
        """The width of its widest text in the terminal."""
        return max(cell_len(text) for text in (*self.heading.split("\n"), *(self.of(row).text for row in rows)))

    def fit(self, text: str, width: int) -> str:
        """``text`` padded to ``width``."""
        padding = " " * (width - cell_len(text))
        return text + padding if self.left else padding + text


def measured(heading: str, of: Callable[[R], Any], form: Callable[[Any], str], lost: int = 0) -> Column[R]:
    """A column of figures: each row's value, as printed by ``form``, and sorted by it."""
    return Column(heading, lambda row: figure(form(of(row)), of(row)), lost=lost)


@dataclass(frozen=True)
class Table(Generic[R]):
    """Columns over rows. A table without rows counts as false."""

    columns: Sequence[Column[R]]
    rows: Sequence[R]
    silent: str | None = None  # a column in which every cell has this text is left out
    figures: bool = True  # True if columns after the first hold figures, which Markdown aligns to the right

    def __bool__(self) -> bool:
        return bool(self.rows)

    @cached_property
    def shown(self) -> tuple[Column[R], ...]:
        """The columns that are not left out as silent."""
        if self.silent is None:
            return tuple(self.columns)
        return tuple(one for one in self.columns if any(one.of(row).text != self.silent for row in self.rows))

    @property
    def headings(self) -> tuple[str, ...]:
        """The names of the columns that are shown."""
        return tuple(column.name for column in self.shown)

    @cached_property
    def cells(self) -> tuple[tuple[Cell, ...], ...]:
        return tuple(tuple(column.of(row) for column in self.shown) for row in self.rows)

    def as_markdown(self) -> str:
        """The table in Markdown, with text from outside escaped; empty without rows."""
        if not self:
            return ""
        headings = [markdown(heading) for heading in self.headings]
        rows = ([_in_markdown(cell) for cell in row] for row in self.cells)
        rule = ["---", *["---:" if self.figures else "---"] * (len(headings) - 1)]
        return "\n".join(f"| {' | '.join(cells)} |" for cells in [headings, rule, *rows])

    def in_terminal(
        self, names: Iterable[str] | None = None, width: int | None = None, *, head: str = "loop"
    ) -> "TextTable[R]":
        """The table in the terminal; for the arguments see ``TextTable``."""
        return TextTable(self, names, width, head)


def table_of(headings: Iterable[str], rows: Iterable[Sequence[Cell | str]], *, figures: bool = True) -> Table[Any]:
    """A table of rows that are sequences of cells."""
    columns = [Column[Any](heading, itemgetter(i)) for i, heading in enumerate(headings)]
    return Table(columns, tuple(rows), figures=figures)


def _in_markdown(cell: Cell) -> str:
    text = cell.text if cell.figure else markdown(cell.text)
    if cell.link and not cell.link.startswith("#"):  # a heading's address in Markdown depends on its reader
        text = f"[{text}]({cell.link})"
    return f"**{text}**" if cell.strong else text


class TextTable(Generic[R]):
    """A table in the terminal, with a name for each row. A narrow terminal loses columns and shortens names.

    Args:
        table: the rows that have figures; a silent column is left out.
        names: of all rows, including those without figures; None where a column names the rows.
        width: of the terminal; None shows all columns and wraps long lines.
    """

    def __init__(self, table: Table[R], names: Iterable[str] | None, width: int | None, head: str) -> None:
        self._head = "" if names is None else head
        self._lead = "" if names is None else GAP
        self._depth = max((column.heading.count("\n") for column in table.columns), default=0) + 1
        columns = table.shown
        widths = [column.width(table.rows) + len(GAP) for column in columns]
        kept = [at for at, column in enumerate(columns) if not column.lost]
        room = (math.inf if width is None else width) + len(GAP) - len(self._lead) - sum(widths[at] for at in kept)
        longest = int(min(NAME_WIDTH, max(SHORTEST_NAME, room)))
        self._names = told_apart(dict.fromkeys(names or ()), lambda name: elide(name, longest))
        self._name_width = max(map(cell_len, [*self._names.values(), self._head]))
        room -= self._name_width
        for at in sorted({*range(len(columns))} - {*kept}, key=lambda at: columns[at].lost):
            if widths[at] <= room:  # a narrow column may fit where a wide one before it did not
                room -= widths[at]
                kept.append(at)
        self._shown = [(columns[at], widths[at] - len(GAP)) for at in sorted(kept)]
        self.left_out = [column.name for at, column in enumerate(columns) if at not in kept]

    def headings(self) -> Iterator[Text]:
        """The lines of the headings, as many as the longest heading has; shorter ones end on the last line."""
        for below in reversed(range(self._depth)):
            lines = [(column, column.heading.split("\n"), width) for column, width in self._shown]
            parts = [column.fit(said[-1 - below] if below < len(said) else "", width) for column, said, width in lines]
            name = "" if below else self._head
            yield Text((name.ljust(self._name_width) + self._lead + GAP.join(parts)).rstrip(), "dim")

    def line(self, name: str | None, row: R) -> Text:
        """A row with its figures; ``name`` is None where the line above or a column has the name."""
        parts = [Text(column.fit(column.of(row).text, width), column.style(row)) for column, width in self._shown]
        return self._named(name, Text(GAP).join(parts))

    def short(self, name: str) -> str:
        """The short form of one of the names."""
        return self._names[name]

    def _named(self, name: str | None, rest: Text) -> Text:
        shown = set_cell_size("" if name is None else self._names[name], self._name_width)
        line = Text(shown + self._lead) + rest
        line.rstrip()
        return line

    def ending(self, name: str, text: str, style: str, console: Console) -> Iterator[Text]:
        """The row of a case without figures: a text in their place, which a terminal wraps beside the name."""
        said, room = Text(without_folders(text), style), console.width - self._name_width - len(self._lead)
        for number, line in enumerate(said.wrap(console, max(room, NARROWEST)) if console.is_terminal else [said]):
            yield self._named(None if number else name, line)

    def cases(self, rows: Iterable[tuple[str, R, str]], console: Console) -> Iterator[Text]:
        """The headings and the rows by their names; a row with a reason has it in place of its figures."""
        named = list(rows)
        why = dict(said_once((name, reason) for name, _, reason in named if reason))
        if len(why) < len(named):
            yield from self.headings()
        for name, row, reason in named:
            if reason:
                yield from self.ending(name, why[name], "yellow" if reason.startswith("skipped") else "red", console)
            else:
                yield self.line(name, row)

    def notes(self, notes: Iterable[tuple[str, str]]) -> Iterator[Text]:
        """The remarks on rows, by their names, for below the table; empty text is left out."""
        yield from (Text(f"{self.short(name)}: {text}", "dim") for name, text in notes if text)

    def rest(self, page: str) -> Iterator[Text]:
        """A line on the columns that the terminal has no room for, if any; ``page`` has them."""
        if self.left_out:
            yield Text(f"{page} also has: {', '.join(self.left_out)}", "dim")


def print_lines(lines: Iterable[Text], console: Console) -> None:
    """Print ``lines``: a terminal wraps long ones, but none with ``no_wrap``; a file has each on one line."""
    for line in lines:
        console.print(line, soft_wrap=bool(line.no_wrap) or not console.is_terminal)


def as_wide_as(console: Console | None, file_width: int = FILE_WIDTH) -> Console:
    """A console for standard output, or ``console``: as wide as the terminal; a file counts as ``file_width`` wide."""
    console = console or Console(highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, file_width)
    return console


def csv_of(records: Sequence[Mapping[str, object]], otherwise: Iterable[str] = ()) -> str:
    """Comma-separated text of records whose keys are the headings; without records the headings are ``otherwise``.

    None is empty, a formula has an apostrophe before it, and control and direction characters are left out.
    """
    headings, text = dict.fromkeys(name for record in records for name in record) or [*otherwise], io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(map(_in_csv, headings))
    writer.writerows([_in_csv(record.get(name)) for name in headings] for record in records)
    return text.getvalue()


def _in_csv(value: object) -> object:
    if not isinstance(value, str):
        return value
    clean = "".join(c for c in value if unicodedata.category(c) not in {"Cc", "Cf"})
    return f"'{clean}" if clean.startswith(FORMULA) else clean


def strict(value: Any) -> Any:
    """``value`` as strict JSON values: keys are strings, and NaN and infinity become None."""
    if isinstance(value, dict):
        return {str(key): strict(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [strict(part) for part in value]
    return finite(value) if isinstance(value, float) else value


def picked(record: object, *names: str, **renamed: str) -> dict[str, Any]:
    """The attributes ``names`` of ``record``, and the ``renamed`` ones, as strict JSON values; or None."""
    attributes = {name: name for name in names} | renamed
    return {key: None if record is None else strict(getattr(record, name)) for key, name in attributes.items()}


def ends(name: str, estimate: Estimate | None) -> dict[str, float | None]:
    """``name``, ``name_low`` and ``name_high`` as strict JSON values; both ends are None where one is unbounded."""
    bounded = estimate is not None and math.isfinite(estimate.high - estimate.low)
    return {
        name: finite(estimate.value) if estimate else None,
        f"{name}_low": estimate.low if estimate and bounded else None,
        f"{name}_high": estimate.high if estimate and bounded else None,
    }
