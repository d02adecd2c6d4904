import csv
import io
from pathlib import Path

import pytest

from loopmark.bench.report.table import Column, Table, csv_of, linked


def column(name: str, lost: int) -> Column[str]:
    return Column(name, lambda row: row * len(name), lost=lost)


@pytest.mark.parametrize(
    ("width", "shown"),
    [
        (35, "needed wide small last"),
        (34, "needed wide small"),
        (28, "needed wide last"),
        (21, "needed small last"),
        (3, "needed"),
    ],
)
def test_a_narrow_terminal_loses_the_least_needed_columns_and_keeps_their_order(width: int, shown: str) -> None:
    columns = [column("needed", 0), column("wide..........", 1), column("small", 2), column("last", 3)]
    table = Table(columns, ["x"]).in_terminal(width=width)
    (headings,) = table.headings()
    assert headings.plain.replace(".", "").split() == shown.split()
    assert len(table.left_out) == 4 - len(shown.split())


def test_names_are_shortened_before_a_needed_column_is_wider_than_the_terminal() -> None:
    table = Table([column("needed", 0)], ["x"]).in_terminal(["a_long_name_of_a_loop"], 24)
    assert table.line("a_long_name_of_a_loop", "x").cell_len == 24


def cell(value: object) -> str:
    (_, (text, _)) = csv.reader(io.StringIO(csv_of([{"a": value, "b": 1}])))
    return text


@pytest.mark.parametrize("name", ["=cmd|calc!A1", "+1+1", "-2", "@SUM(A1)", "\x1b=1", "\u202e=1"])
def test_a_text_is_no_formula_to_a_spreadsheet(name: str) -> None:
    assert cell(name)[0] == "'"


@pytest.mark.parametrize("name", ["\x1b[31mred\x07", "a\x00b", "\x9b31m", "a\u202eb", "a\r\nb"])
def test_a_text_is_no_command_to_a_terminal(name: str) -> None:
    assert cell(name).isprintable()


def test_figures_and_plain_names_stay_as_they_are() -> None:
    assert csv_of([{"a": -0.5, "b": "fused+compile", "c": None}]) == "a,b,c\n-0.5,fused+compile,\n"


def test_records_have_the_order_of_the_first_and_nothing_for_what_they_lack() -> None:
    assert csv_of([{"a": 1, "b": 2}, {"b": 3}]) == "a,b\n1,2\n,3\n"
    assert csv_of([], ("a", "b")) == "a,b\n"


def test_a_run_whose_folder_is_no_text_has_a_link_too(tmp_path: Path) -> None:
    folder = tmp_path / "m\udcff"  # as Python reads a name with the byte 255
    folder.mkdir()
    (folder / "report.html").touch()
    assert linked("a", str(folder), tmp_path).link == "m%FF/report.html"
