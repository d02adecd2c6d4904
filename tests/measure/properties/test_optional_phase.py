"""A phase that only some steps have: steps with and without it pass."""

from pathlib import Path

import pytest

from loopmark.bench.measure import clock
from loopmark.bench.measure.properties import prepared_loop, step_checks
from loopmark.phases import PHASES
from tests.measure.properties.examined import loop_under_test, planted

CLIPS = {"differentiated": '{differentiated}\nyield "clip"'}


@pytest.fixture(autouse=True)
def clip_is_a_phase(monkeypatch: pytest.MonkeyPatch) -> None:
    phases = (*PHASES[:-2], "clip", *PHASES[-2:])
    for module in (clock, step_checks):
        monkeypatch.setattr(module, "PHASES", phases)
    for module in (prepared_loop, step_checks):
        monkeypatch.setattr(module, "YIELDED", phases[1:-1])
    monkeypatch.setattr(step_checks, "OPTIONAL", ("clip",))


@pytest.mark.parametrize("lines", [{}, CLIPS], ids=["without it", "with it"])
def test_a_step_may_have_it_or_not(tmp_path: Path, lines: dict[str, str]) -> None:
    assert step_checks.phases_in_order.outcome(loop_under_test(planted(tmp_path, **lines))).status == "holds"


def test_it_has_its_place(tmp_path: Path) -> None:
    early = planted(tmp_path, compared='{compared}\nyield "clip"')
    found = step_checks.phases_in_order.outcome(loop_under_test(early))
    assert found.status == "broken"
    assert "`clip` comes out of order" in found.explanation
