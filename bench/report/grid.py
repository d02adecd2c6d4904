"""A table as it is, before anyone lays it out: headings, and rows of cells."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from loopmark.bench.judge.statistics import Estimate


@dataclass(frozen=True)
class Cell:
    """What one place says."""

    text: str
    value: float | None = None
    """What it sorts by, in base units; None sorts by the text, or last where the others are numbers."""
    strong: bool = False
    figure: bool = False
    """Whether Loopmark itself wrote the text, of digits and units: nothing in it could be read as markup."""
    whole: bool = False
    """Whether it is short and stays on one line, where it would else be broken at its hyphens."""

    @property
    def sorts(self) -> bool:
        """Whether there is a number to sort by."""
        return self.value is not None and math.isfinite(self.value)


@dataclass(frozen=True)
class Grid:
    """A table. One without rows says nothing, and counts as false."""

    headings: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    figures: bool = True
    """Whether what follows the first column are figures, which stand below one another by their last digit."""

    def __bool__(self) -> bool:
        return bool(self.rows)


def grid(headings: Iterable[str], rows: Iterable[Iterable[Cell | str]], *, figures: bool = True) -> Grid:
    """A table of cells, or of texts that others may have written."""
    made = tuple(tuple(cell if isinstance(cell, Cell) else Cell(cell) for cell in row) for row in rows)
    return Grid(tuple(headings), made, figures)


def grid_of_columns(columns: Mapping[str, Sequence[Cell]], silent: str, *, figures: bool = True) -> Grid:
    """A table of ``columns`` by their headings; one in which every cell says ``silent`` is left out."""
    told = {heading: cells for heading, cells in columns.items() if any(cell.text != silent for cell in cells)}
    return grid(told, zip(*told.values(), strict=True), figures=figures)


def figure(text: str, value: float | Estimate | None = None) -> Cell:
    """A figure as Loopmark writes it, and what it sorts by."""
    return Cell(text, value.value if isinstance(value, Estimate) else value, figure=True)
