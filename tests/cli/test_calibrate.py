"""``loopmark calibrate`` for real, as short as possible: it resumes a calibration and shows its results."""

import json
from pathlib import Path

import pytest

from tests.support.command import Done, Here

pytestmark = pytest.mark.usefixtures("brief_pairs")


def calibrate(elsewhere: Here, *arguments: str) -> Done:
    return elsewhere("calibrate", "--workload", "regression", "--threads", "1", *arguments)


def test_a_calibration_goes_on_where_it_was_and_shows_what_it_knows(elsewhere: Here, tmp_path: Path) -> None:
    first = calibrate(elsewhere, "--trials", "0.01", "--budget", "0.2", "--device", "cpu", "--json")
    assert first.returncode == 0, first.stderr
    (path,) = tmp_path.glob("results/*/calibration-regression-eager.json")
    trials = json.loads(path.read_text())["trials"]
    assert sorted(trial["effect"] for trial in trials) == [0.0, 0.005, 0.01, 0.02, 0.05]
    assert [row["effect"] for row in json.loads(first.stdout)["rows"]] == [0.0, 0.005, 0.01, 0.02, 0.05]
    unchanged = next(trial for trial in trials if trial["effect"] == 0)
    assert unchanged["stored_mean_seconds"] > 0
    assert unchanged["later_mean_seconds"] > 0

    again = calibrate(elsewhere, "--trials", "0.01", "--budget", "0.2", "--device", "cpu")
    assert again.returncode == 0, again.stderr
    assert json.loads(path.read_text())["trials"] == trials  # there was nothing left to do

    other = calibrate(elsewhere, "--trials", "0.01", "--budget", "0.3", "--device", "cpu")
    assert other.returncode == 2
    assert "budget seconds 0.2 → 0.3" in other.stderr


def test_there_is_nothing_to_show_before_a_first_trial(elsewhere: Here, tmp_path: Path) -> None:
    shown = calibrate(elsewhere, "--show", "--device", "cpu")
    assert shown.returncode == 2
    assert "does not exist yet" in shown.stderr
    assert not (tmp_path / "results").exists()
