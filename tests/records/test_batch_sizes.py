import json
from pathlib import Path

import pytest

from loopmark.bench.errors import BadInput
from loopmark.bench.records import store
from loopmark.bench.records.batch_sizes import BATCH_SIZES_FILE, read_batch_sizes
from loopmark.bench.records.files import write_record
from loopmark.bench.records.store import run_folders
from tests.support.searches import attempt, case, refused, search

SEARCH = search(case(attempt(64), refused(128), again=(attempt(64),)), case(loop="\udc80 | <b>", status="failed"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_record(tmp_path / BATCH_SIZES_FILE, SEARCH)
    return tmp_path


def test_a_search_can_be_read_back_as_it_was(folder: Path) -> None:
    assert read_batch_sizes(folder) == SEARCH
    assert not list(folder.glob("*.partial"))


def test_a_folder_without_one_holds_none(tmp_path: Path) -> None:
    assert read_batch_sizes(tmp_path) is None
    assert read_batch_sizes(tmp_path / "nowhere") is None


def test_a_search_is_never_mistaken_for_a_run(folder: Path) -> None:
    with pytest.raises(BadInput, match=r"has no run\.json"):
        store.read(folder)
    with pytest.raises(BadInput, match="holds no run"):
        run_folders(folder, print)
    (folder / store.RUN_FILE).write_bytes((folder / BATCH_SIZES_FILE).read_bytes())
    with pytest.raises(BadInput, match="has no format_version"):
        store.read_run(folder)


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda content: content.update(batches_version=99), "upgrade it"),
        (lambda content: content.pop("batches_version"), "has no batches_version"),
        (lambda content: content["cases"][0].update(stop="weather"), "should be one of"),
        (lambda content: content["cases"][0]["attempts"][0].update(block_seconds=[]), "at least one row and one block"),
        (lambda content: content["cases"][0]["attempts"][0].update(batch_size=0), "at least one row"),
        (lambda content: content["cases"][0]["again"][0].update(block_seconds=[0.0]), "take some time"),
        (lambda content: content["cases"][0]["attempts"][0].update(block_seconds=[1e300]), r"between 0 and 1e\+09"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(folder: Path, damage, says: str) -> None:
    content = json.loads((folder / BATCH_SIZES_FILE).read_text())
    damage(content)
    (folder / BATCH_SIZES_FILE).write_text(json.dumps(content))

    with pytest.raises(BadInput, match=says) as refusal:
        read_batch_sizes(folder)
    assert "\n" not in str(refusal.value)


def test_half_a_file_is_refused(folder: Path) -> None:
    (folder / BATCH_SIZES_FILE).write_text('{"batches_version": 1, ')
    with pytest.raises(BadInput, match="cannot read"):
        read_batch_sizes(folder)
