"""Tables in Markdown."""

from collections.abc import Iterable, Sequence

from loopmark.bench.report.grid import Cell, Grid
from loopmark.bench.report.text import markdown


def pipe_table(headings: Sequence[str], rows: Iterable[Sequence[str]], *, figures: bool = True) -> str:
    """A Markdown table of cells that are escaped already; the first column is left-aligned, figures right."""
    rule = ["---", *["---:" if figures else "---"] * (len(headings) - 1)]
    return "\n".join(f"| {' | '.join(cells_)} |" for cells_ in [headings, rule, *rows])


def as_markdown(grid: Grid) -> str:
    """The table, whatever others wrote into it shown as itself; empty where it has no rows."""
    if not grid:
        return ""
    rows = ([_cell(cell) for cell in row] for row in grid.rows)
    return pipe_table([markdown(heading) for heading in grid.headings], rows, figures=grid.figures)


def _cell(cell: Cell) -> str:
    text = cell.text if cell.figure else markdown(cell.text)
    return f"**{text}**" if cell.strong else text
