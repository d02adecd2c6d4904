import subprocess
import sys
from pathlib import Path

import pytest

from bench.measure.batches import room
from bench.measure.batches.room import cgroup_rooms, confine, forecast_bytes, safe_bytes

GIB = 2**30


def group(folder: Path, limit: object, used: int, idle: int, names: tuple[str, str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / names[0]).write_text(f"{limit}\n")
    (folder / names[1]).write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 12\n{names[2]} {idle}\n")


def test_nothing_is_forecast_from_nothing() -> None:
    assert forecast_bytes({}, 64) is None


def test_one_peak_alone_is_scaled_whole() -> None:
    assert forecast_bytes({64: 100}, 128) == 200
    assert forecast_bytes({64: 100}, 32) == 100  # never less than what was seen


def test_two_peaks_make_a_line_that_knows_what_does_not_grow() -> None:
    peaks = {64: 400 + 64, 128: 400 + 128, 1: 900}

    assert forecast_bytes(peaks, 1024) == 400 + 1024


def test_memory_that_fell_is_not_forecast_to_fall_further() -> None:
    assert forecast_bytes({64: 500, 128: 400}, 256) == 400


def test_every_group_around_the_process_counts_and_one_without_a_limit_does_not(tmp_path: Path) -> None:
    group(tmp_path, "max", 1, 0, room._V2)
    group(tmp_path / "outer", 10 * GIB, 8 * GIB, 1 * GIB, room._V2)
    group(tmp_path / "outer" / "inner", 9 * GIB, 1 * GIB, 0, room._V2)

    assert sorted(cgroup_rooms(tmp_path, "0::/outer/inner\n")) == [3 * GIB, 8 * GIB]


def test_the_groups_of_the_first_version_are_read_too(tmp_path: Path) -> None:
    group(tmp_path / "memory" / "job", 4 * GIB, 5 * GIB, 0, room._V1)

    assert list(cgroup_rooms(tmp_path, "8:pids:/job\n4:memory:/job\n0::/\n")) == [0]


def test_a_container_that_does_not_see_its_own_folder_is_held_to_the_one_above(tmp_path: Path) -> None:
    group(tmp_path, 2 * GIB, GIB, 0, room._V2)

    assert list(cgroup_rooms(tmp_path, "0::/docker/abc\n")) == [GIB]


def test_no_groups_are_no_limit(tmp_path: Path) -> None:
    assert list(cgroup_rooms(tmp_path, "0::/\nnonsense\n\n")) == []


def test_what_is_safe_is_less_than_what_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "cgroup_rooms", lambda root, membership: iter([1000]))

    assert safe_bytes() == 800


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can limit another process")
def test_a_confined_process_cannot_allocate_more_and_is_the_first_to_be_ended() -> None:
    code = "input()\ntry:\n bytearray(2**30)\n print('took it')\nexcept MemoryError:\n print('refused')"
    with subprocess.Popen([sys.executable, "-c", code], stdin=-1, stdout=-1, text=True) as process:
        confine(process.pid, 2**28)
        first = Path(f"/proc/{process.pid}/oom_score_adj").read_text().strip()
        said, _ = process.communicate("\n")

    assert said.strip() == "refused"
    assert first == "1000"


def test_a_process_that_is_gone_is_confined_without_a_word() -> None:
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    confine(done.pid, 2**28)
