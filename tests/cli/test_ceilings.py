"""``loopmark ceilings`` on the command line, and its record beside the runs of a machine."""

import json
import os
from pathlib import Path

import pytest

from loopmark.bench.measure.ceilings import survey as measuring
from loopmark.bench.measure.ceilings.survey import FoundCeilings
from loopmark.bench.measure.pool import CaseEnded
from loopmark.bench.records.ceilings import LeftOut, ceilings_path, read_ceilings
from loopmark.bench.records.files import write_record
from loopmark.bench.records.store import write
from tests.support import synthetic
from tests.support.ceilings import COPY, make_ceilings
from tests.support.command import Here


def found_instead(monkeypatch: pytest.MonkeyPatch, found: FoundCeilings | Exception) -> None:
    """Let the command return ``found`` without measuring."""

    def find(*_: object) -> FoundCeilings:
        if isinstance(found, Exception):
            raise found
        return found

    monkeypatch.setattr(measuring, "find_ceilings", find)


def test_it_prints_and_keeps_what_it_measured(tmp_path: Path, here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    found_instead(monkeypatch, FoundCeilings((COPY,), (LeftOut("host to device", None, "not applicable"),)))
    done = here("ceilings", "--device", "cpu", "--threads", 1, "--out", tmp_path, "--json")

    assert done.returncode == 0, done.stderr
    (path,) = tmp_path.rglob("*.json")
    assert path.name == "ceilings-cpu-1threads.json"
    assert f"Kept in {path}" in done.stderr
    kept, told = read_ceilings(path), json.loads(done.stdout)
    assert kept is not None
    assert path.parent.name == kept.machine.name
    assert kept.environment.threads == 1
    assert len(kept.environment.cores) <= 1
    assert told.pop("remarks") is not None
    assert told == json.loads(path.read_text())
    assert [one for one in kept.left_out if one.kind == "host to device"]


def test_the_table_is_for_people(tmp_path: Path, here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    found_instead(monkeypatch, FoundCeilings((COPY,), (LeftOut("launch", None, "there are none", "device"),)))
    done = here("ceilings", "--out", tmp_path, "--device", "cpu")
    assert done.returncode == 0, done.stderr
    assert "20.0 GB/s [19.0, 21.0]" in done.stdout
    assert "launch (device) left out: there are none" in done.stdout


def test_where_nothing_could_be_measured_the_status_is_1_the_reasons_are_told_and_nothing_is_kept(
    tmp_path: Path, here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    found_instead(monkeypatch, FoundCeilings((), (LeftOut("copy", None, "no room"),)))
    done = here("ceilings", "--out", tmp_path, "--device", "cpu")
    assert done.returncode == 1
    assert "copy left out: no room" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_process_that_dies_is_told_in_one_line(tmp_path: Path, here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    found_instead(monkeypatch, CaseEnded("failed", "the process was killed by SIGKILL (signal 9)"))
    done = here("ceilings", "--out", tmp_path, "--device", "cpu")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.splitlines() == ["loopmark: cpu failed: the process was killed by SIGKILL (signal 9)"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--budget", "0"), "--budget 0 makes no sense"),
        (("--budget", "-3"), "--budget -3 makes no sense"),
        (("--budget", "nan"), "--budget nan makes no sense"),
        (("--budget", "inf"), "--budget inf makes no sense"),
        (("--budget", "1e9"), "--budget 1e+09 makes no sense"),
        (("--budget", "soon"), "valid"),
        (("--threads", "0"), "--threads 0 does not fit"),
        (("--threads", "100000"), "--threads 100000 does not fit"),
        (("--device", "abacus"), "no device 'abacus'"),
        (("--device", "meta"), "shows no meta device"),
        (("--seed", "-1"), "--seed -1 makes no sense"),
        (("--limit", "0"), "--limit"),
        (("--out", __file__), f"cannot write to {__file__}"),
        (("resnet",), "resnet"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(here: Here, arguments: tuple[str, ...], said: str) -> None:
    done = here("ceilings", *arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert said in done.stderr


def test_what_stands_in_the_way_of_the_record_is_told(
    tmp_path: Path, here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    found_instead(monkeypatch, FoundCeilings((COPY,), ()))
    here("ceilings", "--out", tmp_path, "--device", "cpu", "--threads", 1)
    (path,) = tmp_path.rglob("*.json")
    path.unlink()
    path.mkdir()
    found_instead(monkeypatch, AssertionError("measured for nothing"))
    done = here("ceilings", "--out", tmp_path, "--device", "cpu", "--threads", 1)
    assert done.returncode == 2
    assert "exists and is not a file" in done.stderr
    assert os.listdir(path) == []  # noqa: PTH208 - it is empty


@pytest.mark.parametrize("command", [("report",), ("check",), ("history",)])
def test_ceilings_alone_are_never_taken_for_a_run(tmp_path: Path, here: Here, command: tuple[str, ...]) -> None:
    write_record(ceilings_path(tmp_path, "cpu", 2), make_ceilings())
    extra = ("--baseline", tmp_path) if command == ("check",) else ()
    done = here(*command, tmp_path, *extra)
    assert done.returncode == 2
    assert "has no run.json" in done.stderr or "holds no run" in done.stderr


def test_history_reads_the_runs_beside_them_and_no_more(tmp_path: Path, here: Here) -> None:
    machine = tmp_path / synthetic.machine().name
    write_record(ceilings_path(machine, "cpu", 2), make_ceilings())
    run, samples = synthetic.make_run([synthetic.Truth("eager"), synthetic.Truth("compile")])
    (machine / run.name).mkdir()
    write(machine / run.name, run, samples)
    done = here("history", tmp_path, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["runs"] == 1
    assert json.loads(done.stdout)["warnings"] == []
