"""Columns of a table in the terminal, laid out for the width at hand; nothing in a cell is read as markup."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from loopmark.bench.report import format as show
from loopmark.bench.report.text import elide, told_apart

R = TypeVar("R")

NAME_WIDTH = 30
FILE_WIDTH = 120
"""Of what is no terminal."""
GAP = "  "


def as_wide_as(file_width: int, console: Console | None = None) -> Console:
    """A console for standard output, or ``console``: as wide as the terminal; a file counts as ``file_width`` wide."""
    console = console or Console(highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, file_width)
    return console


@dataclass(frozen=True)
class Column(Generic[R]):
    """One column: what heads it, in two lines, and what a row says in it."""

    heading: tuple[str, str]
    cell: Callable[[R], str]
    left: bool = False
    style: Callable[[R], str] = lambda _: ""

    @property
    def name(self) -> str:
        """Its heading on one line."""
        first, second = self.heading
        return f"{first}{second}" if first.endswith("/") else f"{first} {second}".strip()

    def width(self, rows: Sequence[R]) -> int:
        """The width of its widest text."""
        return max(cell_len(text) for text in (*self.heading, *(self.cell(row) for row in rows)))

    def says_anything(self, rows: Sequence[R]) -> bool:
        """Whether any row has a figure in it."""
        return any(self.cell(row) != show.ABSENT for row in rows)

    def fit(self, text: str, width: int) -> str:
        """``text`` filled up to ``width``."""
        padding = " " * (width - cell_len(text))
        return text + padding if self.left else padding + text


class Grid(Generic[R]):
    """Named rows in columns; a terminal too narrow for all of them loses them from the end.

    Args:
        columns: in the order in which they are shown; one that says nothing is left out.
        rows: that have figures.
        names: of all rows, also of those without.
        width: of the terminal.
        head: over the names.
    """

    def __init__(
        self, columns: Sequence[Column[R]], rows: Sequence[R], names: Sequence[str], width: int, head: str = "loop"
    ) -> None:
        self._width, self._head = width, head
        self._names = told_apart(dict.fromkeys(names), lambda name: elide(name, NAME_WIDTH))
        self._name_width = max(cell_len(name) for name in [*self._names.values(), head])
        self._shown: dict[int, tuple[Column[R], int]] = {}
        self.left_out: list[str] = []
        room = width - self._name_width
        for number, column in enumerate(column for column in columns if column.says_anything(rows)):
            needed = column.width(rows)
            room -= needed + len(GAP)
            if room < 0:
                self.left_out.append(column.name)
                room = -1
            else:
                self._shown[number] = column, needed

    def headings(self) -> Iterator[Text]:
        """Two lines."""
        for part, name in ((0, ""), (1, self._head)):
            line = Text(name.ljust(self._name_width) + GAP, "dim")
            line.append(GAP.join(column.fit(column.heading[part], width) for column, width in self._shown.values()))
            yield cut(line, self._width)

    def line(self, name: str, row: R) -> Text:
        """A row with its figures."""
        parts = [Text(column.fit(column.cell(row), width), column.style(row)) for column, width in self._shown.values()]
        return self.named(name, Text(GAP).join(parts))

    def short(self, name: str) -> str:
        """One of the names as it is shown."""
        return self._names[name]

    def named(self, name: str, rest: Text) -> Text:
        """A row that has something else to say than figures."""
        return cut(Text(set_cell_size(self._names[name], self._name_width) + GAP) + rest, self._width)


def cut(line: Text, width: int) -> Text:
    """``line`` on one line of at most ``width``."""
    line.rstrip()
    line.truncate(width, overflow="ellipsis")
    line.no_wrap = True
    return line


def note(name: str, text: str, console: Console, width: int) -> Iterator[Text]:
    """What a row, by its name in the table, has to say below it, on as many lines as it takes."""
    yield from Text(f"{name}: {text}", "dim").wrap(console, width)
