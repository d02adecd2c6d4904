from dataclasses import replace

import pytest

from loopmark.bench.judge.statistics import Estimate
from tests.support.judgements import BROKEN, NOT_SLOWER, REFUSED, finding, judgement


@pytest.mark.parametrize(
    ("verdicts", "outcome", "status"),
    [
        (["same", "faster"], "no regression", 0),
        (["same", "slower", "inconclusive"], "regression", 1),
        (["same", "inconclusive"], "inconclusive", 3),
        ([], "not comparable", 4),
    ],
)
def test_the_worst_finding_that_decides_is_the_outcome(verdicts: list[str], outcome: str, status: int) -> None:
    judged = judgement(*(finding(verdict=verdict) for verdict in verdicts))

    assert judged.outcome == outcome
    assert judged.exit_status == status


def test_what_is_shown_only_has_no_say() -> None:
    assert judgement(finding(), finding(verdict="slower", decides=False)).outcome == "no regression"
    assert judgement(finding(verdict="slower", decides=False)).outcome == "not comparable"


def test_a_refusal_outweighs_every_finding() -> None:
    assert REFUSED.outcome == "not comparable"


def test_an_inconclusive_comparison_passes_or_fails_as_was_asked_and_nothing_else_changes() -> None:
    open_, slower = judgement(finding(verdict="inconclusive")), judgement(finding(verdict="slower"))

    assert [replace(open_, inconclusive=word).exit_status for word in (None, "pass", "fail")] == [3, 0, 1]
    assert [replace(judged, inconclusive="pass").exit_status for judged in (slower, REFUSED)] == [1, 4]


def test_what_is_certainly_not_slower_keeps_no_outcome_open_although_it_may_be_the_same_or_faster() -> None:
    assert not NOT_SLOWER.may_be_slower
    assert judgement(NOT_SLOWER).outcome == "no regression"
    assert finding(verdict="inconclusive", change=Estimate(1.0, 0.9, 1.051), threshold=0.05).may_be_slower


def test_a_loop_without_a_figure_where_the_base_had_one_is_broken_and_a_regression() -> None:
    assert BROKEN.broken
    assert judgement(BROKEN).outcome == "regression"
    assert not finding(verdict="slower").broken
