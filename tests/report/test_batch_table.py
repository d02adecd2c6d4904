"""A search as text for a person and as JSON for a program."""

import csv
import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from loopmark.bench.judge.batches import find
from loopmark.bench.report import batch_table, style
from loopmark.bench.report.batch_table import as_csv, batches_as_json, print_batches, write_batches
from loopmark.bench.report.capacity_plots import throughput
from tests.support.hostile import NAMES
from tests.support.searches import attempt, case, refused

FOUND = find(
    case(attempt(64, 0.0130), attempt(128, 0.02001, 0.05), attempt(256, 0.0400, 0.05), refused(512), stop="host memory")
)
FAILED = find(case(refused(1, reason="no room"), status="failed", reason="not even a batch of 1 fits", loop="compile"))


def printed(*findings, width: int = 200) -> str:
    console = Console(file=io.StringIO(), width=width, highlight=False)
    print_batches(findings, console)
    text = console.file.getvalue()
    assert isinstance(text, str)
    return text


def test_the_conclusion_names_the_largest_what_stopped_it_the_best_and_the_one_to_use() -> None:
    said = batch_table.conclusion(FOUND)

    assert "the largest batch that fits is 256 (512 does not: not tried: it is expected to need 20.0 GiB" in said
    assert "a process may safely use 16.0 GiB here now" in said
    assert "came at 256" in said
    assert "not shown to be slower: 128. Use 128, which needs 428 MiB of memory instead of 556 MiB." in said


@pytest.mark.parametrize(
    ("stop", "says"),
    [
        ("data", "the largest batch that fits is 64 (the data has no more rows)"),
        ("time", "the largest batch that was tried and fits is 64 (the search ran out of time; --budget allows more)"),
        (None, "the largest batch that was tried and fits is 64 (the search was interrupted)"),
    ],
)
def test_what_was_only_tried_is_not_called_the_largest_that_fits(stop, says: str) -> None:
    assert says in batch_table.conclusion(find(case(attempt(64), stop=stop)))


def test_on_a_machine_too_noisy_to_tell_no_size_is_recommended() -> None:
    finding = find(case(attempt(64, 0.010, 0.001), attempt(128, 0.0150, 0.001), again=(attempt(128, 0.0198, 0.001),)))

    assert "No size can be recommended: processes of one size differ by 32 %" in batch_table.conclusion(finding)
    assert "use this" not in printed(finding)


def test_a_process_that_ran_out_of_what_it_was_held_to_says_so() -> None:
    finding = find(case(attempt(64), refused(128, reason="ran out of memory in `backward`"), stop="host memory"))

    assert "128 does not: held to 16.0 GiB, it ran out of memory in `backward`" in batch_table.conclusion(finding)


def test_the_table_has_a_line_a_size_and_marks_what_matters() -> None:
    lines = printed(FOUND, FAILED).splitlines()
    by_size = {line.split()[0].strip(":"): line for line in lines if line[:1] in " 0123456789" and line.split()}

    assert "not shown" not in by_size["64"]
    assert "use this" in by_size["128"]
    assert "best throughput, largest that fits" in by_size["256"]
    assert "not tried" in by_size["512"]
    assert any("compile: failed: not even a batch of 1 fits." in line for line in lines)


def test_csv_and_json_hold_base_units_and_nothing_that_was_not_measured() -> None:
    rows = list(csv.DictReader(io.StringIO(as_csv([FOUND, FAILED]))))
    content = json.loads(json.dumps(batches_as_json([FOUND, FAILED]), allow_nan=False))

    assert [row["batch_size"] for row in rows] == ["64", "128", "256", "512", "1"]
    assert float(rows[0]["step_seconds"]) == pytest.approx(0.013)
    assert rows[3]["step_seconds"] == rows[3]["peak_memory_bytes"] == ""
    assert rows[3]["limit"] == "host memory"
    assert content["cases"][0]["recommended_batch_size"] == 128
    assert content["cases"][0]["equally_good_batch_sizes"] == [128, 256]
    assert content["cases"][1]["largest_batch_size"] is None


def test_nothing_measured_makes_an_empty_spreadsheet_and_no_plot(tmp_path: Path) -> None:
    write_batches(tmp_path, [])
    write_batches(tmp_path, [FAILED])

    assert not (tmp_path / "plots").exists()


def test_each_workload_gets_a_plot_as_png_and_svg(tmp_path: Path) -> None:
    write_batches(tmp_path, [FOUND, FAILED])

    assert {path.name for path in (tmp_path / "plots").iterdir()} == {"batches-resnet.png", "batches-resnet.svg"}


def test_the_plot_marks_the_size_to_use_and_the_largest_and_labels_each_size() -> None:
    with style.styled():
        figure = throughput([FOUND], style.line_styles([("eager", False)], {"eager"}))
        assert figure is not None
        (axes,) = figure.axes
        marked = {str(line.get_marker()): [*line.get_xdata()] for line in axes.lines if len(line.get_xdata()) == 1}

    assert [128] in marked.values()
    assert marked["s"] == [256]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["64", "128", "256"]


@pytest.mark.parametrize("name", NAMES)
def test_names_of_others_do_not_steer_the_terminal_or_the_plot(name: str, tmp_path: Path) -> None:
    finding = find(case(attempt(64), loop=name, workload=name))
    text = printed(finding)
    write_batches(tmp_path, [finding])

    assert "\x1b" not in text
    assert b"\x1b" not in (tmp_path / "batches.csv").read_bytes()


def test_a_narrow_terminal_breaks_nothing() -> None:
    assert "use this" in " ".join(printed(FOUND, width=60).split())
