import errno
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from loopmark.bench.errors import BadInput
from loopmark.bench.records import samples as samples_module
from loopmark.bench.records.run import Run
from loopmark.bench.records.samples import COLUMNS, TABLES, Samples, typed
from loopmark.bench.records.store import read, read_run, write
from tests.records.complaints import complaint
from tests.support.synthetic import PHASES, Truth, make_run


def small(**options: Any) -> tuple[Run, Samples]:
    return make_run([Truth("eager"), Truth("eager", repeat=True)], launches=2, rounds=3, **options)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a sound run."""
    path = tmp_path / "run"
    path.mkdir()
    write(path, *small())
    return path


def edit(folder: Path, change: Callable[[Any], Any]) -> None:
    path = folder / "run.json"
    path.write_text(json.dumps(change(json.loads(path.read_text()))))


def edit_table(folder: Path, name: str, change: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    path = folder / f"{name}.parquet"
    change(pd.read_parquet(path)).to_parquet(path, index=False)


# Kept data


@pytest.mark.parametrize("device", [False, True])
def test_what_was_written_is_read_back_equal(tmp_path: Path, device: bool) -> None:
    run, samples = small(device=device)
    write(tmp_path, run, samples)
    again, same = read(tmp_path)
    assert again == run
    for name in TABLES:
        pd.testing.assert_frame_equal(
            typed(COLUMNS[name], getattr(same, name)), getattr(samples, name), check_exact=True
        )


def test_the_phases_names_are_read_as_categories_in_alphabetical_order(folder: Path) -> None:
    # Groups then keep the alphabetical order of text, and ten million names fit into 10 MB.
    names = read(folder)[1].phases["phase"]
    assert isinstance(names.dtype, pd.CategoricalDtype)
    assert list(names.cat.categories) == sorted(PHASES)


@pytest.mark.parametrize("name", TABLES)
def test_what_was_read_may_be_written_to(folder: Path, name: str) -> None:
    table = getattr(read(folder)[1], name)
    table.loc[0, "case"] = 7
    assert table["case"].iloc[0] == 7


def test_a_run_without_samples_is_read_back_with_its_columns(tmp_path: Path) -> None:
    run, _ = small()
    write(tmp_path, run, Samples.empty())
    _, samples = read(tmp_path)
    for name in TABLES:
        table = getattr(samples, name)
        assert list(table) == list(COLUMNS[name])
        assert len(table) == 0
        pd.testing.assert_series_equal(typed(COLUMNS[name], table).dtypes, getattr(Samples.empty(), name).dtypes)


def test_text_beyond_ascii_and_beyond_unicode_is_kept(tmp_path: Path) -> None:
    run, samples = small()
    variables = {"TORCH_HOME": "/données/温度", "OMP_PLACES": os.fsdecode(b"\xff\xfe")}
    run = replace(run, environment=replace(run.environment, variables=variables), warnings=("a\nb", "\x00"))
    write(tmp_path, run, samples)
    assert read_run(tmp_path) == run
    assert "données" in (tmp_path / "run.json").read_text(encoding="utf-8")  # readable for a person


def test_writing_again_replaces_the_run_and_leaves_nothing_else_behind(folder: Path) -> None:
    run, samples = small(seed=9)
    write(folder, replace(run, seconds=7.0), samples)
    assert read_run(folder).seconds == 7.0
    assert {path.name for path in folder.iterdir()} == {"run.json", *(f"{name}.parquet" for name in TABLES)}


def test_a_run_that_cannot_be_written_leaves_the_one_before_it_whole(folder: Path) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    run, samples = small(seed=9)
    with pytest.raises(ValueError, match="Out of range float"):
        write(folder, replace(run, seconds=float("nan")), samples)
    with pytest.raises(KeyError):
        write(folder, run, replace(samples, losses=samples.losses.drop(columns="loss")))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_folder_without_its_run_json_yet_is_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replaced = samples_module.replace_file

    def full_disk(path: Path, content: bytes) -> None:
        if path.name == "warmup.parquet":
            raise OSError(errno.ENOSPC, "No space left on device")
        replaced(path, content)

    monkeypatch.setattr(samples_module, "replace_file", full_disk)
    with pytest.raises(OSError, match="No space left"):
        write(tmp_path, *small())
    assert "has no run.json" in complaint(lambda: read(tmp_path))


def test_a_key_of_a_later_version_is_passed_over(folder: Path) -> None:
    run = read_run(folder)
    edit(folder, lambda content: {**content, "mood": "good", "plan": {**content["plan"], "later": [1]}})
    assert read_run(folder) == run


def test_a_column_of_a_later_version_is_passed_over(folder: Path) -> None:
    _, samples = read(folder)
    edit_table(folder, "blocks", lambda table: table.assign(joules=1.0)[["joules", *table.columns[::-1]]])
    assert read(folder)[1].blocks.equals(samples.blocks)


def test_a_table_is_read_whatever_its_folder_is_called(tmp_path: Path) -> None:
    inside = tmp_path / "case=7" / "launch=x"
    inside.mkdir(parents=True)
    run, samples = small()
    write(inside, run, samples)
    assert read(inside)[1].blocks.equals(samples.blocks)


# Refused data


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    text = complaint(lambda: read(tmp_path / "nowhere"))
    assert text == f"{tmp_path / 'nowhere'} is not a folder; give a folder that `loopmark run` wrote"


def test_a_file_in_place_of_the_folder_is_named(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("hello")
    assert f"{path} is not a folder" in complaint(lambda: read(path))


def test_a_folder_of_something_else_is_named(tmp_path: Path) -> None:
    assert f"{tmp_path} has no run.json" in complaint(lambda: read(tmp_path))


def test_a_name_that_no_file_can_have_is_named(tmp_path: Path) -> None:
    assert "xxx" in complaint(lambda: read(tmp_path / ("x" * 300)))
    assert "cannot read" in complaint(lambda: read(tmp_path / "a\0b"))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not json at all",
        b'{"format_version": 1, "name": "20',
        b"\x00\xff\xfe\x89PNG\r\n\x1a\n" * 50,
        b"\xef\xbb\xbf{}",
        b"[" * 200_000,
        b'{"a":' * 200_000,
        b'{"format_version": 1' + b"0" * 10_000 + b"}",
        b"null",
        b"3",
        b'"run"',
        b"[]",
        b'[{"format_version": 1}]',
        b"{}",
        b'{"format_version": 1}',
    ],
    ids=lambda content: repr(content[:16]),
)
def test_a_run_json_that_is_none_is_named(folder: Path, content: bytes) -> None:
    (folder / "run.json").write_bytes(content)
    assert str(folder / "run.json") in complaint(lambda: read(folder))


def test_a_run_json_cut_anywhere_is_named(folder: Path) -> None:
    whole = (folder / "run.json").read_bytes()
    for length in np.linspace(0, len(whole) - 3, 60, dtype=int):
        (folder / "run.json").write_bytes(whole[:length])
        assert str(folder / "run.json") in complaint(lambda: read_run(folder))


def test_a_folder_in_place_of_run_json_is_named(folder: Path) -> None:
    (folder / "run.json").unlink()
    (folder / "run.json").mkdir()
    assert f"cannot read {folder / 'run.json'}" in complaint(lambda: read(folder))


@pytest.mark.parametrize("version", [None, "1", 1.0, [1], {}, False, 0, -1])
def test_a_format_version_that_is_none_is_named(folder: Path, version: object) -> None:
    edit(folder, lambda content: {**content, "format_version": version})
    assert f"{folder / 'run.json'} is not a file of Loopmark" in complaint(lambda: read(folder))


def test_a_format_version_of_true_is_not_one(folder: Path) -> None:
    edit(folder, lambda content: {**content, "format_version": True})
    assert str(folder / "run.json") in complaint(lambda: read(folder))


def test_a_newer_format_asks_for_an_upgrade_before_anything_else(folder: Path) -> None:
    (folder / "run.json").write_text(json.dumps({"format_version": Run.format_version + 1, "cases": 3}))
    text = complaint(lambda: read(folder))
    assert f"format {Run.format_version + 1}" in text
    assert text.endswith("upgrade it")


def set_in(content: Any, place: tuple[str | int, ...], value: object) -> Any:
    inner = content
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    return content


@pytest.mark.parametrize(
    ("place", "value", "named"),
    [
        (("cases",), {}, "run.cases should be a list"),
        (("cases", 0), None, "run.cases[0] should be an object"),
        (("cases", 1, "status"), "fine", "run.cases[1].status should be one of"),
        (("cases", 0, "launches", 1, "steps"), 1.5, "run.cases[0].launches[1].steps should be a int"),
        (("plan", "launches"), "5", "run.plan.launches should be a int"),
        (("plan", "budget_seconds"), float("nan"), "run.plan.budget_seconds should be a finite number"),
        (("plan", "budget_seconds"), 10**400, "run.plan.budget_seconds should be a finite number"),
        (("machine", "gpus"), [1], "run.machine.gpus[0] should be an object"),
        (("environment", "packages"), {"a\nb": 1}, "run.environment.packages.a b should be a str"),
        (("interrupted",), 0, "run.interrupted should be a bool"),
        (("name",), 3, "run.name should be a str"),
    ],
)
def test_a_wrong_type_is_named_with_its_place(
    folder: Path, place: tuple[str | int, ...], value: object, named: str
) -> None:
    edit(folder, lambda content: set_in(content, place, value))
    text = complaint(lambda: read(folder))
    assert f"{folder / 'run.json'} is damaged: {named}" in text


@pytest.mark.parametrize("field", ["name", "plan", "machine", "environment", "cases", "interrupted"])
def test_a_missing_field_is_named(folder: Path, field: str) -> None:
    edit(folder, lambda content: {key: value for key, value in content.items() if key != field})
    assert f"{folder / 'run.json'} is damaged: run.{field} is missing" in complaint(lambda: read(folder))


def test_a_run_without_a_case_is_refused(folder: Path) -> None:
    edit(folder, lambda content: {**content, "cases": []})
    assert "holds no case" in complaint(lambda: read(folder))


@pytest.mark.parametrize("name", TABLES)
def test_a_missing_table_is_named(folder: Path, name: str) -> None:
    (folder / f"{name}.parquet").unlink()
    assert f"{folder} lacks {name}.parquet" in complaint(lambda: read(folder))


@pytest.mark.parametrize("name", TABLES)
def test_a_folder_in_place_of_a_table_is_named(folder: Path, name: str) -> None:
    path = folder / f"{name}.parquet"
    table = path.read_bytes()
    path.unlink()
    path.mkdir()
    (path / "part.parquet").write_bytes(table)  # pandas alone would read it as a table in parts
    assert f"cannot read {path}" in complaint(lambda: read(folder))


@pytest.mark.parametrize("name", ["run.json", *(f"{name}.parquet" for name in TABLES)])
@pytest.mark.parametrize("odd", ["a pipe", "a link to itself", "a device"])
def test_what_is_no_file_is_named_and_never_waited_for(folder: Path, name: str, odd: str) -> None:
    path = folder / name
    path.unlink()
    if odd == "a pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(path if odd == "a link to itself" else "/dev/zero")
    assert str(path) in complaint(lambda: read(folder))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_named(folder: Path) -> None:
    (folder / "blocks.parquet").chmod(0)
    assert f"cannot read {folder / 'blocks.parquet'}" in complaint(lambda: read(folder))


@pytest.mark.parametrize("size", [0, -64])
def test_a_batch_of_nothing_is_refused(folder: Path, size: int) -> None:
    edit(folder, lambda content: set_in(content, ("cases", 1, "batch_size"), size))
    assert f"run.cases[1].batch_size should be at least 1, not {size}" in complaint(lambda: read_run(folder))


def places(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Every place in a JSON value, but only the first of a list."""
    keys = list(value) if isinstance(value, dict) else range(len(value))[:1] if isinstance(value, list) else ()
    for key in keys:
        yield (*path, key)
        yield from places(value[key], (*path, key))


@pytest.mark.parametrize("value", [None, True, -1, 10**400, float("nan"), "\udc80", [], {}, [None]], ids=repr)
def test_any_field_with_any_other_value_is_read_or_named(folder: Path, value: object) -> None:
    text = (folder / "run.json").read_text()
    refused = 0
    for place in places(json.loads(text)):
        (folder / "run.json").write_text(json.dumps(set_in(json.loads(text), place, value)))
        try:
            read_run(folder)
        except BadInput as error:
            assert str(folder / "run.json") in str(error)
            assert "\n" not in str(error)
            refused += 1
    assert refused > 50


@pytest.mark.parametrize("content", [b"", b"PAR1", b"junk" * 99, b"PAR1\x00\x00\x00\x00PAR1", b'{"a": 1}\n'])
def test_a_table_that_is_none_is_named(folder: Path, content: bytes) -> None:
    (folder / "blocks.parquet").write_bytes(content)
    assert f"cannot read {folder / 'blocks.parquet'}" in complaint(lambda: read(folder))


def test_a_table_cut_anywhere_is_named(folder: Path) -> None:
    whole = (folder / "blocks.parquet").read_bytes()
    for length in np.linspace(0, len(whole) - 1, 40, dtype=int):
        (folder / "blocks.parquet").write_bytes(whole[:length])
        assert str(folder / "blocks.parquet") in complaint(lambda: read(folder))


@pytest.mark.parametrize("error", [pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowCapacityError])
def test_whatever_the_parquet_reader_makes_of_damage_is_one_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise error("Unknown encoding\ntype")

    monkeypatch.setattr(parquet, "ParquetFile", refuse)
    text = complaint(lambda: read(folder))
    assert f"cannot read {folder / 'phases.parquet'}: Unknown encoding type" in text


def test_a_flipped_byte_never_changes_a_sample_in_silence(folder: Path) -> None:
    path, rng = folder / "blocks.parquet", np.random.default_rng(0)
    _, samples = read(folder)
    whole, refused = path.read_bytes(), 0
    for _ in range(120):
        content = bytearray(whole)
        content[rng.integers(len(whole))] ^= 1 << int(rng.integers(8))
        path.write_bytes(content)
        try:
            assert read(folder)[1].blocks.equals(samples.blocks)
        except BadInput as error:
            assert str(path) in str(error)
            assert "\n" not in str(error)
            refused += 1
    assert refused > 50  # the rest hits unread parts, such as pandas' own notes


@pytest.mark.parametrize(("name", "column"), [(name, column) for name in TABLES for column in COLUMNS[name]])
def test_a_missing_column_is_named(folder: Path, name: str, column: str) -> None:
    edit_table(folder, name, lambda table: table.drop(columns=column))
    text = complaint(lambda: read(folder))
    assert text == f"{folder / name}.parquet lacks the column '{column}'; copy the folder again or repeat the run"


def test_a_block_that_took_no_time_on_its_device_is_damage_and_one_without_a_device_is_none(folder: Path) -> None:
    edit_table(folder, "blocks", lambda table: table.assign(device_seconds=0.0))
    assert "a block takes some time on its device" in complaint(lambda: read(folder))
    edit_table(folder, "blocks", lambda table: table.assign(device_seconds=float("nan")))
    read(folder)


@pytest.mark.parametrize(
    ("name", "column", "value"),
    [
        ("blocks", "host_seconds", "fast"),
        ("blocks", "host_seconds", "0.1"),
        ("blocks", "lapped", "False"),  # a cast would make it True
        ("blocks", "lapped", 1),
        ("blocks", "steps", 2.5),  # a cast would make it 2
        ("blocks", "steps", None),
        ("blocks", "case", 2**32),  # a cast would make it 0
        ("phases", "phase", 3),
        ("phases", "phase", b"forward"),
        ("losses", "loss", None),
        ("warmup", "seconds", True),
    ],
)
def test_a_column_of_the_wrong_type_is_named(folder: Path, name: str, column: str, value: object) -> None:
    edit_table(folder, name, lambda table: table.assign(**{column: [value] * len(table)}))
    text = complaint(lambda: read(folder))
    assert str(folder / f"{name}.parquet") in text
    assert f"'{column}' should be {COLUMNS[name][column]}" in text


@pytest.mark.parametrize(
    ("name", "column", "value", "why"),
    [
        ("phases", "case", 2, "run.json has 2 case(s)"),
        ("blocks", "case", -1, "which is not between 0 and"),
        ("blocks", "launch", 2, "run.json has no such launch of its case"),
        ("losses", "launch", 2**31 - 1, "run.json has no such launch of its case"),
        ("warmup", "launch", -1, "which is not between 0 and"),
        ("phases", "round", -3, "which is not between 0 and"),
        ("phases", "block", -(2**31), "which is not between 0 and"),
        ("phases", "step", -1, "which is not between 0 and"),
        ("losses", "step", 2**63 - 1, "which is not between 0 and"),
        ("blocks", "first_step", 2**60, "which is not between 0 and"),
        ("blocks", "steps", 0, "a block has at least one step"),
        ("blocks", "steps", 2**62, "which is not between 0 and"),
        ("blocks", "involuntary_switches", -1, "which is not between 0 and"),
        ("blocks", "foreign_processes", -1, "which is not between 0 and"),
        ("blocks", "host_seconds", float("nan"), "a block takes some time"),
        ("blocks", "sm_clock_hertz", float("inf"), "which is not between 0 and"),
        ("blocks", "steal_seconds", -0.5, "which is not between 0 and"),
        ("phases", "host_seconds", 1e300, "which is not between 0 and"),
    ],
)
def test_a_value_that_cannot_be_is_named_with_its_file_column_and_row(
    folder: Path, name: str, column: str, value: float, why: str
) -> None:
    def change(table: pd.DataFrame) -> pd.DataFrame:
        table.loc[5, column] = value
        return table.astype(COLUMNS[name])

    edit_table(folder, name, change)
    text = complaint(lambda: read(folder))
    assert str(folder / f"{name}.parquet") in text
    assert f"column '{column}' holds {np.array(value, COLUMNS[name][column])} in row 5, " in text
    assert why in text


def test_a_launch_is_looked_for_in_its_own_case(folder: Path) -> None:
    edit(folder, lambda content: set_in(content, ("cases", 1, "launches"), content["cases"][1]["launches"][:1]))
    text = complaint(lambda: read(folder))
    assert "column 'launch' holds 1 in row" in text
    assert "run.json has no such launch of its case" in text


def test_a_case_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    run, samples = make_run([Truth("eager"), Truth("tf32")], launches=1, rounds=1)
    write(tmp_path, replace(run, cases=(run.cases[0], replace(run.cases[1], loop="eager"))), samples)
    with pytest.raises(BadInput, match=r"run.cases\[1\] repeats 'eager' on 'resnet'"):
        read(tmp_path)


@pytest.mark.parametrize("column", ["host_seconds", "device_seconds"])
def test_a_block_that_took_less_than_any_clock_can_tell_is_refused(tmp_path: Path, column: str) -> None:
    run, samples = make_run([Truth("eager")], launches=1, rounds=1, device=True)
    samples.blocks.loc[0, column] = 5e-324
    write(tmp_path, run, samples)
    with pytest.raises(BadInput, match=f"column '{column}' holds 5e-324 in row 0, but a block takes some time"):
        read(tmp_path)
