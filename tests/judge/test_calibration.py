"""Synthetic calibrations, from trials with a known truth."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from loopmark.bench.errors import BadInput
from loopmark.bench.judge.calibration import quotations, rate, summarise_calibration
from loopmark.bench.judge.sequential_comparison import METHOD
from loopmark.bench.records.comparison import (
    Calibration,
    CalibrationTrial,
    calibration_path,
    calibrations_of,
    read_calibration,
)
from loopmark.bench.records.files import write_record
from tests.support import synthetic


def trial(
    random: np.random.Generator, effect: float, verdict: str, pairs: int = 25, solo: float = 0.05
) -> CalibrationTrial:
    return CalibrationTrial(
        effect=effect,
        verdict=verdict,  # type: ignore[arg-type]
        regression=verdict == "slower",
        seconds=2.0 * pairs,
        step_seconds=0.005,
        uncertainties=(0.003,) * pairs,
        logs=tuple(random.normal(math.log1p(effect), 0.005, pairs)),
        ended_seconds=tuple(2.0 * (i + 1) for i in range(pairs)),
        stored_mean_seconds=0.005,
        later_mean_seconds=0.005 * math.exp(random.normal(0, solo)),
    )


def calibration(*trials: CalibrationTrial) -> Calibration:
    return Calibration(
        started="2026-01-01T00:00:00+00:00", machine=synthetic.machine(), environment=synthetic.environment(),
        device="cpu", workload="resnet", loop="eager", size="small", false_alarms=0.01,
        margin=0.01, method=METHOD, budget_seconds=90.0, solo_seconds=15.0, trials=trials,
    )  # fmt: skip


def many() -> Calibration:
    random = np.random.default_rng(0)
    return calibration(
        *(trial(random, 0.0, "same") for _ in range(39)),
        trial(random, 0.0, "slower"),
        *(trial(random, 0.02, "slower", pairs=12) for _ in range(18)),
        *(trial(random, 0.02, "slower", pairs=30) for _ in range(2)),
    )


def test_rates_are_counted_by_planted_effect_and_by_time() -> None:
    rows = {row.effect: row for row in summarise_calibration(many()).rows}
    assert (rows[0.0].called_slower.times, rows[0.0].called_slower.of) == (1, 40)
    assert (rows[0.02].called_slower.times, rows[0.02].within[45.0].times) == (20, 18)
    assert rows[0.02].seconds_to_verdict == 24.0


def test_a_rate_has_the_exact_binomial_interval() -> None:
    found = rate(0, 60).estimate
    assert found.low == 0
    assert found.high == pytest.approx(1 - 0.025 ** (1 / 60))
    assert rate(30, 30).estimate.low == pytest.approx(0.025 ** (1 / 30))


def test_means_that_vary_cry_wolf_and_see_only_large_effects() -> None:
    summary = summarise_calibration(many())
    unchanged = summary.rows[0]
    assert unchanged.solo_fails[0.01].estimate.value == pytest.approx(0.42, abs=0.2)  # share of normal(0, 5 %) over 1 %
    assert summary.sensitivity is not None
    assert summary.sensitivity.means.value == pytest.approx(math.expm1(3.97 * 0.05), rel=0.3)
    assert summary.sensitivity.ours.value < 0.01
    assert summary.sensitivity.ratio.low > 5


def test_replayed_launches_of_unchanged_code_keep_the_rate_asked_for() -> None:
    assert summarise_calibration(many()).replayed_false_alarms.estimate.value <= 0.015


def test_no_sensitivity_is_claimed_from_a_handful_of_trials() -> None:
    random = np.random.default_rng(1)
    assert summarise_calibration(calibration(*(trial(random, 0.0, "same") for _ in range(5)))).sensitivity is None


def test_a_calibration_survives_its_file_and_is_quoted(tmp_path) -> None:  # type: ignore[no-untyped-def]
    kept = many()
    path = calibration_path(tmp_path / kept.machine.name, kept.workload, kept.loop)
    write_record(path, kept)
    assert read_calibration(path) == kept
    (quotation,) = quotations(calibrations_of(kept.machine.name, tmp_path))
    assert "1 false alarm in 40 comparisons" in quotation
    assert "+2 % found in 20 of 20" in quotation


def test_one_that_was_stopped_after_a_few_comparisons_is_not_quoted() -> None:
    kept = many()
    unchanged = [trial for trial in kept.trials if trial.effect == 0]
    assert quotations([replace(kept, trials=tuple(unchanged[:10]))])
    assert not quotations([replace(kept, trials=tuple(unchanged[:9]))])


def test_a_damaged_calibration_is_one_line_and_is_not_quoted(tmp_path) -> None:  # type: ignore[no-untyped-def]
    kept = many()
    path = calibration_path(tmp_path / kept.machine.name, "own.py:make", "a/b")
    write_record(path, kept)
    path.write_text(path.read_text()[:100])
    with pytest.raises(BadInput, match="remove it"):
        read_calibration(path)
    assert list(calibrations_of(kept.machine.name, tmp_path)) == []


def test_a_regression_in_memory_alone_is_a_false_alarm_too_and_no_detection() -> None:
    random = np.random.default_rng(2)
    memory_grew = [replace(trial(random, effect, "same"), regression=True) for effect in (0.0, 0.02)]
    unchanged, slowed = summarise_calibration(calibration(*memory_grew)).rows
    assert (unchanged.called_slower.times, slowed.called_slower.times) == (1, 0)


def test_a_calibration_is_quoted_once_though_it_is_looked_for_by_two_names(tmp_path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    kept = many()
    write_record(calibration_path(tmp_path / kept.machine.name, kept.workload, kept.loop), kept)
    monkeypatch.chdir(tmp_path)
    assert len(list(calibrations_of(kept.machine.name, tmp_path, Path()))) == 1


def test_what_another_method_found_is_not_quoted() -> None:
    assert quotations([many()])
    assert not quotations([replace(many(), method=METHOD - 1)])
