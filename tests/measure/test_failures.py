from typing import NamedTuple

import pytest

from loopmark.bench.measure.inventory import foretold, nothing_measured

SHAPES = "mine.py:7: in `forward`: RuntimeError: shapes"


class Case(NamedTuple):
    loop: str
    status: str = "ok"
    reason: str | None = None
    workload: str = "mine:make_task"


def failed(loop: str, reason: str = SHAPES) -> Case:
    return Case(loop, "failed", reason)


@pytest.mark.parametrize(
    ("loop", "others", "reason"),
    [
        ("amp_bf16", [failed("eager"), failed("compile", "mine.py:7: another type of error")], SHAPES),
        ("mine:step+compile", [failed("mine:step"), failed("mine:step+amp_bf16")], SHAPES),
        # One loop is not enough, nor two that fail apart, nor two techniques where eager runs.
        ("amp_bf16", [failed("eager"), failed("eager")], None),
        ("amp_bf16", [failed("eager"), failed("compile", "mine.py:9: RuntimeError: other")], None),
        ("amp_bf16", [failed("compile"), failed("compile+tf32")], None),
        # A step of the user's own may do what the canonical one cannot, and another workload may be whole.
        ("mine:step", [failed("eager"), failed("compile")], None),
        ("amp_bf16", [failed("eager"), Case("compile", "failed", SHAPES, "gpt")], None),
    ],
)
def test_a_failure_is_foretold_once_a_step_failed_by_itself_and_with_a_technique(
    loop: str, others: list[Case], reason: str | None
) -> None:
    assert foretold(Case(loop), others) == reason


def test_a_reason_that_every_loop_has_is_told_once() -> None:
    skipped = Case("tf32", "skipped", "tf32 needs a CUDA device")
    assert nothing_measured([failed("eager"), failed("eager"), failed("compile"), skipped]) == (
        f"nothing was measured: mine:make_task, every loop: {SHAPES}"
    )
    assert nothing_measured([failed("eager"), failed("compile", "it died"), skipped]) == (
        f"nothing was measured: mine:make_task, eager: {SHAPES}; mine:make_task, compile: it died"
    )
    assert "tf32 needs" in nothing_measured([skipped])
