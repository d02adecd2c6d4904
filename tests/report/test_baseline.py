"""A run whose baseline is another loop than eager: nothing that is shown of it says eager."""

import json
from dataclasses import replace
from pathlib import Path

from loopmark.bench.judge.training import summarise_training
from loopmark.bench.report.draw import as_json, draw, draw_training
from loopmark.bench.report.formats import FORMATS, export
from loopmark.bench.report.training_table import training_takeaway
from tests.support.synthetic import Truth, ceilings, make_run
from tests.support.trainings import Taught, make_training

NAME = "own|<b>:step"
TRUTHS = [Truth(NAME), Truth(NAME, repeat=True), Truth("amp_bf16", 0.005, compile_seconds=9.0), Truth("bad", 0.02)]
TAUGHT = [Taught(NAME), Taught("amp_bf16", error=0.01, bits=8), Taught("bad", error=0.3)]


def test_every_file_of_a_run_names_its_baseline_and_not_eager(tmp_path: Path) -> None:
    run, samples = make_run(TRUTHS, launches=3, rounds=4, baseline=NAME)
    trained = make_training(TAUGHT, baseline=NAME)
    summary = draw(tmp_path, run, samples, trained, ceilings())
    texts = {path.name: path.read_text() for path in tmp_path.iterdir() if path.is_file()}
    texts["json"] = json.dumps(as_json(summary))
    texts |= {name: export(name, summary, samples) for name in FORMATS}
    assert {name for name, text in texts.items() if "eager" in text.lower()} == set()
    assert f"faster than {NAME} [" in json.loads(texts["json"])["takeaway"]
    assert json.loads(texts["json"])["baseline"] == NAME
    assert "<b>" not in texts["report.html"]
    assert "own\\|&lt;b&gt;:step's seconds a step" in texts["report.md"]


def test_the_pages_of_a_training_name_its_baseline_and_not_eager(tmp_path: Path) -> None:
    draw_training(tmp_path, *make_training(TAUGHT, baseline=NAME))
    texts = [path.read_text() for path in tmp_path.iterdir() if path.is_file()]
    assert len(texts) == 3
    assert not any("eager" in text.lower() for text in texts)


def test_a_training_whose_baseline_failed_says_how_to_name_another() -> None:
    taught = [Taught("eager", status="failed", reason="no closure"), Taught("own:step")]
    training, samples = make_training(taught)
    training = replace(training, plan=replace(training.plan, loops=("eager", "own.py:step")))
    assert training_takeaway(summarise_training(training, samples)).startswith(
        "On resnet, eager cannot run it (no closure); name another loop to compare with: --baseline own.py:step, and"
    )
