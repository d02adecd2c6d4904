import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from loopmark.bench.errors import BadInput
from loopmark.bench.records.training import COLUMNS, TRAINING_FILE, Target, read_training, write_training
from tests.support.trainings import Taught, make_training

TAUGHT = [Taught("eager"), Taught("compile", error=0.3), Taught("x", status="failed", reason="\udc80 | <b>")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_training(tmp_path, *make_training(TAUGHT))
    return tmp_path


def test_a_training_can_be_read_back_as_it_was(folder: Path) -> None:
    training, samples = make_training(TAUGHT)
    found = read_training(folder)
    assert found is not None
    assert found[0] == training
    for name in COLUMNS:
        assert getattr(found[1], name).equals(getattr(samples, name))


def test_a_folder_without_one_holds_none(tmp_path: Path) -> None:
    assert read_training(tmp_path) is None
    assert read_training(tmp_path / "nowhere") is None


def test_nothing_half_written_stays(folder: Path) -> None:
    assert not list(folder.glob("*.partial"))


@pytest.mark.parametrize("name", COLUMNS)
def test_a_damaged_table_is_named(folder: Path, name: str) -> None:
    path = folder / f"{name}.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(BadInput, match=f"{name}.parquet"):
        read_training(folder)
    path.unlink()
    with pytest.raises(BadInput, match=f"lacks {name}.parquet"):
        read_training(folder)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda content: {**content, "training_version": 99}, "written in format 99; this Loopmark reads up to 1"),
        (lambda content: {"x": 1}, "it has no training_version"),
        (lambda content: [], "it has no training_version"),
        (lambda content: {**content, "trials": 3}, "training.trials should be a list"),
        (lambda content: {**content, "targets": {"resnet": {"metric": 1}}}, "training.targets.resnet.metric"),
        (lambda content: {**content, "proofs": []}, "names a proof that does not exist"),
    ],
)
def test_what_cannot_be_is_refused_with_one_line_that_names_it(folder: Path, change, says: str) -> None:
    path = folder / TRAINING_FILE
    path.write_text(json.dumps(change(json.loads(path.read_text(encoding="utf-8")))), encoding="utf-8")
    with pytest.raises(BadInput) as caught:
        read_training(folder)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_json_that_is_none_is_refused(folder: Path) -> None:
    (folder / TRAINING_FILE).write_text('{"training_version": 1,')
    with pytest.raises(BadInput, match=r"cannot read .*training\.json"):
        read_training(folder)


def test_a_negative_time_is_refused(folder: Path) -> None:
    path = folder / "evaluations.parquet"
    frame = pd.read_parquet(path)
    frame.assign(seconds=-1.0).to_parquet(path, index=False)
    with pytest.raises(BadInput, match="which is not between 0 and"):
        read_training(folder)


@pytest.mark.parametrize(
    ("target", "quality", "met"),
    [
        (Target("accuracy", 0.9, True), 0.9, True),
        (Target("accuracy", 0.9, True), 0.89, False),
        (Target("bits per byte", 4.0, False), 4.0, True),
        (Target("bits per byte", 4.0, False), 4.1, False),
        (Target("accuracy", 0.9, True), float("nan"), False),
        (Target("bits per byte", 4.0, False), float("nan"), False),
    ],
)
def test_a_target_is_met_from_its_better_side_and_never_by_nan(target: Target, quality: float, met: bool) -> None:
    assert target.is_met(quality) == met


def test_gain_is_positive_for_the_better() -> None:
    target = Target("accuracy", 0.9, True)
    assert target.gain(0.5, 0.6) > 0
    assert replace(target, higher_is_better=False).gain(0.5, 0.6) < 0
