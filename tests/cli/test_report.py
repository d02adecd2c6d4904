"""``loopmark report`` on the command line, on folders with extra or missing files."""

from pathlib import Path

import pytest

from loopmark.bench.records import store
from loopmark.bench.records.batch_sizes import BATCH_SIZES_FILE
from loopmark.bench.records.files import write_record
from loopmark.bench.records.training import write_training
from tests.support.command import Here
from tests.support.searches import attempt, case, search
from tests.support.synthetic import Truth, make_run
from tests.support.trainings import Taught, make_training


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "run"
    place.mkdir()
    store.write(place, *make_run([Truth("eager"), Truth("tf32", 0.008)], launches=2, rounds=2))
    write_training(place, *make_training([Taught("eager"), Taught("tf32")]))
    return place


def test_a_run_is_drawn_whatever_search_lies_beside_it(here: Here, folder: Path) -> None:
    write_record(folder / BATCH_SIZES_FILE, search(case(attempt(64))))
    done = here("report", folder)
    assert (done.returncode, (folder / "report.html").exists()) == (0, True)


def test_a_link_to_no_run_is_no_training_alone(here: Here, folder: Path) -> None:
    (folder / store.RUN_FILE).unlink()
    (folder / store.RUN_FILE).symlink_to("nowhere")
    done = here("report", folder)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert not (folder / "report.html").exists()


def test_what_is_left_of_a_damaged_run_is_drawn_and_what_is_not_known_is_told(here: Here, folder: Path) -> None:
    damaged = folder / "phases.parquet"
    damaged.write_bytes(damaged.read_bytes()[:100])
    done = here("report", folder)
    assert done.returncode == 0
    assert f"warning: how long each phase takes is not known: cannot read {damaged}" in " ".join(done.stdout.split())
    assert "how long each phase takes is not known" in (folder / "report.html").read_text(encoding="utf-8")
