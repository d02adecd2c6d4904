import csv
import io
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from loopmark.bench.errors import BadInput
from loopmark.bench.judge.side_by_side import Shift
from loopmark.bench.judge.statistics import Estimate
from loopmark.bench.report import compare_words as words
from loopmark.bench.report.compare_files import (
    SHIFT_HEADINGS,
    as_csv,
    comparison_as_json,
    shifts_as_csv,
    write_comparison,
)
from tests.report.html.test_pages import Outline
from tests.support.hostile import NAMES
from tests.support.side_by_side import side_by_side


def test_the_spreadsheet_has_a_row_a_loop_and_machine_in_base_units() -> None:
    rows = list(csv.DictReader(io.StringIO(as_csv(side_by_side({"tf32": [0.005], "cuda_graph": [None]}, 2)))))
    assert [(row["loop"], row["entrant"].partition("-")[0]) for row in rows] == [
        ("eager", "amd"), ("eager", "intel"), ("tf32", "amd"), ("tf32", "intel"),
        ("cuda_graph", "amd"), ("cuda_graph", "intel"),
    ]  # fmt: skip
    assert float(rows[0]["step_seconds"]) == pytest.approx(0.010, rel=0.01)
    assert float(rows[0]["backward_seconds"]) == pytest.approx(0.0053, rel=0.01)
    assert rows[4]["step_seconds"] == rows[4]["backward_seconds"] == rows[4]["peak_memory_bytes"] == ""
    low, high = (float(rows[0][f"backward_seconds_{end}"]) for end in ("low", "high"))
    assert low < float(rows[0]["backward_seconds"]) < high
    assert float(rows[0]["least_peak_memory_bytes"]) == float(rows[0]["peak_memory_bytes"]) == 500 * 2**20
    assert rows[0]["joules_per_step"] == ""
    assert float(rows[0]["share_of_limit"]) > 0


def test_one_launch_alone_has_no_interval_of_phases_and_no_spread_of_memory_and_the_pages_say_why(
    tmp_path: Path,
) -> None:
    found = side_by_side({"tf32": [0.005]}, 1, launches=1)
    (row, *_) = csv.DictReader(io.StringIO(as_csv(found)))
    assert float(row["backward_seconds"]) > 0
    assert row["backward_seconds_low"] == row["backward_seconds_high"] == row["least_peak_memory_bytes"] == ""
    write_comparison(tmp_path, found)
    for name in ("compare.md", "compare.html"):
        page = (tmp_path / name).read_text()
        assert words.ONE_LAUNCH in page
        assert "[no interval]" in page.replace("\\", "")


def test_machines_have_no_rows_before_and_after_but_the_headings() -> None:
    assert shifts_as_csv(side_by_side({"tf32": [0.005]}, 2)) == ",".join(SHIFT_HEADINGS) + "\n"


def test_what_moved_is_a_row_with_its_interval() -> None:
    shift = Shift("resnet", "tf32", Estimate(1.2, 1.1, 1.3), Estimate(0.9, 0.8, 1.0), Estimate(0.75, 0.7, 0.8))
    found = replace(side_by_side({"tf32": [0.005]}, 2), is_over_time=True, shifts=(shift,))
    (row,) = csv.DictReader(io.StringIO(shifts_as_csv(found)))
    assert tuple(row) == SHIFT_HEADINGS
    assert (row["loop"], row["unit"]) == ("tf32", "speedup over the baseline")
    assert [float(row[name]) for name in ("before", "after", "ratio_low", "ratio_high")] == [1.2, 0.9, 0.7, 0.8]


def test_a_person_s_own_plots_in_the_folder_stay(tmp_path: Path) -> None:
    own = tmp_path / "plots" / "speedups-mine.png"
    own.parent.mkdir()
    own.touch()
    write_comparison(tmp_path, side_by_side({"tf32": [0.005]}, 2))
    write_comparison(tmp_path, side_by_side({}, 2))
    names = {path.name for path in own.parent.iterdir()}
    assert own.name in names
    assert "speedups-resnet.png" not in names  # it is the first comparison's; the second has no speedup to show


def test_the_json_is_strict_and_says_what_the_table_says() -> None:
    found = comparison_as_json(side_by_side({"tf32": [0.005, None]}, 2))
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    (workload,) = found["workloads"]
    assert workload["is_same_work"] is True
    assert [row["verdict"] for row in workload["loops"]] == [None, None, "faster", None]
    assert found["differences"]["CPU"] == ["AMD EPYC 7763", "Intel Xeon Platinum 8480C"]


def test_the_json_holds_each_answer_with_its_ranking() -> None:
    found = comparison_as_json(side_by_side({"tf32": [0.005]}, 2, eager=(0.030, 0.010), launches=4))
    alike, best = found["answers"]

    assert alike["workload"] == "resnet"
    assert [(place["loop"], place["verdict"]) for place in alike["places"]] == [("eager", None), ("eager", "slower")]
    assert alike["places"][1]["over_the_fastest"] == pytest.approx(3, rel=0.01)
    assert alike["places"][0]["over_the_fastest"] is None
    assert [place["loop"] for place in best["places"]] == ["tf32", "tf32"]
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_the_pages_begin_with_the_answer(tmp_path: Path) -> None:
    found = side_by_side({"tf32": [0.005]}, 2, eager=(0.030, 0.010), launches=4)
    write_comparison(tmp_path, found)
    (alike, _) = words.answers(found)

    for name in ("compare.md", "compare.html"):
        page = (tmp_path / name).read_text().replace("\\", "").replace("&#39;", "'")
        assert page.index(alike.text) < page.index("Facts that differ" if name.endswith("html") else "AMD EPYC 7763")


def test_a_run_is_a_link_to_its_page_where_it_has_one_and_no_name_becomes_an_address(tmp_path: Path) -> None:
    found = side_by_side({}, 2)
    with_page, without = tmp_path / "javascript:alert(1)" / "a b", tmp_path / "b"
    with_page.mkdir(parents=True)
    (with_page / "report.html").touch()
    folders = (str(with_page), str(without))
    runs = (
        replace(one, found=replace(one.found, folder=folder)) for one, folder in zip(found.runs, folders, strict=True)
    )
    write_comparison(tmp_path, replace(found, runs=tuple(runs)))
    address = "javascript%3Aalert%281%29/a%20b/report.html"

    links = re.findall(r'<a href="([^"#]+)">', (tmp_path / "compare.html").read_text())
    assert [link for link in links if not link.endswith(".csv")] == [address]
    assert f"]({address})" in (tmp_path / "compare.md").read_text()


def test_the_pages_hold_the_plots_the_differences_and_every_warning(tmp_path: Path) -> None:
    write_comparison(tmp_path, side_by_side({"tf32": [0.005]}, 2), ["left out: <b>a run</b>"])
    markdown, page = ((tmp_path / name).read_text() for name in ("compare.md", "compare.html"))

    assert "left out: &lt;b&gt;a run&lt;/b&gt;" in markdown
    assert "plots/speedups-resnet.svg" in markdown
    assert markdown.index("AMD EPYC 7763") < markdown.index("samples/s")
    read = Outline(page)
    assert "left out: <b>a run</b>" in read.text
    assert read.tags["svg"] == 3
    assert {path.name for path in (tmp_path / "plots").iterdir()} == {
        f"{stem}-resnet.{kind}" for stem in ("machines", "speedups", "shares") for kind in ("png", "svg")
    }


def test_who_cannot_see_the_plots_is_told_what_they_come_to(tmp_path: Path) -> None:
    write_comparison(tmp_path, side_by_side({"tf32": [0.005], "slow": [0.02]}, 5))
    page = (tmp_path / "compare.html").read_text(encoding="utf-8")
    captions = re.findall(r"<figcaption>([^<]*)", page)
    assert len(captions) == 3
    assert re.search(r"eager 6,[34]\d\d a second, tf32 12,[789]\d\d a second", captions[0])
    assert re.search(r"tf32 (1\.9|2\.0)\d*x \[[^]]*\], slow 0\.(49|50)", captions[1])
    assert "of eager&#39;s step in backward" in captions[2]
    assert all(caption.endswith("; and 2 more") for caption in captions)


def test_hostile_names_are_text_in_every_file(tmp_path: Path) -> None:
    found = side_by_side({name or "x": [0.005, None] for name in NAMES}, 2)
    write_comparison(tmp_path / "out", found, NAMES)
    page = (tmp_path / "out" / "compare.html").read_text()

    assert Outline(page).tags["script"] == 1
    assert "<script>alert" not in (tmp_path / "out" / "compare.md").read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert len(page) < 5_000_000


def test_a_run_s_own_folder_is_not_written_to(tmp_path: Path) -> None:
    (tmp_path / "run.json").touch()
    with pytest.raises(BadInput, match="choose another --out"):
        write_comparison(tmp_path, side_by_side({}, 1))


def test_a_place_that_cannot_be_written_to_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BadInput, match=r"cannot write to .*; choose another --out"):
        write_comparison(tmp_path / "file" / "out", side_by_side({}, 1))
