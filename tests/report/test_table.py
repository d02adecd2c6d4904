import csv
import io

import pytest

from loopmark.bench.report.table import csv_of


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
