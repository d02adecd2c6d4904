import csv
import io
import json
from pathlib import Path

import pytest

from bench.errors import BadInput
from bench.report.compare.files import as_csv, as_json, write_comparison
from tests.report.hostile import NAMES
from tests.report.html.test_page import Outline
from tests.side_by_side import side_by_side


def test_the_spreadsheet_has_a_row_a_loop_and_machine_in_base_units() -> None:
    rows = list(csv.DictReader(io.StringIO(as_csv(side_by_side({"tf32": [0.005], "cuda_graph": [None]}, 2)))))
    assert [(row["loop"], row["entrant"].partition("-")[0]) for row in rows] == [
        ("eager", "amd"), ("eager", "intel"), ("tf32", "amd"), ("tf32", "intel"),
        ("cuda_graph", "amd"), ("cuda_graph", "intel"),
    ]  # fmt: skip
    assert float(rows[0]["step_seconds"]) == pytest.approx(0.010, rel=0.01)
    assert float(rows[0]["backward_seconds"]) == pytest.approx(0.0053, rel=0.01)
    assert rows[4]["step_seconds"] == rows[4]["backward_seconds"] == rows[4]["peak_memory_bytes"] == ""
    assert rows[0]["joules_per_step"] == ""
    assert float(rows[0]["share_of_limit"]) > 0


def test_the_json_is_strict_and_says_what_the_table_says() -> None:
    found = as_json(side_by_side({"tf32": [0.005, None]}, 2))
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    (workload,) = found["workloads"]
    assert workload["is_same_work"] is True
    assert [row["verdict"] for row in workload["loops"]] == [None, None, "faster", None]
    assert found["differences"]["CPU"] == ["AMD EPYC 7763", "Intel Xeon Platinum 8480C"]


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
