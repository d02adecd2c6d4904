"""What a run says of its loader, and the units a second that its task counts."""

import csv
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from loopmark.bench.judge.summary import Summary, summarise
from loopmark.bench.records.files import as_json as stored
from loopmark.bench.records.files import decode
from loopmark.bench.records.run import Case, Loading
from loopmark.bench.report import cells
from loopmark.bench.report.cells import loading_remarks
from loopmark.bench.report.compare_files import write_comparison
from loopmark.bench.report.draw import as_json, draw
from loopmark.bench.report.formats import export
from tests.support.side_by_side import entrant, everything, side_by_side
from tests.support.synthetic import PHASES, Truth, make_run

LOADING = Loading(0.010, 0.0055, 0.0005, 0.030, 4, whole_epochs=True)
TRIALS = {"persistent_workers=True": 0.004, "num_workers=4": 0.0095, "num_workers=0": 0.002}


def remarks(loading: Loading | None, data: float = 0.6, *, device: bool = False) -> list[str]:
    """The remarks on a loader where ``data`` is this share of the step."""
    run, samples = make_run([Truth("eager")], launches=2, rounds=2, device=device)
    row = summarise(replace(run, cases=(replace(run.cases[0], loading=loading),)), samples).workloads[0].rows[0]
    clock = "device_phases" if device else "host_phases"
    return list(loading_remarks(replace(row, **{clock: {"data": data, "forward": 1 - data}})))


def test_the_share_of_the_data_is_split_and_what_was_tried_is_told_best_first() -> None:
    assert remarks(replace(LOADING, trials=TRIALS)) == [
        "data is 60 % of the step: fetching 55 %, moving 5.0 %",
        "the first batch of each epoch of 4 steps takes 30.0 ms",
        "tried: 5.00x as fast with num_workers=0, 2.50x as fast with persistent_workers=True, "
        "no faster with num_workers=4",
    ]


def test_of_a_device_the_host_s_times_are_told_since_they_may_overlap() -> None:
    (data, *_) = remarks(LOADING, device=True)
    assert data == "data is 60 % of the step: fetching a batch 5.50 ms, moving a batch 500 µs on the host"


def test_why_nothing_was_tried_is_told() -> None:
    assert remarks(replace(LOADING, untried="Own is not torch's DataLoader"))[-1] == (
        "no other settings of the loader were tried: Own is not torch's DataLoader"
    )
    assert remarks(LOADING)[-1] == "tried: nothing that ended in time"


def test_what_the_step_leaves_out_of_a_long_epoch_is_told_where_it_counts() -> None:
    long = replace(LOADING, epoch_steps=1000, first_fetch_seconds=2.0, whole_epochs=False)
    left_out = "an epoch's first batch takes 2.00 s, which the step's time leaves out"
    assert remarks(long, data=0.01) == [f"{left_out}, 2.00 ms for each of its 1,000 steps"]
    assert remarks(replace(long, epoch_steps=None), data=0.01) == [left_out]
    assert remarks(replace(long, epoch_steps=1_000_000), data=0.01) == []
    assert remarks(replace(long, epoch_steps=None, first_fetch_seconds=0.02), data=0.01) == []


@pytest.mark.parametrize("loading", [LOADING, None])
def test_where_training_does_not_wait_nothing_is_said(loading: Loading | None) -> None:
    assert remarks(loading, data=0.04) == []


def test_a_loader_is_kept_and_read_again() -> None:
    run, _ = make_run([Truth("eager")], launches=1, rounds=1)
    case = replace(run.cases[0], loading=replace(LOADING, trials=TRIALS))
    assert decode(Case, json.loads(stored(case))) == case


@pytest.mark.usefixtures("unrendered")
def test_the_remarks_are_on_the_page_and_in_the_json(tmp_path: Path) -> None:
    run, samples = make_run([Truth("eager"), Truth("amp", 0.005)], launches=2, rounds=2)
    run = replace(run, cases=(replace(run.cases[0], loading=LOADING), run.cases[1]))
    phases = samples.phases.assign(host_seconds=1.0)
    summary = draw(tmp_path, run, replace(samples, phases=phases))
    said = list(loading_remarks(summary.rows[0]))

    assert said
    assert said[0] in cells.notes(summary.rows[0])
    assert said[0] in (tmp_path / "report.md").read_text(encoding="utf-8")
    assert said[0] in (tmp_path / "report.html").read_text(encoding="utf-8")
    kept = [case["loading"] for case in as_json(summary)["workloads"][0]["cases"]]
    assert (kept[0]["remarks"], kept[0]["fetch_seconds"], kept[1]) == (said, 0.0055, None)


def counted(unit: str, *, device: bool = False) -> tuple[Any, Any]:
    """A run of ten-millisecond steps of 640 units each."""
    run, samples = make_run([Truth("eager"), Truth("amp", status="failed", reason="no")], launches=2, rounds=2)
    seen = tuple(replace(launch, seen_per_step={"samples": 60.0, unit: 640.0}) for launch in run.cases[0].launches)
    return replace(run, cases=(replace(run.cases[0], launches=seen), run.cases[1])), samples


@pytest.mark.usefixtures("unrendered")
@pytest.mark.parametrize("unit", ["tokens", "a {unit} | of <b>\udc80 one's own"])
def test_units_that_a_task_counts_are_shown_beside_the_samples(tmp_path: Path, unit: str) -> None:
    summary: Summary = draw(tmp_path, *counted(unit))
    rate = summary.rows[0].units_per_second(unit)
    assert rate is not None
    assert rate.value == pytest.approx(64_000, rel=0.02)
    rows = list(csv.DictReader(io.StringIO((tmp_path / "summary.csv").read_text(encoding="utf-8"))))
    key = next(name for name in rows[0] if name.endswith("_per_second") and name != "samples_per_second")
    assert float(rows[0][key]) == rate.value
    assert rows[1][key] == ""
    assert as_json(summary)["workloads"][0]["cases"][0][key] == rate.value
    assert "samples/s" in (page := (tmp_path / "report.md").read_text(encoding="utf-8"))
    assert f"{unit[:4]}" in page.partition("samples/s")[2].partition("\n")[0]


def test_units_are_exported() -> None:
    run, samples = counted("tokens")
    summary = summarise(run, samples)
    name = 'loopmark_units_per_second{workload="resnet",loop="eager",unit="tokens"}'
    assert name in export("openmetrics", summary, samples)
    charts = json.loads(export("github-action-benchmark-bigger", summary, samples))
    assert "resnet/eager: tokens a second" in [chart["name"] for chart in charts]


def test_units_are_compared_only_where_a_task_counts_them(tmp_path: Path) -> None:
    entrants = [entrant(*counted("tokens"), name) for name in ("one", "two")]
    found = side_by_side({"tf32": [0.005]}, 2)
    for name, of in (("with", replace(found, runs=tuple(entrants), workloads=everything(entrants))), ("none", found)):
        write_comparison(tmp_path / name, of)
    pages = {name: (tmp_path / name / "compare.md").read_text(encoding="utf-8") for name in ("with", "none")}
    assert "other units/s" in pages["with"]
    assert "tokens" in pages["with"]
    assert "other units/s" not in pages["none"]


def test_phases_are_those_of_whole_blocks_where_steps_differ_with_the_data() -> None:
    """The middle half of the steps would leave out the one that starts each epoch."""
    run, samples = make_run([Truth("eager")], launches=2, rounds=4, steps=4, launch_noise=0, block_noise=0, drift=0)
    first = samples.phases.groupby(["launch", "round", "block"])["step"].transform("min") == samples.phases["step"]
    waits = first & (samples.phases["phase"] == "data")
    samples = replace(
        samples, phases=samples.phases.assign(host_seconds=samples.phases["host_seconds"].where(~waits, 1.0))
    )
    cycles = tuple(replace(launch, cycle_steps=4) for launch in run.cases[0].launches)
    whole = replace(run, cases=(replace(run.cases[0], launches=cycles),))

    usual, of_blocks = (summarise(one, samples).rows[0].phases for one in (run, whole))
    assert usual["data"] < 0.01
    assert of_blocks["data"] == pytest.approx((1.0 + 3 * usual["data"]) / 4, rel=0.05)
    assert of_blocks["forward"] == pytest.approx(usual["forward"], rel=0.05)
    assert [*of_blocks] == [*PHASES]
