"""``loopmark runs``, and the names of runs that stand for their folders."""

import json
from pathlib import Path

import pytest

from loopmark.bench.records import store
from loopmark.bench.records.training import write_training
from tests.support.command import Here
from tests.support.synthetic import Truth, make_run
from tests.support.trainings import Taught, make_training

NAMES = ("20260301-120000", "20260302-120000", "20260303-120000")


@pytest.fixture
def kept(elsewhere: Here) -> Here:
    """A working folder whose results hold three runs, each of another loop."""
    for name, loop in zip(NAMES, ("tf32", "amp_bf16", "compile"), strict=True):
        folder = Path("results/m") / name
        folder.mkdir(parents=True)
        store.write(folder, *make_run([Truth("eager"), Truth("eager", repeat=True), Truth(loop, 0.005)]))
    return elsewhere


def test_runs_are_listed_newest_first_with_their_names_and_conclusions(kept: Here) -> None:
    done = kept("runs", "--most", "2")
    headings = [line.split()[:2] for line in done.stdout.splitlines() if line.startswith("latest")]
    assert headings == [["latest", f"results/m/{NAMES[2]}"], ["latest~1", f"results/m/{NAMES[1]}"]]
    assert "resnet · eager, compile\n" in done.stdout
    assert "x faster than eager [" in done.stdout
    assert done.stdout.endswith("1 older; --most 3 lists all\n")


def test_the_list_as_json_has_every_run_in_words(kept: Here) -> None:
    listed = json.loads(kept("runs", "--json").stdout)
    assert [one["loops"][-1] for one in listed["runs"]] == ["compile", "amp_bf16", "tf32"]
    assert listed["older"] == 0


def test_a_damaged_run_is_named_with_its_fault(kept: Here) -> None:
    (Path("results/m") / NAMES[2] / "blocks.parquet").unlink()
    done = kept("runs")
    assert done.returncode == 0
    assert "cannot be read: " in done.stdout


@pytest.mark.parametrize(
    ("name", "number"),
    [("latest", 2), ("latest~2", 0), ("20260302", 1), (f"m/{NAMES[0]}", 0), (f"results/m/{NAMES[1]}", 1)],
)  # fmt: skip
def test_a_name_stands_for_a_run(kept: Here, name: str, number: int) -> None:
    done = kept("report", name)
    assert (Path("results/m") / NAMES[number] / "report.html").exists(), done.stderr


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("latest~3", "results holds 3 runs; there is no latest~3: see loopmark runs"),
        ("2026030", "2026030 begins the names of 3 runs (results/m/20260303-120000, "),
        ("yesterday", "yesterday is not a folder"),
    ],
)
def test_a_name_of_no_run_or_of_several_is_one_line(kept: Here, name: str, says: str) -> None:
    done = kept("check", "latest", "--baseline", name)
    assert done.returncode == 2
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_training_is_reported_by_its_name_too(kept: Here) -> None:
    folder = Path("results/m/20260304-120000")
    folder.mkdir()
    write_training(folder, *make_training([Taught("eager"), Taught("tf32")]))
    assert kept("report", "latest").returncode == 0
    assert (folder / "report.html").exists()


def test_a_renamed_run_keeps_its_age(kept: Here) -> None:
    (Path("results/m") / NAMES[2]).rename("results/m/baseline")
    assert [line.split()[1] for line in kept("runs").stdout.splitlines() if line.startswith("latest")] == [
        f"results/m/{NAMES[1]}", f"results/m/{NAMES[0]}", "results/m/baseline",
    ]  # fmt: skip


def test_several_names_stand_for_several_runs(kept: Here) -> None:
    assert "2 runs, the oldest first" in kept("compare", "latest", "latest~1").stdout


def test_without_runs_it_says_what_writes_one(elsewhere: Here) -> None:
    done = elsewhere("runs")
    assert done.returncode == 2
    assert "results is not a folder" in done.stderr
