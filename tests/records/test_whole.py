"""A run and the files beside it: all of them belong to that run, or are refused."""

from dataclasses import replace
from pathlib import Path

import pytest

from loopmark.bench.errors import BadInput
from loopmark.bench.records import store
from loopmark.bench.records.ceilings import CEILINGS_FILE
from loopmark.bench.records.files import as_json, replace_file
from loopmark.bench.records.samples import TABLES
from loopmark.bench.records.store import read_whole, salvage
from loopmark.bench.records.training import TRAINING_FILE, write_training
from tests.support.synthetic import Truth, ceilings, make_run
from tests.support.trainings import Taught, make_training


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
    with pytest.raises(BadInput, match=rf"{TRAINING_FILE} belongs to another run: .*such.*; remove it") as refusal:
        read_whole(folder)
    assert "\n" not in str(refusal.value)


def test_ceilings_of_another_device_are_no_part_of_it(folder: Path) -> None:
    replace_file(folder / CEILINGS_FILE, as_json(replace(ceilings(), device="cuda:3")))
    with pytest.raises(
        BadInput, match=f"{CEILINGS_FILE} belongs to another device, machine or number of threads; remove"
    ):
        read_whole(folder)


def everything(folder: Path) -> None:
    training, samples = make_training([Taught("eager"), Taught("tf32")])
    write_training(folder, training, samples)
    replace_file(folder / CEILINGS_FILE, as_json(ceilings()))


def test_where_nothing_is_damaged_all_is_salvaged_without_a_word(folder: Path) -> None:
    everything(folder)
    whole, found = read_whole(folder), salvage(folder)
    assert (found.run, found.ceilings) == (whole.run, whole.ceilings)
    assert found.trained is not None
    assert all(getattr(found.samples, name).equals(getattr(whole.samples, name)) for name in TABLES)


@pytest.mark.parametrize(
    ("file", "unknown"),
    [
        ("phases.parquet", "how long each phase takes"),
        ("warmup.parquet", "how each loop warmed up"),
        (TRAINING_FILE, "how the loops train"),
        ("evaluations.parquet", "how the loops train"),
        (CEILINGS_FILE, "what the device can do"),
    ],
)
def test_what_is_damaged_beside_what_the_verdicts_rest_on_is_a_warning_and_the_rest_is_there(
    folder: Path, file: str, unknown: str
) -> None:
    everything(folder)
    content = (folder / file).read_bytes()
    (folder / file).write_bytes(content[: len(content) // 2])
    found = salvage(folder)
    (warning,) = found.run.warnings
    assert warning.startswith(f"{unknown} is not known: ")
    assert file in warning
    assert len(found.samples.blocks)


@pytest.mark.parametrize("file", ["run.json", "blocks.parquet", "losses.parquet"])
def test_what_the_verdicts_rest_on_cannot_be_spared(folder: Path, file: str) -> None:
    content = (folder / file).read_bytes()
    (folder / file).write_bytes(content[: len(content) // 2])
    with pytest.raises(BadInput, match=file):
        salvage(folder)


def test_a_training_of_a_loop_that_the_run_has_only_once_more_is_another_run_s(folder: Path) -> None:
    training, samples = make_training([Taught("eager"), Taught("tf32")])
    write_training(folder, training, samples)
    run = store.read_run(folder)
    cases = tuple(replace(case, repeat=True) if case.loop == "tf32" else case for case in run.cases)
    replace_file(folder / store.RUN_FILE, as_json(replace(run, cases=cases)))
    with pytest.raises(BadInput, match="'tf32' on 'resnet' is not in this one"):
        read_whole(folder)
