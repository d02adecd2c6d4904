"""A trace's folder is beside the runs, and never one of them."""

from pathlib import Path

import pytest

from loopmark.bench.errors import BadInput
from loopmark.bench.records import store
from loopmark.bench.records.store import create_folder, run_folders
from loopmark.bench.records.trace import refuse_run_folder, write_trace
from tests.support.synthetic import Truth, make_run

STARTED = "2026-11-25T03:46:04.123456+00:00"


def complaint(folder: Path) -> str:
    with pytest.raises(BadInput) as caught:
        write_trace(folder, b"", "")
    return str(caught.value)


def test_a_folder_is_named_by_its_start_and_its_case_and_never_used_twice(tmp_path: Path) -> None:
    first, second = (create_folder(tmp_path / "cpu-abc123", "traces", STARTED, "-resnet-eager") for _ in range(2))

    assert first == tmp_path / "cpu-abc123" / "traces" / "20261125-034604-resnet-eager"
    assert second.name == "20261125-034604-resnet-eager-2"
    assert not any(first.iterdir())


def test_both_files_are_kept_and_replaced_by_those_of_another_trace(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "new"
    write_trace(folder, b"first", "phase\n")
    write_trace(folder, b"second", "phase,\udc80\n")

    assert (folder / "trace.json.gz").read_bytes() == b"second"
    assert (folder / "kernels.csv").read_text() == "phase,\\udc80\n"
    assert {path.name for path in folder.iterdir()} == {"trace.json.gz", "kernels.csv"}


def test_a_folder_that_cannot_be_written_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert f"cannot write to {tmp_path / 'file'}" in complaint(tmp_path / "file")
    assert "choose another --out" in complaint(tmp_path / "a\0b")


def test_the_folder_of_a_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(BadInput, match="holds a run, and profiled steps never mix with measured ones"):
        refuse_run_folder(tmp_path)
    refuse_run_folder(tmp_path / "elsewhere")


def test_no_trace_is_taken_for_a_run(tmp_path: Path) -> None:
    run, samples = make_run([Truth("eager"), Truth("eager", repeat=True)])
    folder = create_folder(tmp_path, run.machine.name, run.started)
    store.write(folder, run, samples)
    traced = create_folder(tmp_path / run.machine.name, "traces", STARTED, "-resnet-eager")
    write_trace(traced, b"", "")

    assert run_folders(tmp_path, lambda text: pytest.fail(text)) == [folder]
    with pytest.raises(BadInput, match=r"has no run\.json"):
        store.read(traced)
    with pytest.raises(BadInput, match="holds no run"):
        run_folders(traced.parent, lambda text: pytest.fail(text))
