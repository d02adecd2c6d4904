import csv
import dataclasses
import io
import json
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from rich.console import Console

from loopmark.bench.errors import BadInput
from loopmark.bench.records.samples import Samples
from loopmark.bench.report.draw import as_json, draw
from loopmark.bench.report.run_tables import print_summary
from tests.support.hostile import NAMES
from tests.support.synthetic import Truth, ceilings, make_run

LOOPS = [
    Truth("eager"), Truth("eager", repeat=True), Truth("channels_last+compile", 0.008, compile_seconds=20.0),
    Truth("amp_bf16", 0.0125), Truth("cuda_graph", status="skipped", reason="needs | a `CUDA` <b>device</b>"),
]  # fmt: skip


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_drawing_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    run, samples = make_run(LOOPS, ("resnet", "gpt"), launches=2, rounds=2)
    draw(tmp_path, run, samples)
    first = files(tmp_path)
    draw(tmp_path, run, samples)
    assert files(tmp_path) == first
    assert len([name for name in first if name.endswith(".svg")]) == 12


@pytest.mark.usefixtures("unrendered")
def test_plots_that_have_nothing_to_show_any_more_are_removed_and_a_person_s_own_files_are_not(tmp_path: Path) -> None:
    run, samples = make_run(LOOPS, launches=2, rounds=2)
    draw(tmp_path, run, samples, ceilings=ceilings())
    assert (tmp_path / "plots" / "roofline-resnet.svg").exists()
    own = {"mine.png", "phases-mine.svg", "speedup-resnet-annotated.png"}
    for name in own:
        (tmp_path / "plots" / name).touch()
    draw(tmp_path, run, Samples.empty())
    assert {path.name for path in (tmp_path / "plots").iterdir()} == own


@pytest.mark.usefixtures("unrendered")
def test_every_plot_on_the_page_exists(tmp_path: Path) -> None:
    run, samples = make_run(LOOPS, (*NAMES[:3], "resnet"), launches=2, rounds=2)
    draw(tmp_path, run, samples)
    page = (tmp_path / "report.md").read_text(encoding="utf-8")
    embedded = [line.rpartition("(")[2].rstrip(")") for line in page.splitlines() if line.startswith("![")]
    assert len(embedded) == len(set(embedded)) >= 12
    assert all((tmp_path / name).is_file() for name in embedded)


@pytest.mark.usefixtures("unrendered")
def test_the_page_starts_with_the_loop_to_use_and_gives_reasons_in_full(tmp_path: Path) -> None:
    summary = draw(tmp_path, *make_run(LOOPS))
    page = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert page.startswith("# resnet on Imaginary CPU\n")
    assert page.index("**channels_last+compile, 1.2") < page.index("## resnet")
    assert "- cuda_graph skipped: needs \\| a \\`CUDA\\` &lt;b&gt;device&lt;/b&gt;" in page
    assert f"```\n{summary.run.plan.command}\n```" in page


@pytest.mark.usefixtures("unrendered")
@pytest.mark.parametrize(
    ("heading", "loops", "present"),
    [
        ("`torch.compile` moves work", LOOPS, True), ("`torch.compile` moves work", LOOPS[:2], False),
        ("## Warnings", LOOPS, False), ("### Starting up", LOOPS[4:], False), ("### Phases", LOOPS[4:], False),
        ("### Disturbances", LOOPS, True), ("### Disturbances", LOOPS[4:], False),
    ],
)  # fmt: skip
def test_a_section_with_nothing_to_say_is_absent(
    tmp_path: Path, heading: str, loops: list[Truth], present: bool
) -> None:
    draw(tmp_path, *make_run(loops, launches=2, rounds=6))
    assert (heading in (tmp_path / "report.md").read_text(encoding="utf-8")) is present


@pytest.mark.usefixtures("unrendered")
def test_warnings_and_an_interruption_are_on_the_page(tmp_path: Path) -> None:
    run, samples = make_run(LOOPS[:1], launches=2, rounds=2)
    draw(tmp_path, dataclasses.replace(run, warnings=("the <governor> is powersave",), interrupted=True), samples)
    page = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "- the &lt;governor&gt; is powersave" in page
    assert "- Interrupted: the run was stopped before its plan was done" in page


@pytest.mark.usefixtures("unrendered")
def test_a_warning_that_several_cases_share_is_said_once_with_all_their_names(tmp_path: Path) -> None:
    run, samples = make_run(LOOPS[:3], launches=2, rounds=2)
    shared = ("resnet, eager: it is slow; wait", "resnet, channels_last+compile: it is slow; wait", "see to it")
    output = io.StringIO()
    print_summary(draw(tmp_path, dataclasses.replace(run, warnings=shared), samples), Console(file=output, width=200))
    lines = output.getvalue().splitlines()
    assert [line for line in lines if line.startswith("warning: ")] == [
        "warning: resnet, eager; resnet, channels_last+compile: it is slow; wait",
        "warning: see to it",
    ]
    assert lines.index("warning: see to it") < lines.index("resnet")


@pytest.mark.usefixtures("unrendered")
@pytest.mark.parametrize("name", ["report.html", "report.md", "summary.csv"])
def test_a_folder_in_a_files_place_is_named_with_what_to_do(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    with pytest.raises(BadInput, match=f"{name} is a folder, but must be a file; move it away"):
        draw(tmp_path, *make_run(LOOPS[:2], launches=2, rounds=2))


@pytest.mark.usefixtures("unrendered")
def test_a_file_in_the_plots_place_is_named_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "plots").write_text("mine")
    with pytest.raises(BadInput, match="plots is not a folder, but must be one; move it away"):
        draw(tmp_path, *make_run(LOOPS[:2], launches=2, rounds=2))


@pytest.mark.parametrize("seconds", [1e-308, 1e-300, 1e300])
def test_times_that_cannot_be_computed_with_are_drawn_without_an_error(tmp_path: Path, seconds: float) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", RuntimeWarning)  # as the command does
        draw(tmp_path, *make_run([*LOOPS[:2], Truth("odd", seconds)], launches=2, rounds=2))
    assert "| odd" in (tmp_path / "report.md").read_text(encoding="utf-8")
    assert (tmp_path / "plots" / "phases-resnet.svg").stat().st_size > 0


@pytest.mark.usefixtures("unrendered")
def test_the_spreadsheet_has_a_row_a_case_and_an_empty_cell_where_nothing_was_measured(tmp_path: Path) -> None:
    draw(tmp_path, *make_run(LOOPS))
    with (tmp_path / "summary.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["loop"] for row in rows] == [truth.loop for truth in LOOPS]
    assert float(rows[2]["speedup"]) == pytest.approx(1.25, rel=0.03)
    assert float(rows[0]["backward_seconds"]) == pytest.approx(0.0053, rel=0.2)
    assert rows[0]["speedup"] == rows[4]["step_seconds"] == rows[4]["forward_seconds"] == ""
    assert "inf" not in (tmp_path / "summary.csv").read_text(encoding="utf-8")


@pytest.mark.usefixtures("unrendered")
def test_the_spreadsheets_first_columns_do_not_depend_on_the_run(tmp_path: Path) -> None:
    headings = []
    for loops, device in ((LOOPS, True), (LOOPS[4:], False)):
        draw(tmp_path, *make_run(loops, launches=2, rounds=2, device=device))
        headings.append((tmp_path / "summary.csv").read_text(encoding="utf-8").splitlines()[0].split(","))
    assert headings[0][: len(headings[1])] == headings[1]


@pytest.mark.parametrize(("launches", "rounds"), [(1, 1), (1, 12), (2, 1), (5, 12)])
def test_json_is_strict_however_little_was_measured(tmp_path: Path, launches: int, rounds: int) -> None:
    summary = draw(tmp_path, *make_run(LOOPS, launches=launches, rounds=rounds))
    content = json.loads(json.dumps(as_json(summary), allow_nan=False))
    assert [case["loop"] for case in content["workloads"][0]["cases"]] == [truth.loop for truth in LOOPS]
    for text in ((tmp_path / "report.md"), (tmp_path / "summary.csv")):
        assert not {"inf", "nan"} & set(text.read_text(encoding="utf-8").replace(",", " ").split())


@pytest.mark.usefixtures("unrendered")
@pytest.mark.parametrize("name", NAMES)
def test_a_hostile_name_stays_in_the_folder_and_out_of_the_markup(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    loops = [Truth("eager"), Truth(name, 0.008, compile_seconds=1.0), Truth("x", status="failed", reason=name)]
    draw(folder, *make_run(loops, (name,), launches=2, rounds=2))
    assert list(tmp_path.iterdir()) == [folder]
    page = (folder / "report.md").read_text(encoding="utf-8")
    assert "<script" not in page
    assert "\x1b" not in page
    tables = [line for line in page.splitlines() if line.startswith("| ")]
    assert all(line.endswith(" |") for line in tables)


def test_nothing_here_imports_torch_and_only_drawing_imports_matplotlib() -> None:
    code = (
        "import sys, loopmark.bench.report.draw, loopmark.bench.report.run_tables\n"
        "assert 'matplotlib' not in sys.modules\n"
        "import loopmark.bench.report.plots, loopmark.bench.report.trajectories\n"
        "assert 'torch' not in sys.modules\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.usefixtures("unrendered")
def test_what_a_gradient_scaler_skipped_is_on_the_page_and_in_the_table(tmp_path: Path) -> None:
    run, samples = make_run([Truth("eager"), Truth("amp_fp16")], launches=2, rounds=3)
    scaled = run.cases[1]
    launches = tuple(
        dataclasses.replace(one, steps=1000, skipped_steps=1, final_scale=65536.0) for one in scaled.launches
    )
    run = dataclasses.replace(run, cases=(run.cases[0], dataclasses.replace(scaled, launches=launches)))
    summary = draw(tmp_path, run, samples)
    console = Console(width=120, record=True, file=io.StringIO())
    print_summary(summary, console)

    says = "the gradient scaler skipped 2 of 2,000 steps; its scale ended at 65,536"
    assert f"- amp_fp16 – {says}" in (tmp_path / "report.md").read_text(encoding="utf-8")
    assert f"amp_fp16: {says}" in console.export_text()


@pytest.mark.usefixtures("unrendered")
def test_a_run_on_a_device_says_of_each_phase_what_bounds_it(tmp_path: Path) -> None:
    run, samples = make_run([Truth("eager"), Truth("eager", repeat=True), Truth("compile")], device=True)
    laps = samples.phases
    laps.loc[laps["case"] == 2, "host_seconds"] = laps["device_seconds"]  # the host is never ahead
    summary = draw(tmp_path, run, samples)
    page = (tmp_path / "report.md").read_text(encoding="utf-8")
    told = page.partition("### Bounds of the phases")[2].partition("###")[0].splitlines()
    eager, compiled = (
        next(line for line in told if line.startswith(f"| {name} |")) for name in ("**eager**", "compile")
    )
    assert eager.count("device-bound: host") == compiled.count("launch-bound: host") == 6
    assert "compile – launch-bound: the device waits for the host" in page
    cases = json.loads(json.dumps(as_json(summary), allow_nan=False))["workloads"][0]["cases"]
    assert cases[2]["bounds"]["forward"]["by"] == "launch-bound"


@pytest.mark.usefixtures("unrendered")
def test_a_run_on_the_cpu_says_nothing_of_launches(tmp_path: Path) -> None:
    draw(tmp_path, *make_run(LOOPS, launches=2, rounds=2))
    assert "-bound" not in (tmp_path / "report.md").read_text(encoding="utf-8")


@pytest.mark.usefixtures("unrendered")
def test_a_run_with_ceilings_says_how_near_each_phase_comes_to_them(tmp_path: Path) -> None:
    summary = draw(tmp_path, *make_run(LOOPS, launch_noise=0.0, block_noise=0.0, drift=0.0), ceilings=ceilings())
    page = (tmp_path / "report.md").read_text(encoding="utf-8")
    told = page.partition("### Limits of the device")[2].partition("###")[0].splitlines()
    eager = next(line for line in told if line.startswith("| **eager** | float32 | 30.0 % ["))  # 3 of 10 ms
    assert "33 % (arithmetic)" in eager  # forward: 1 of 3 ms
    assert "![Operations a second over operations a byte" in page
    case = json.loads(json.dumps(as_json(summary), allow_nan=False))["workloads"][0]["cases"][2]
    assert case["model_flops_utilisation"] == pytest.approx(3 / 8, rel=0.01)
    assert case["possible_speedup_taken"] == pytest.approx(2 / (10 - 3.0768), rel=0.02)
    assert case["roofline"]["optimizer"]["limited_by"] == "memory"


@pytest.mark.usefixtures("unrendered")
def test_what_disturbed_the_device_while_its_ceilings_were_measured_stands_beside_the_limits(tmp_path: Path) -> None:
    known = ceilings()
    unsteady = dataclasses.replace(known, ceilings=(dataclasses.replace(known.ceilings[0], steady=False),))
    for found, said in ((known, 0), (unsteady, 2)):
        draw(tmp_path, *make_run(LOOPS, launches=2, rounds=2), ceilings=dataclasses.replace(
            found, ceilings=(*found.ceilings[:1], *known.ceilings[1:])
        ))  # fmt: skip
        pages = [(tmp_path / name).read_text(encoding="utf-8") for name in ("report.md", "report.html")]
        assert sum("Not steady when sampling began: matrix product float32." in page for page in pages) == said


@pytest.mark.usefixtures("unrendered")
def test_a_run_without_ceilings_claims_nothing_of_limits(tmp_path: Path) -> None:
    summary = draw(tmp_path, *make_run(LOOPS, launches=2, rounds=2))
    assert "device's limits" not in (tmp_path / "report.md").read_text(encoding="utf-8")
    assert as_json(summary)["workloads"][0]["cases"][0]["roofline"] is None


@pytest.mark.usefixtures("unrendered")
def test_energy_is_told_where_it_was_counted_and_has_no_column_elsewhere(tmp_path: Path) -> None:
    run, samples = make_run(LOOPS, launches=2, rounds=2)
    draw(tmp_path, run, samples)
    page = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "energy a step" not in page
    assert "Neither GPU nor processor counted energy." in page
    first = run.cases[0]
    launches = tuple(dataclasses.replace(launch, joules_per_step=1.5) for launch in first.launches)
    counted = dataclasses.replace(run, cases=(dataclasses.replace(first, launches=launches), *run.cases[1:]))
    draw(tmp_path, counted, samples)
    page = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "| energy a step | a sample |" in page
    eager = next(line for line in page.splitlines() if line.startswith("| **eager** | baseline |"))
    assert eager.endswith("| 1.50 J [1.50, 1.50] | 23.4 mJ [23.4, 23.4] |")


@pytest.mark.usefixtures("unrendered")
@pytest.mark.parametrize(("fast", "told"), [(0.002, True), (0.0099, False)])
def test_a_step_that_is_surely_faster_than_its_device_has_that_said_of_its_mfu(
    tmp_path: Path, fast: float, told: bool
) -> None:
    draw(tmp_path, *make_run([Truth("eager", fast)], launches=3, rounds=3, drift=0.0), ceilings=ceilings())
    assert ("MFU above 100 %" in (tmp_path / "report.md").read_text(encoding="utf-8")) is told


@pytest.mark.usefixtures("unrendered")
def test_of_an_imported_run_nothing_is_said_of_turns(tmp_path: Path) -> None:
    run, samples = make_run([Truth("eager"), Truth("tf32")], launches=5, rounds=2, drift=0.0)
    samples.blocks.loc[samples.blocks["launch"] == 2, "host_seconds"] *= 1.5
    for imported, said in ((None, True), ("pytest-benchmark", False)):
        draw(tmp_path, dataclasses.replace(run, imported_from=imported), samples)
        assert ("Slow together" in (tmp_path / "report.md").read_text(encoding="utf-8")) is said
