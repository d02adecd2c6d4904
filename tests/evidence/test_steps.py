"""The steps: with a time limit, alone or together, and packed."""

import json
import sys
import tarfile
import time
from pathlib import Path

import pytest

from tests.evidence import __main__ as evidence


def test_a_command_that_takes_too_long_is_ended_with_all_it_started(tmp_path: Path) -> None:
    child = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']).wait()"
    begun = time.monotonic()
    assert evidence.run([sys.executable, "-c", child], tmp_path / "log", 3.0) is None
    assert time.monotonic() - begun < 3.0 + evidence.GRACE_SECONDS
    assert "KeyboardInterrupt" in (tmp_path / "log").read_text()


@pytest.mark.parametrize("status", [0, 3])
def test_a_commands_status_and_output_are_kept(tmp_path: Path, status: int) -> None:
    assert evidence.run([sys.executable, "-c", f"print('said'); exit({status})"], tmp_path / "log", 60.0) == status
    assert (tmp_path / "log").read_text() == "said\n"


@pytest.mark.parametrize("step", [1, 2, 3])
def test_each_step_runs_alone_and_adds_to_the_summary(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str], step: int
) -> None:
    limits = []

    def instead(command: list[str], log: Path, seconds: float) -> int:
        limits.append(seconds)
        log.write_text("log")
        return 0

    monkeypatch.setattr(evidence, "run", instead)
    old = tmp_path / f"step-{step}-results" / "machine" / "run.json"
    old.parent.mkdir(parents=True)
    old.write_text("of an earlier try")
    evidence.main(["--evidence", str(tmp_path), "--step", str(step), "--device", "cpu"])

    assert not old.exists()
    kept = json.loads((tmp_path / f"step-{step}.json").read_text())
    assert len(kept) == len(limits) == len(evidence.commands(step, tmp_path, "cpu"))
    assert max(limits) <= evidence.STEP_SECONDS
    assert [path.name for path in tmp_path.glob("step-*.json")] == [f"step-{step}.json"]
    assert "| not tried |" in capsys.readouterr().out
    with tarfile.open(tmp_path / "evidence.tar.gz") as archive:
        assert {"summary.md", f"step-{step}.json", f"step-{step}-0.txt"} <= set(archive.getnames())


def test_the_largest_tables_stay_behind_where_the_archive_would_be_too_large(tmp_path: Path) -> None:
    (tmp_path / "large.parquet").write_bytes(bytes(range(256)) * 400)
    (tmp_path / "small.parquet").write_bytes(b"few")
    archive = evidence.pack(tmp_path, most_bytes=1_500)
    with tarfile.open(archive) as packed:
        assert set(packed.getnames()) == {"small.parquet", "summary.md"}
    assert "large.parquet is left out" in (tmp_path / "summary.md").read_text()


def test_only_what_an_earlier_try_of_the_step_left_is_removed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(evidence, "run", lambda *_: 0)
    kept = [tmp_path / "step-10-notes.txt", tmp_path / "step-1b" / "mine.txt", tmp_path / "elsewhere" / "mine.txt"]
    for file in kept:
        file.parent.mkdir(exist_ok=True)
        file.write_text("mine")
    (tmp_path / "step-1-results").symlink_to(tmp_path / "elsewhere")
    evidence.carry_out(1, tmp_path, "cpu")
    assert all(file.exists() for file in kept)
    assert not (tmp_path / "step-1-results").exists()


def test_ctrl_c_still_leaves_a_summary_and_an_archive(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def interrupted(*_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(evidence, "run", interrupted)
    evidence.main(["--evidence", str(tmp_path), "--step", "3", "--device", "cpu"])
    assert (tmp_path / "evidence.tar.gz").exists()


@pytest.mark.parametrize("name", ["a$HOME", "file", "full"])
def test_a_place_that_cannot_hold_it_is_refused_before_anything_runs(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "full" / "evidence.tar.gz").mkdir(parents=True)
    with pytest.raises(SystemExit) as end:
        evidence.main(["--evidence", str(tmp_path / name), "--step", "1"])
    assert end.value.code == 2
