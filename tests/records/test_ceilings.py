"""Ceilings on disk: written ceilings are read back, and damaged ones give an error of one line."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from loopmark.bench.errors import BadInput
from loopmark.bench.records.ceilings import (
    Ceiling,
    Ceilings,
    LeftOut,
    Tried,
    ceilings_path,
    read_ceilings,
)
from loopmark.bench.records.files import write_record
from loopmark.bench.records.store import run_folders
from tests.support.ceilings import COPY, PRODUCT, make_ceilings


def test_what_was_written_is_read(tmp_path: Path) -> None:
    ceilings = make_ceilings()
    path = ceilings_path(tmp_path / "machine", "cpu", 2)
    write_record(path, ceilings)
    assert read_ceilings(path) == ceilings


def test_each_device_and_number_of_threads_has_a_file_of_its_own(tmp_path: Path) -> None:
    places = {ceilings_path(tmp_path, device, threads) for device in ("cpu", "cuda:0", "cuda:1") for threads in (1, 2)}
    assert len(places) == 6
    assert all(":" not in place.name for place in places)


def test_a_ceiling_is_found_by_its_dtype() -> None:
    half = replace(PRODUCT, dtype="bfloat16", value=9e9, high=10e9)
    ceilings = make_ceilings(ceilings=(PRODUCT, half, COPY))
    assert ceilings.flops_per_second("bfloat16") is half
    assert ceilings.flops_per_second("float32") is PRODUCT
    assert ceilings.flops_per_second("tf32") is None
    assert ceilings.bytes_per_second() is COPY
    assert make_ceilings(ceilings=()).bytes_per_second() is None


def test_no_file_is_no_ceilings(tmp_path: Path) -> None:
    assert read_ceilings(tmp_path / "ceilings-cpu-2threads.json") is None


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (("ceilings", 0, "value"), -1.0, "should be positive"),
        (("ceilings", 0, "value"), 1e99, "lie in its interval"),
        (("ceilings", 0, "low"), 0.0, "should be positive"),
        (("ceilings", 0, "value"), "fast", "should be a finite number"),
        (("ceilings", 0, "value"), float("nan"), "should be a finite number"),
        (("ceilings", 0, "kind"), "magic", "should be one of"),
        (("ceilings", 0, "best_size"), 0, "should have a size"),
        (("ceilings", 0, "samples"), True, "should be a int"),
        (("machine",), None, "should be an object"),
        (("ceilings_version",), 99, "upgrade it"),
        (("ceilings_version",), "1", "no ceilings_version"),
        (("ceilings_version",), True, "no ceilings_version"),
    ],
)
def test_damage_is_told_in_one_line(tmp_path: Path, place: tuple[str | int, ...], value: object, said: str) -> None:
    path = tmp_path / "ceilings-cpu-2threads.json"
    write_record(path, make_ceilings())
    content = json.loads(path.read_text())
    inner = content
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    path.write_text(json.dumps(content))
    with pytest.raises(BadInput, match=said) as caught:
        read_ceilings(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b'{"format_version": 1}'])
def test_what_is_no_record_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "ceilings-cpu-2threads.json"
    path.write_bytes(content)
    with pytest.raises(BadInput):
        read_ceilings(path)


def test_a_folder_in_its_place_is_told(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot read"):
        read_ceilings(tmp_path)


def test_a_file_in_the_place_of_a_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "machine").write_text("")
    with pytest.raises(BadInput, match="choose another --out"):
        write_record(ceilings_path(tmp_path / "machine", "cpu", 2), make_ceilings())


def test_ceilings_are_never_taken_for_a_run(tmp_path: Path) -> None:
    write_record(ceilings_path(tmp_path / "machine", "cpu", 2), make_ceilings())
    with pytest.raises(BadInput, match="holds no run"):
        run_folders(tmp_path, lambda warning: pytest.fail(warning))


def test_a_later_field_that_is_not_known_is_passed_over_and_every_sample_is_kept(tmp_path: Path) -> None:
    tried = (Tried(256, (1e9, 2e9)), Tried(512, (3e9,)))
    ceilings = make_ceilings(
        ceilings=(replace(PRODUCT, tried=tried),), left_out=(LeftOut("copy", None, "no \x1b[31mmemory"),)
    )
    path = tmp_path / "ceilings-cpu-2threads.json"
    write_record(path, ceilings)
    path.write_text(json.dumps({**json.loads(path.read_text()), "later": 1}))
    read = read_ceilings(path)
    assert isinstance(read, Ceilings)
    assert isinstance(read.ceilings[0], Ceiling)
    assert read.ceilings[0].tried == tried
    assert read.left_out == ceilings.left_out
