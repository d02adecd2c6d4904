import io
import itertools
import math
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox
from rich.console import Console

from loopmark.bench.judge.history import Observation, Series, series_of
from loopmark.bench.judge.statistics import Estimate
from loopmark.bench.report import style, trend_plots
from loopmark.bench.report.history import as_csv, history_as_json, print_history, write_history
from tests.report.html.test_pages import Outline
from tests.report.test_plots import texts_of
from tests.support.histories import SUBJECT, day, history_of
from tests.support.hostile import NAMES


def many(loops: int, runs: int, names: Sequence[str] = ()) -> tuple[Series, ...]:
    """Loops that never change, change once or change often, each around its own level."""
    rng = np.random.default_rng(0)
    logs = {}
    for i in range(loops):
        level = np.where(np.arange(runs) * (i % 7) // max(runs, 1) % 2, 0.3, 0.1)
        logs[names[i] if names else f"technique_number_{i}+compile"] = list(rng.normal(level + 0.1 * (i % 5), 0.01))
    return history_of(logs)


def drawn(series: Sequence[Series]) -> Figure:
    with style.styled():
        return trend_plots.history(series)


def printed(series: tuple[Series, ...], width: int = 110) -> str:
    output = io.StringIO()
    print_history(series, Console(file=output, width=width))
    return output.getvalue()


@pytest.mark.parametrize(("loops", "runs"), [(1, 1), (1, 6), (3, 2), (6, 60), (20, 60), (2, 200)])
def test_no_two_texts_overlap_and_all_lie_on_the_figure(loops: int, runs: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = drawn(many(loops, runs))
        boxes = texts_of(figure)
    for (one, first), (other, second) in itertools.combinations(boxes, 2):
        overlap = Bbox.intersection(first, second)
        assert overlap is None or overlap.width < 1 or overlap.height < 1, (one, other)
    for text, box in boxes:
        inside = box.x0 >= -1 and box.y0 >= -1 and box.x1 <= figure.bbox.x1 + 1 and box.y1 <= figure.bbox.y1 + 1
        assert inside, text


def test_every_loop_has_a_panel_and_every_change_the_name_of_its_run() -> None:
    series = history_of({"steady": [0.1] * 12, "slower": [0.3] * 6 + [0.2] * 6})
    words = [text for text, _ in texts_of(drawn(series))]
    assert {"steady", "slower"} <= set(words)
    assert [text for text in words if text.endswith("%") and day(6).strftime("%Y%m%d") in text] == [
        f"{day(6):%Y%m%d-%H%M%S}  -9.5 %"
    ]


def in_view(axes: Axes, height: float) -> bool:
    low, high = axes.get_ylim()
    return low <= height <= high


def test_the_baseline_is_in_view_unless_the_loop_is_far_from_it() -> None:
    near, far = drawn(history_of({"near": [0.02, 0.05, 0.04], "far": [1.5, 1.51, 1.5]})).axes
    assert in_view(near, 1.0)
    assert not in_view(far, 1.0)


def test_one_run_that_knows_little_does_not_flatten_the_others() -> None:
    (series,) = history_of({"a": [0.1] * 6}, half=0.01)
    vague = replace(series.points[2], log_speedup=Estimate(0.1, -5.0, 5.2))
    (axes,) = drawn([replace(series, points=(*series.points[:2], vague, *series.points[3:]))]).axes
    assert axes.get_ylim()[1] < 2


@pytest.mark.parametrize("half", [0.0, math.inf])
def test_intervals_of_no_width_and_without_bounds_are_drawn(half: float) -> None:
    assert len(drawn(history_of({"a": [0.1] * 6}, half)).axes) == 1


def test_a_ratio_beyond_all_reason_is_drawn() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = drawn(history_of({"a": [690.0, -690.0, 0.1, 0.1, 0.1]}))
        assert style.save(figure, "png")


@pytest.mark.parametrize("name", NAMES)
def test_hostile_names_are_drawn_printed_as_text(name: str, tmp_path: object) -> None:
    series = history_of({name: [0.3] * 6 + [0.1] * 6}, subject=replace(SUBJECT, workload=name, machine=name))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert style.save(drawn(series), "svg").startswith(b"<?xml")
    assert "\x1b" not in printed(series)


def test_two_batch_sizes_are_two_plots_with_names_of_their_own(tmp_path: Path) -> None:
    series = (*history_of({"a": [0.1]}), *history_of({"a": [0.2]}, subject=replace(SUBJECT, batch_size=8)))
    write_history(tmp_path, series)
    suffixes = [path.suffix for path in (tmp_path / "plots").iterdir()]
    assert sorted(suffixes) == [".png", ".png", ".svg", ".svg"]


def test_the_table_says_which_loop_became_slower_by_how_much_since_which_run() -> None:
    lines = printed(history_of({"steady": [0.1] * 12, "amp_bf16": [0.3] * 6 + [0.2] * 6})).splitlines()
    assert next(line for line in lines if line.startswith("steady")).endswith("none")
    assert next(line for line in lines if line.startswith("amp_bf16")).endswith("1")
    said = next(line for line in lines if "slower by" in line)
    assert f"slower by 9.5 % since {day(6):%Y%m%d-%H%M%S}: 1.350x [" in said
    assert any("revision abc1234 and torch 2.13.0, as before" in line for line in lines)


def page_of(folder: Path, series: tuple[Series, ...], warnings: Sequence[str] = ()) -> str:
    write_history(folder, series, warnings, {"def5678": "https://example.com/def5678"})
    return (folder / "history.html").read_text()


def test_the_page_begins_with_every_machine_and_workload_and_the_fastest_loop_of_its_newest_run(tmp_path: Path) -> None:
    other = replace(SUBJECT, machine="other-1", batch_size=8)
    series = (*history_of({"a": [0.1] * 6, "b": [0.3] * 5}), *history_of({"a": [0.2] * 3 + [0.1] * 3}, subject=other))
    page = page_of(tmp_path, series, ["2 runs: left out: nothing was measured"])
    read = Outline(page)
    index = read.text[
        read.text.index("Machines and workloads, with") : read.text.index(f"resnet on {SUBJECT.machine}", 900)
    ]

    assert "2 runs: left out: nothing was measured" in read.text
    assert f"{day(5):%Y-%m-%d}" in index
    assert [value for value in read.values("href") if value.startswith("#resnet")][-2:] == [
        "#resnet-on-imaginary-2-core-f2a132", "#resnet-on-other-1",
    ]  # fmt: skip
    assert {value for value in read.values("id") if value.startswith("resnet")} == {
        "resnet-on-imaginary-2-core-f2a132", "resnet-on-other-1",
    }  # fmt: skip
    assert read.tags["svg"] == 2


def test_the_index_calls_no_loop_the_fastest_that_was_behind_its_baseline(tmp_path: Path) -> None:
    write_history(tmp_path, history_of({"a": [-0.1] * 4, "b": [-0.3] * 4}))
    (row,) = [line for line in (tmp_path / "history.md").read_text().splitlines() if "| eager |" in line]
    assert "| eager | – |" in row
    assert "| a |" not in row


def test_the_page_lists_each_change_with_its_run_what_came_with_it_and_its_revision(tmp_path: Path) -> None:
    (series,) = history_of({"a": [0.3] * 6 + [0.1] * 6})
    points = [
        replace(p, run=replace(p.run, environment=replace(p.run.environment, revision="def5678")))
        for p in series.points[6:]
    ]
    (told,) = series_of(Observation(SUBJECT, "a", point) for point in (*series.points[:6], *points))
    text = page_of(tmp_path, (told,))
    markdown = (tmp_path / "history.md").read_text()

    for page in (text.replace("&nbsp;", " "), markdown):
        assert "-18 %" in page
        assert "revision abc1234 → def5678" in page
    assert '<a href="https://example.com/def5678">def5678</a>' in text
    assert "[def5678](https://example.com/def5678)" in markdown
    assert "| slower |" in markdown


def test_a_page_without_a_series_says_that_there_is_nothing_to_follow(tmp_path: Path) -> None:
    assert "there is no ratio to follow" in Outline(page_of(tmp_path, ())).text


def test_many_runs_are_listed_the_newest_first_and_the_rest_is_counted(tmp_path: Path) -> None:
    text = Outline(page_of(tmp_path, history_of({"a": [0.1] * 405}))).text
    assert f"{day(404):%Y-%m-%d %H:%M}" in text
    assert f"{day(4):%Y-%m-%d %H:%M}" not in text
    assert "5 older runs are in history.csv" in text


def test_hostile_text_stays_text_on_the_page_of_a_history(tmp_path: Path) -> None:
    logs = {name or "x": [0.3] * 4 + [0.1] * 4 for name in NAMES}
    subject = replace(SUBJECT, workload=NAMES[0], machine="javascript:alert(1)")
    page = page_of(tmp_path, history_of(logs, subject=subject), NAMES)

    read = Outline(page)
    assert read.tags["script"] == 1
    assert all(value.startswith(("#", "data:,", "history.csv")) for value in read.values("href"))
    assert "<script>alert" not in (tmp_path / "history.md").read_text()


def test_the_table_says_where_runs_are_too_few_and_that_there_is_nothing_where_there_is_nothing() -> None:
    assert "too few runs" in printed(history_of({"a": [0.1]}))
    assert "there is no ratio to follow" in printed(())


def test_the_table_fits_the_terminal() -> None:
    output = io.StringIO()
    print_history(many(3, 30), Console(file=output, width=60, force_terminal=True, color_system=None))
    assert max(map(len, output.getvalue().splitlines())) <= 60


def test_the_spreadsheet_has_a_row_a_point_and_marks_the_run_that_began_a_level() -> None:
    lines = as_csv(history_of({"a": [0.3] * 6 + [0.2] * 6})).splitlines()
    place = lines[0].split(",").index("change")
    assert len(lines) == 13
    assert [i for i, line in enumerate(lines[1:]) if line.split(",")[place]] == [6]
    assert as_csv(()).startswith("machine,")


def test_json_has_no_number_that_json_lacks() -> None:
    (series,) = history_as_json(history_of({"a": [0.1] * 4}, half=math.inf))["series"]
    assert series["points"][0]["speedup_low"] is None
    assert series["points"][0]["speedup_high"] is None


def test_dollars_are_not_read_as_mathematics() -> None:
    texts = [text for text in drawn(many(1, 3, ("$x$",))).findobj(Text) if isinstance(text, Text)]
    assert not next(text for text in texts if text.get_text() == "$x$").get_parse_math()
