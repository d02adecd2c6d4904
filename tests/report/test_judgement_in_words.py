import pytest

from loopmark.bench.report.judgement import conclusion, sentence, word
from tests.support.hostile import NAMES
from tests.support.judgements import BROKEN, EVERYTHING, NOT_SLOWER, REFUSED, finding, judgement


def test_a_finding_has_a_word_for_each_thing_that_can_be_said() -> None:
    words = [word(one) for one in (finding(), finding(verdict="inconclusive"), NOT_SLOWER, BROKEN)]
    assert words == ["same", "inconclusive", "not slower", "broken"]


def test_a_finding_in_a_sentence_has_its_change_its_interval_its_figures_and_what_is_allowed() -> None:
    said = sentence(finding(verdict="slower"))
    assert said == (
        "resnet, compile: step / eager is slower, +20.0 % [+15.0, +25.0] (0.800x → 0.960x; 5.0 % is allowed)"
    )


def test_what_cannot_be_bounded_is_shown_as_unknown() -> None:
    assert "+3.0 % [no interval]" in sentence(finding(verdict="inconclusive"))


@pytest.mark.parametrize(
    ("judged", "start"),
    [
        (EVERYTHING, "Regression: resnet, compile: step / eager is slower"),
        (judgement(finding(), NOT_SLOWER), "No regression: none of 2 findings is slower by more than is allowed."),
        (judgement(finding()), "No regression: the one finding is not slower"),
        (judgement(finding(), finding(verdict="inconclusive")), "Inconclusive: 1 of 2 findings may be slower"),
        (REFUSED, "Not comparable: different batch sizes"),
    ],
)
def test_the_conclusion_begins_with_the_outcome(judged: object, start: str) -> None:
    assert conclusion(judged).startswith(start)  # type: ignore[arg-type]


def test_of_many_regressions_some_are_named_and_the_rest_counted() -> None:
    said = conclusion(judgement(*(finding(f"loop{i}", "slower") for i in range(9))))
    assert said.count("is slower") == 3
    assert said.endswith("and 6 more.")


@pytest.mark.parametrize("name", NAMES)
def test_a_hostile_name_stays_on_one_short_line(name: str) -> None:
    said = conclusion(judgement(finding(name, "slower", workload=name, metric=name, note=name)))
    assert said.isprintable()
    assert len(said) < 2000
