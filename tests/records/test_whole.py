"""A run and what lies beside it: all of it is of that run, or is refused."""

from dataclasses import replace
from pathlib import Path

import pytest

from bench.errors import BadInput
from bench.records import store
from bench.records.ceilings import CEILINGS_FILE
from bench.records.files import as_json, replace_file
from bench.records.training_store import TRAINING_FILE, write_training
from bench.records.whole import read_whole
from tests.synthetic import Truth, ceilings, make_run
from tests.trainings import Taught, make_training


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    store.write(tmp_path, *make_run([Truth("eager"), Truth("tf32", 0.005)], launches=1, rounds=1))
    return tmp_path


def test_a_run_alone_is_whole(folder: Path) -> None:
    whole = read_whole(folder)
    assert (len(whole.run.cases), whole.trained, whole.ceilings) == (2, None, None)


def test_what_lies_beside_a_run_comes_with_it(folder: Path) -> None:
    training, samples = make_training([Taught("eager"), Taught("tf32")])
    write_training(folder, training, samples)
    replace_file(folder / CEILINGS_FILE, as_json(ceilings()))
    whole = read_whole(folder)
    assert whole.trained is not None
    assert whole.trained[0] == training
    assert whole.ceilings == ceilings()


@pytest.mark.parametrize("part", ["trials", "proofs"])
@pytest.mark.parametrize("name", ["workload", "loop"])
def test_a_training_of_what_the_run_has_not_is_another_run_s(folder: Path, part: str, name: str) -> None:
    training, samples = make_training([Taught("eager"), Taught("tf32")])
    first, *others = getattr(training, part)
    strange = replace(training, **{part: (replace(first, **{name: "no\nsuch"}), *others)})
    write_training(folder, strange, samples)
    with pytest.raises(BadInput, match=rf"{TRAINING_FILE} is of another run: .*such.*; remove it") as refusal:
        read_whole(folder)
    assert "\n" not in str(refusal.value)


def test_ceilings_of_another_device_are_no_part_of_it(folder: Path) -> None:
    replace_file(folder / CEILINGS_FILE, as_json(replace(ceilings(), device="cuda:3")))
    with pytest.raises(BadInput, match=f"{CEILINGS_FILE} is of another device, machine or number of threads; remove"):
        read_whole(folder)
