import math
from dataclasses import replace

import pandas as pd
import pytest

from loopmark.bench.judge.equivalence import LEAST, ROOM, equivalence
from loopmark.bench.records.training import Proof

SAME = Proof("resnet", "eager", False, "ok", None, 8, 8, 0, 24, False, None, "ab")
OTHER = replace(SAME, loop="compile", same_steps=0, sha256="cd")
ROUNDING, COARSE = 1e-6, 1e-2


def deviations(*rows: dict[str, object]) -> pd.DataFrame:
    usual = {"step": 0, "layer": "", "eager_error": 1e-7, "rounding_error": ROUNDING, "coarse_error": COARSE}
    return pd.DataFrame([{**usual, **row} for row in rows])


def gradients(layer: str, errors: list[float]) -> list[dict[str, object]]:
    return [{"kind": "gradient", "layer": layer, "step": step, "error": error} for step, error in enumerate(errors)]


def test_every_bit_is_the_same_and_so_is_the_verdict() -> None:
    assert equivalence(SAME, deviations(), SAME).verdict == "same"


def test_the_same_bits_in_one_process_and_others_in_another_are_within_rounding() -> None:
    assert equivalence(replace(SAME, repeat=True, sha256="ef"), deviations(), SAME).verdict == "within rounding"


@pytest.mark.parametrize(
    ("kind", "error", "verdict"),
    [
        ("loss", ROOM * ROUNDING * 0.99, "within rounding"),
        ("loss", ROOM * ROUNDING * 1.01, "departs"),
        ("buffer", ROOM * ROUNDING * 0.99, "within rounding"),
        ("buffer", ROOM * ROUNDING * 1.01, "departs"),
        ("update", ROOM * ROUNDING * 1.01, "departs"),
    ],
)
def test_what_has_no_kinks_departs_with_its_first_step_beyond_rounding(kind: str, error: float, verdict: str) -> None:
    found = equivalence(OTHER, deviations({"kind": kind, "layer": "w", "step": 5, "error": error}), SAME)
    assert found.verdict == verdict
    if verdict == "departs":
        assert found.first is not None
        assert (found.first.step, found.first.kind, found.first.layer, found.first.error) == (5, kind, "w", error)


def test_a_gradient_may_jump_over_a_kink_now_and_then() -> None:
    rows = gradients("w", [1e-7, 5e-3, 1e-7, 1e-7, 5e-3, 1e-7, 1e-7, 5e-3])
    assert equivalence(OTHER, deviations(*rows), SAME).verdict == "within rounding"


def test_a_gradient_that_is_beyond_rounding_in_most_steps_departs_however_little() -> None:
    rows = gradients("w", [1e-5] * 5 + [1e-7] * 3)
    assert equivalence(OTHER, deviations(*rows), SAME).verdict == "departs"


def test_a_gradient_that_is_beyond_rounding_in_every_other_step_departs() -> None:
    rows = gradients("w", [1e-5, 1e-7] * 4)
    assert equivalence(OTHER, deviations(*rows), SAME).verdict == "departs"


@pytest.mark.parametrize(
    ("errors", "verdict"),
    [
        ([5e-3, 1e-7], "within rounding"),
        ([5e-3, 1e-7, 1e-7, 5e-3], "within rounding"),
        ([5e-3, 5e-3], "departs"),
        ([5e-3, 1e-7, 5e-3, 5e-3], "departs"),
    ],
)
def test_half_of_a_few_steps_may_jump_over_a_kink_by_chance(errors: list[float], verdict: str) -> None:
    few = replace(OTHER, steps=len(errors))
    assert equivalence(few, deviations(*gradients("w", errors)), SAME).verdict == verdict


def test_one_reference_that_jumped_over_a_kink_hides_nothing_that_is_typical() -> None:
    rows = gradients("w", [1e-5] * 8)
    rows[3]["eager_error"] = rows[3]["rounding_error"] = COARSE
    assert equivalence(OTHER, deviations(*rows), SAME).verdict == "departs"


def test_a_gradient_that_is_once_further_away_than_a_kink_takes_it_departs_at_that_step() -> None:
    rows = gradients("w", [1e-7] * 6 + [0.5, 1e-7])
    found = equivalence(OTHER, deviations(*rows), SAME)
    assert found.verdict == "departs"
    assert found.first is not None
    assert found.first.step == 6


def test_steps_without_a_row_are_exact_and_count_for_what_is_typical() -> None:
    rows = gradients("w", [5e-3] * 3)
    assert equivalence(OTHER, deviations(*rows), SAME).verdict == "within rounding"


def test_the_first_layer_to_depart_is_named_by_step_and_then_in_the_order_of_backward() -> None:
    late = [{"kind": "gradient", "layer": "last", "step": step, "error": 0.9} for step in range(3, 8)]
    early = [{"kind": "gradient", "layer": layer, "step": step, "error": 0.9} for step in range(8) for layer in "ba"]
    found = equivalence(OTHER, deviations(*late, *early), SAME)
    assert found.first is not None
    assert (found.first.step, found.first.layer) == (0, "b")


def test_nothing_is_said_of_differences_that_float32_cannot_tell() -> None:
    row = {"kind": "loss", "error": LEAST * 0.9, "eager_error": 0.0, "rounding_error": 0.0}
    assert equivalence(OTHER, deviations(row), SAME).verdict == "within rounding"


@pytest.mark.parametrize("error", [math.inf, math.nan])
def test_a_gradient_where_there_should_be_none_departs(error: float) -> None:
    rows = gradients("w", [error] * 8)
    assert equivalence(OTHER, deviations(*rows), SAME).verdict == "departs"


def test_references_that_were_not_drawn_are_no_bound_of_their_own() -> None:
    row = {"kind": "loss", "error": 1e-3, "rounding_error": math.nan, "coarse_error": math.nan}
    assert equivalence(OTHER, deviations(row), SAME).verdict == "departs"


def test_a_loop_that_loses_its_loss_departs_unless_eager_does_too() -> None:
    lost = replace(OTHER, lost_at_step=3)
    assert equivalence(lost, deviations(), SAME).verdict == "departs"
    assert equivalence(lost, deviations(), replace(SAME, lost_at_step=3)).verdict is None


def test_a_model_that_draws_at_random_departs_if_undoing_a_cause_shows_the_same_numbers() -> None:
    rows, drawing = deviations({"kind": "loss", "error": 1.0}), replace(OTHER, draws_at_random=True)
    assert equivalence(drawing, rows, SAME).verdict is None
    assert equivalence(replace(drawing, causes=("it clips",)), rows, SAME).verdict == "departs"


@pytest.mark.parametrize(
    ("proof", "why"),
    [
        (replace(OTHER, status="skipped", reason="needs a GPU"), "needs a GPU"),
        (replace(OTHER, reason="model not copied: it holds a file"), "model not copied: it holds a file"),
        (replace(OTHER, steps=0), "every step skipped: by its gradient scaler"),
    ],
)
def test_where_nothing_was_compared_there_is_no_verdict_but_a_reason(proof: Proof, why: str) -> None:
    found = equivalence(proof, deviations(), SAME)
    assert found.verdict is None
    assert found.why_not == why
