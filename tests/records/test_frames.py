"""``loopmark.bench.records.load``: the frames for a notebook, from runs that were never measured."""

import contextlib
import io
import re
import shutil
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from loopmark.bench.errors import BadInput
from loopmark.bench.records import load, store
from loopmark.bench.records.run import Run
from loopmark.bench.records.samples import Samples
from tests.support.command import ROOT
from tests.support.synthetic import Truth, make_run

LOOPS = [Truth("eager"), Truth("eager", repeat=True), Truth("amp_bf16", 0.005), Truth("tf32", status="skipped")]
TABLES = ("runs", "warnings", "cases", "launches", "blocks", "phases", "warmup", "losses")


def keep(root: Path, name: str, run: Run, samples: Samples) -> Path:
    folder = root / run.machine.name / name
    folder.mkdir(parents=True)
    store.write(folder, replace(run, name=name), samples)
    return folder


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on a CPU and one on a GPU, each in its machine's folder."""
    root = tmp_path_factory.mktemp("results")
    keep(root, "first", *make_run(LOOPS, launches=2, rounds=2))
    keep(root, "second", *make_run(LOOPS[:1], ("gpt",), launches=2, rounds=3, device=True))
    return root


def test_each_frame_has_a_row_for_each_thing(kept: Path) -> None:
    frames = load(kept)

    assert list(frames.runs["run"]) == ["first", "second"]
    assert len(frames.cases) == 5
    assert len(frames.launches) == 2 * (3 + 1)
    assert len(frames.blocks) == 4 * 2 * (3 * 2 + 1 * 3)
    assert len(frames.phases) == 6 * 2 * 2 * 2 * (3 * 2 + 1 * 3)
    assert set(frames.losses["run"]) == set(frames.warmup["run"]) == {"first", "second"}


def test_a_launch_has_the_number_that_its_blocks_have_where_one_before_it_failed(tmp_path: Path) -> None:
    run, samples = make_run(LOOPS[:1], launches=3, rounds=1)
    run = replace(run, cases=(replace(run.cases[0], launches=run.cases[0].launches[1:]),))
    keep(tmp_path, "gap", run, replace(samples, blocks=samples.blocks[samples.blocks["launch"] > 0]))
    frames = load(tmp_path)

    assert list(frames.launches["launch"]) == sorted(set(frames.blocks["launch"])) == [1, 2]


@pytest.mark.parametrize("name", TABLES)
def test_frames_join_and_group_by_the_same_categories(kept: Path, name: str) -> None:
    frames = load(kept)
    frame = getattr(frames, name)

    for column in {"run", "machine", "workload", "loop"} & set(frame):
        assert isinstance(frame[column].dtype, pd.CategoricalDtype)
        assert frame[column].dtype == frames.cases[column].dtype
    joined = frame.merge(frames.runs[["run", "device"]].rename(columns={"device": "of_run"}), on="run")
    assert len(joined) == len(frame)
    assert joined["run"].dtype == frame["run"].dtype


def test_seconds_are_the_devices_where_a_device_was_timed(kept: Path) -> None:
    frames = load(kept)
    on_host, on_device = (frames.phases[frames.phases["run"] == name] for name in ("first", "second"))

    assert on_host["device_seconds"].isna().all()
    assert (on_host["seconds"] == on_host["host_seconds"]).all()
    assert (on_device["seconds"] == on_device["device_seconds"]).all()
    blocks = frames.blocks
    expected = blocks["device_seconds"].fillna(blocks["host_seconds"]) / blocks["steps"]
    pd.testing.assert_series_equal(blocks["seconds_per_step"], expected, check_names=False)


def test_what_is_not_known_is_missing_and_not_zero(kept: Path) -> None:
    frames = load(kept)

    assert frames.cases.set_index("loop").loc["tf32", "batch_size"] == 64
    assert frames.launches["skipped_steps"].isna().all()
    assert frames.launches["joules_per_step"].isna().all()
    assert frames.runs["cuda"].isna().all()


@pytest.mark.parametrize("pattern", ["*/first", "**/first", "*/f*t", "*/first/run.json", "imaginary-*/first"])
def test_a_glob_chooses_runs(kept: Path, pattern: str) -> None:
    assert list(load(f"{kept}/{pattern}").runs["run"]) == ["first"]


def test_a_folder_a_run_and_several_of_them_are_each_read_once(kept: Path) -> None:
    (first,) = kept.glob("*/first")

    assert list(load(first).runs["run"]) == ["first"]
    assert len(load([first, kept, f"{kept}/*"]).runs) == 2


def test_a_folder_whose_name_looks_like_a_glob_is_taken_as_it_is(tmp_path: Path) -> None:
    folder = keep(tmp_path / "[a]*", "only", *make_run(LOOPS[:1], launches=2, rounds=1))

    assert list(load(str(folder)).runs["run"]) == ["only"]


def test_runs_of_one_name_are_told_apart(tmp_path: Path) -> None:
    keep(tmp_path / "a", "same", *make_run(LOOPS[:1], launches=2, rounds=1))
    keep(tmp_path / "b", "same", *make_run(LOOPS[:1], launches=2, rounds=1))
    keep(tmp_path, "same", *make_run(LOOPS[:1], launches=2, rounds=1, device=True))
    frames = load(tmp_path)

    assert frames.runs["run"].is_unique
    assert len(frames.blocks.groupby("run", observed=True)) == 3
    assert any(name.startswith("nvidia-imaginary-1") for name in frames.runs["run"])


def test_only_the_tables_that_are_asked_for_are_read(kept: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(kept, copy)
    for table in copy.rglob("*.parquet"):
        table.unlink()

    assert len(load(copy).cases) == 5


def test_a_run_that_cannot_be_read_is_a_warning_and_the_rest_is_intact(kept: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(kept, copy)
    (broken,) = copy.glob("*/first")
    (broken / "run.json").write_text("{")

    with pytest.warns(UserWarning, match="left out: cannot read .*first"):
        frames = load(copy)
    assert list(frames.runs["run"]) == ["second"]
    assert len(frames.blocks)


@pytest.mark.parametrize("damage", ["truncated", "missing", "of a case that there is none of"])
def test_a_table_that_cannot_be_read_is_a_warning_and_the_others_are_intact(
    kept: Path, tmp_path: Path, damage: str
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(kept, copy)
    (broken,) = copy.glob("*/first")
    path = broken / "blocks.parquet"
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:-100])
    elif damage == "missing":
        path.unlink()
    else:
        rows = pd.read_parquet(path)
        rows.assign(case=rows["case"] + 90).to_parquet(path, index=False)
    frames = load(copy)

    with pytest.warns(UserWarning, match=r"left out: .*first"):
        assert set(frames.blocks["run"]) == {"second"}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert set(frames.phases["run"]) == {"first", "second"}


def test_where_no_table_can_be_read_the_frame_is_empty_with_its_columns(kept: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(kept, copy)
    whole = load(copy)
    columns = {name: list(getattr(whole, name)) for name in TABLES[4:]}
    for table in copy.rglob("*.parquet"):
        table.unlink()
    frames = load(copy)

    for name, expected in columns.items():
        with pytest.warns(UserWarning, match="left out"):
            frame = getattr(frames, name)
        assert not len(frame)
        assert list(frame) == expected


@pytest.mark.parametrize(
    ("where", "says"),
    [
        ("nowhere", "nowhere is not a folder; give one that holds runs, such as results"),
        ("nowhere/*", "no folder matches nowhere/.*; give one that holds runs"),
        ("tests", "tests holds no run; give a folder"),
        ([], "no place to look for runs was given"),
        ("", "'' is not a folder; give one that holds runs"),
        ("README.md", "README.md is not a folder; give one that holds runs"),
        ("x" * 5000, "cannot look for runs in xxx.*: .*File name too long"),
        ("x" * 5000 + "*", "xxx"),
        (Path("a\0b"), "not a folder|embedded null"),
        ("~nobody-of-that-name/runs", "cannot look for runs in ~nobody"),
        ("[", "no folder matches|not a folder"),
    ],
)
def test_where_there_is_no_run_one_line_says_what_to_do(where: object, says: str, monkeypatch) -> None:
    monkeypatch.chdir(ROOT)
    with pytest.raises(BadInput, match=says) as told:
        load(where)  # type: ignore[arg-type]
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("where", [None, b"results", 7, 1.5, object(), [None], [["results"]], [b"results"]])
def test_what_is_no_path_is_a_type_error_that_names_what_it_is(where: object) -> None:
    with pytest.raises(TypeError, match=r"load takes a folder or a glob, or several, each a str .* and not \w+$"):
        load(where)  # type: ignore[arg-type]


def test_any_iterable_of_places_is_taken(kept: Path) -> None:
    (first,) = kept.glob("*/first")
    for where in ((str(first),), {first}, iter([first]), (path for path in [f"{kept}/*/f*t"])):
        assert list(load(where).runs["run"]) == ["first"]


def test_a_glob_that_matches_nothing_among_others_is_a_warning(kept: Path) -> None:
    with pytest.warns(UserWarning, match=r"no folder matches .*none\*"):
        assert len(load([f"{kept}/none*", kept]).runs) == 2


def test_every_warning_has_a_row_with_its_run(tmp_path: Path) -> None:
    run, samples = make_run(LOOPS[:1], launches=2, rounds=1)
    keep(tmp_path, "calm", run, samples)
    keep(tmp_path, "noisy", replace(run, warnings=("steal was high", "odd \udc80")), samples)
    frames = load(tmp_path)

    assert list(frames.warnings["run"]) == ["noisy", "noisy"]
    assert list(frames.warnings["warning"]) == ["steal was high", "odd \\udc80"]
    assert dict(zip(frames.runs["run"], frames.runs["warnings"], strict=True)) == {"calm": 0, "noisy": 2}


def test_runs_of_which_none_can_be_read_are_refused(kept: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(kept, copy)
    for run in copy.rglob("run.json"):
        run.write_text("[]")

    with pytest.raises(BadInput, match="is not a file of Loopmark"):
        load(copy)


def test_importing_the_package_for_its_load_imports_no_pandas() -> None:
    program = "import sys\nfrom loopmark import load\nassert not {'pandas', 'numpy', 'torch'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False).returncode == 0


def test_the_example_in_the_documentation_prints_what_it_says(monkeypatch) -> None:
    monkeypatch.chdir(ROOT)
    section = (ROOT / "results" / "README.md").read_text(encoding="utf-8").partition("## In a notebook")[2]
    found = re.search(r"```python\n(.*?)```\s+```text\n(.*?)```", section, re.DOTALL)
    assert found is not None
    code, shown = found.groups()

    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, "results/README.md", "exec"), {})
    assert [line.rstrip() for line in printed.getvalue().splitlines()] == [line.rstrip() for line in shown.splitlines()]


def test_a_place_without_a_run_among_others_is_a_warning_that_names_it(kept: Path, tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="before is not a folder"):
        assert len(load([tmp_path / "before", kept]).runs) == 2


def test_a_name_that_is_no_whole_text_is_told_by_its_escape(tmp_path: Path) -> None:
    keep(tmp_path, "odd", *make_run([Truth("eager"), Truth("a\udc80")], launches=2, rounds=2))
    assert list(load(tmp_path).cases["loop"]) == ["eager", "a\\udc80"]


def test_frames_are_shown_in_a_line(kept: Path) -> None:
    assert repr(load(kept)).startswith("<2 run(s) of 2 machine(s); frames: runs, warnings, cases")


def test_text_that_is_no_utf_8_is_shown_as_its_escape_wherever_it_stands(tmp_path: Path) -> None:
    run, samples = make_run([Truth("eager")], launches=1, rounds=1)
    odd = "cp\ud800"
    run = replace(run, plan=replace(run.plan, device=odd), environment=replace(run.environment, torch=odd))
    store.write(tmp_path, replace(run, cases=(replace(run.cases[0], data_sha256=odd),)), samples)
    runs = load(tmp_path)
    assert runs.runs["device"].tolist() == runs.runs["torch"].tolist() == ["cp\\ud800"]
    assert len(runs.cases) == 1
