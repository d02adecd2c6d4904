"""The judgement of each promise, from files with a known truth."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.evidence.promises import PEAKS, Promise, promises, summary

REFERENCE = next((Path(__file__).parents[2] / "results" / "reference").glob("*/*/run.json")).parent
PASSED = '<testcase name="test_{0}" />'
FAILED = '<testcase name="test_{0}"><failure message="no" /></testcase>'
SKIPPED = '<testcase name="test_{0}"><skipped message="needs a CUDA device; this machine has none" /></testcase>'


def found(folder: Path, text: str) -> Promise:
    (one,) = (promise for promise in promises(folder) if text in promise.text)
    return one


def a_run(folder: Path, device: str = "cuda:0", **changes: Any) -> Path:
    """The reference run, as if made on ``device``."""
    run = shutil.copytree(
        REFERENCE, folder / "step-2-results" / "machine" / "run", ignore=shutil.ignore_patterns("*.parquet")
    )
    content = json.loads((run / "run.json").read_text())
    content["plan"]["device"] = device
    (run / "run.json").write_text(json.dumps({**content, **changes}))
    return run


def a_calibration(folder: Path, *trials: tuple[float, str], budget: float = 60.0) -> None:
    (folder / "step-3-results" / "machine").mkdir(parents=True)
    content = {"device": "cuda:0", "budget_seconds": budget}
    content["trials"] = [{"effect": effect, "verdict": verdict} for effect, verdict in trials]
    (folder / "step-3-results" / "machine" / "calibration-a.json").write_text(json.dumps(content))


def step(folder: Path, seconds: float, status: int | None) -> None:
    command = {"command": "python -m loopmark run", "status": status, "seconds": seconds, "log": "step-2-0.txt"}
    (folder / "step-2.json").write_text(json.dumps([command]))


def test_nothing_is_claimed_of_an_empty_folder(tmp_path: Path) -> None:
    assert {promise.state for promise in promises(tmp_path)} == {"not tried"}


@pytest.mark.parametrize(
    ("cases", "state", "figure"),
    [
        ([PASSED, PASSED, SKIPPED], "holds", "2 passed, 1 skipped"),
        ([PASSED, FAILED], "fails", "1 of 2, the first is test_1"),
        ([SKIPPED], "not tried", "needs a CUDA device; this machine has none"),
        ([], "not tried", "no such test ran"),
    ],
)
def test_tests_that_were_skipped_are_no_proof(tmp_path: Path, cases: list[str], state: str, figure: str) -> None:
    listed = "".join(case.format(number) for number, case in enumerate(cases))
    (tmp_path / "step-1-tests.xml").write_text(f"<testsuites><testsuite>{listed}</testsuite></testsuites>")
    assert found(tmp_path, "short tests") == Promise("the short tests for CUDA pass", state, figure)  # type: ignore[arg-type]


@pytest.mark.parametrize("status", [None, 2, 3])
def test_tests_that_were_cut_short_fail(tmp_path: Path, status: int | None) -> None:
    (tmp_path / "step-1-tests.xml").write_text(f"<testsuites>{PASSED.format(1)}</testsuites>")
    command = {"command": f"python -m pytest --junitxml={tmp_path}/step-1-tests.xml", "status": status}
    (tmp_path / "step-1.json").write_text(json.dumps([{**command, "seconds": 540.0, "log": ""}]))
    assert found(tmp_path, "short tests").state == "fails"


def test_tests_that_were_ended_before_their_report_fail(tmp_path: Path) -> None:
    (tmp_path / "step-1-tests.xml").write_text("<testsuites>")
    assert found(tmp_path, "short tests").state == "fails"


@pytest.mark.parametrize(
    ("seconds", "status", "state"),
    [(500.0, 0, "holds"), (650.0, 0, "fails"), (540.0, None, "not tried"), (3.0, 2, "fails")],
)
def test_the_default_run_is_held_to_its_ten_minutes(
    tmp_path: Path, seconds: float, status: int | None, state: str
) -> None:
    a_run(tmp_path)
    step(tmp_path, seconds, status)
    assert found(tmp_path, "make bench").state == state


def test_a_run_on_a_cpu_says_nothing_of_a_gpu(tmp_path: Path) -> None:
    a_run(tmp_path, "cpu")
    step(tmp_path, 5.0, 0)
    untried = [found(tmp_path, text).state for text in ("make bench", "fork server", "MFU", "energy")]
    assert untried == ["not tried"] * 4
    assert found(tmp_path, "no case is lost").state == "holds"


def test_a_lost_case_and_an_unknown_figure_are_named(tmp_path: Path) -> None:
    run = a_run(tmp_path)
    content = json.loads((run / "run.json").read_text())
    content["cases"][0] |= {"status": "failed", "reason": "ran out of device memory"}
    (run / "run.json").write_text(json.dumps(content))

    lost = found(tmp_path, "no case is lost")
    assert (lost.state, "ran out of device memory" in lost.figure) == ("fails", True)
    assert found(tmp_path, "fork server").state == "fails"
    assert found(tmp_path, "MFU").state == "holds"
    assert found(tmp_path, "energy") == Promise(
        "energy is known for each measured case", "fails", found(tmp_path, "energy").figure
    )
    assert "resnet eager" in found(tmp_path, "energy").figure


@pytest.mark.parametrize(
    ("trials", "unchanged", "slowed"),
    [
        ([(0.0, "same"), (0.01, "slower")], "holds", "holds"),
        ([(0.0, "inconclusive"), (0.01, "inconclusive")], "holds", "not tried"),
        ([(0.0, "same"), (0.01, "same")], "holds", "fails"),
        ([(0.0, "faster")], "fails", "not tried"),
    ],
)
def test_verdicts_are_held_against_what_was_planted(
    tmp_path: Path, trials: list[tuple[float, str]], unchanged: str, slowed: str
) -> None:
    a_calibration(tmp_path, *trials)
    assert (found(tmp_path, "unchanged code").state, found(tmp_path, "+1 %").state) == (unchanged, slowed)


def test_comparisons_too_short_to_find_it_are_no_trial(tmp_path: Path) -> None:
    a_calibration(tmp_path, (0.01, "inconclusive"), budget=10.0)
    assert found(tmp_path, "+1 %").state == "not tried"


@pytest.mark.parametrize(
    ("card", "share", "state"),
    [
        ("NVIDIA H200", 0.8, "holds"),
        ("NVIDIA H200", 1.1, "fails"),
        ("NVIDIA H200", 0.2, "fails"),
        ("Other", 0.8, "not tried"),
    ],
)
def test_ceilings_are_held_against_the_cards_peak(tmp_path: Path, card: str, share: float, state: str) -> None:
    (tmp_path / "step-3-results" / "machine").mkdir(parents=True)
    flops, bytes_ = PEAKS["H200"]
    rows = [
        {"kind": "matrix product", "dtype": "bfloat16", "value": share * flops},
        {"kind": "copy", "dtype": None, "value": 0.9 * bytes_},
    ]
    content = {"machine": {"gpus": [{"name": card}]}, "device": "cuda:0", "ceilings": rows}
    (tmp_path / "step-3-results" / "machine" / "ceilings-a.json").write_text(json.dumps(content))
    assert found(tmp_path, "ceilings").state == state


def test_ceilings_that_were_not_measured_prove_nothing(tmp_path: Path) -> None:
    (tmp_path / "step-3-results" / "machine").mkdir(parents=True)
    content = {"machine": {"gpus": [{"name": "NVIDIA H200"}]}, "device": "cuda:0", "ceilings": []}
    (tmp_path / "step-3-results" / "machine" / "ceilings-a.json").write_text(json.dumps(content))
    assert found(tmp_path, "ceilings").state == "fails"


def test_the_summary_names_every_promise_and_every_command(tmp_path: Path) -> None:
    step(tmp_path, 540.0, None)
    page = summary(tmp_path, ("blocks.parquet is left out of the archive for its size",))
    assert all(promise.text in page for promise in promises(tmp_path))
    assert "`python -m loopmark run`: took too long and was ended after 540 s, log in step-2-0.txt" in page
    assert "left out of the archive" in page


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("step-2.json", '[{"comm'),
        ("step-2.json", "[]"),
        ("step-2-results/machine/run/run.json", '{"plan": {}}'),
        ("step-3-results/machine/calibration-a.json", ""),
        ("step-3-results/machine/ceilings-a.json", "{}"),
        ("step-1-tests.xml", '<?xml version="1.0" encoding="nobody-knows"?><testsuites />'),
    ],
)
def test_a_damaged_file_costs_its_own_promises_alone(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text(text)
    page = summary(tmp_path)
    assert all(promise.text in page for promise in promises(tmp_path))


def test_a_reason_of_two_lines_stays_in_its_cell(tmp_path: Path) -> None:
    a_run(tmp_path, cases=[{"status": "failed", "workload": "w", "loop": "l", "launches": [], "reason": "a | b\nc"}])
    assert found(tmp_path, "no case is lost").figure == "1 of 1 lost, the first is w l: a \\| b c"
