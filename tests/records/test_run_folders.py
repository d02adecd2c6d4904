"""A run's own folder, named by its machine and its start, under a writable root."""

import errno
import os
import subprocess
from pathlib import Path

import pytest

from loopmark.bench.records.store import create_folder
from tests.records.complaints import complaint

STARTED = "2026-03-04T05:06:07.891+00:00"


def test_a_runs_folder_is_named_by_its_machine_and_its_start(tmp_path: Path) -> None:
    folder = create_folder(tmp_path / "deep" / "results", "cpu-abc123", STARTED)
    assert folder == tmp_path / "deep" / "results" / "cpu-abc123" / "20260304-050607"
    assert folder.is_dir()
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("root", ["new", "deep/new", "there"])
def test_git_ignores_runs_wherever_they_are_written(tmp_path: Path, root: str) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "mine.txt").touch()
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    for machine in ("m", "n"):
        (create_folder(tmp_path / root, machine, STARTED) / "run.json").touch()
    listed = ["git", "status", "--short", "--untracked-files=all"]
    status = subprocess.run(listed, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert status.stdout.split() == ["??", "there/mine.txt"]


def test_two_runs_of_one_second_get_folders_of_their_own(tmp_path: Path) -> None:
    names = [create_folder(tmp_path, "m", STARTED).name for _ in range(3)]
    assert names == ["20260304-050607", "20260304-050607-2", "20260304-050607-3"]


def test_names_sort_by_start(tmp_path: Path) -> None:
    starts = ["2025-12-31T23:59:59+00:00", "2026-01-01T00:00:00+00:00", "2026-10-01T00:00:00+00:00"]
    names = [create_folder(tmp_path, "m", started).name for started in starts]
    assert names == sorted(names)


def test_an_older_run_is_never_written_over(tmp_path: Path) -> None:
    first = create_folder(tmp_path, "m", STARTED)
    (first / "run.json").write_text("kept")
    assert create_folder(tmp_path, "m", STARTED) != first
    assert (first / "run.json").read_text() == "kept"


def test_a_file_in_place_of_the_root_is_named(tmp_path: Path) -> None:
    root = tmp_path / "file"
    root.write_text("")
    text = complaint(lambda: create_folder(root, "m", STARTED))
    assert text.startswith(f"cannot write to {root}")
    assert text.endswith("choose another --out")


def test_a_file_in_place_of_the_machines_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "m").write_text("")
    assert f"cannot write to {tmp_path}" in complaint(lambda: create_folder(tmp_path, "m", STARTED))


def test_a_file_in_place_of_the_runs_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "20260304-050607").write_text("")
    assert "exists and is not a folder" in complaint(lambda: create_folder(tmp_path, "m", STARTED))


def test_a_link_to_nowhere_is_named(tmp_path: Path) -> None:
    (tmp_path / "root").symlink_to(tmp_path / "nowhere")
    assert str(tmp_path / "root") in complaint(lambda: create_folder(tmp_path / "root", "m", STARTED))


@pytest.mark.parametrize("name", ["x" * 300, "a\0b"])
def test_a_root_that_no_folder_can_be_called_is_refused(tmp_path: Path, name: str) -> None:
    assert "cannot write to" in complaint(lambda: create_folder(tmp_path / name, "m", STARTED))


@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS, errno.ENOSPC])
def test_a_root_that_may_not_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(Path, "mkdir", refuse)
    text = complaint(lambda: create_folder(tmp_path, "m", STARTED))
    assert str(tmp_path) in text
    assert os.strerror(code) in text


def test_a_thousandth_run_of_one_second_is_refused(tmp_path: Path) -> None:
    for suffix in ("", *(f"-{n}" for n in range(2, 1000))):
        (tmp_path / "m" / f"20260304-050607{suffix}").mkdir(parents=True)
    assert "holds 999 runs" in complaint(lambda: create_folder(tmp_path, "m", STARTED))
