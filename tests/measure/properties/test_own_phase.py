"""Phases of a step's own, and updates that repeat: they may stand anywhere, and the known phases keep their order."""

from pathlib import Path

import pytest

from loopmark.bench.measure.properties import step_checks
from tests.measure.properties.examined import loop_under_test, planted


@pytest.mark.parametrize("place", ["cleared", "predicted", "compared", "differentiated", "updated"])
def test_a_phase_of_ones_own_may_come_after_any_other(place: str, tmp_path: Path) -> None:
    step = planted(tmp_path, **{place: f'{{{place}}}\nyield "clip"'})
    assert step_checks.phases_in_order.outcome(loop_under_test(step)).status == "holds"


def test_it_does_not_stand_for_a_known_phase(tmp_path: Path) -> None:
    found = step_checks.phases_in_order.outcome(loop_under_test(planted(tmp_path, compared='yield "my loss"')))
    assert found.status == "broken"
    assert found.explanation is not None
    assert "has no phase `loss`" in found.explanation
