import re

import pytest

from loopmark.bench.report.judgement.annotations import MOST, annotations
from tests.support.hostile import NAMES
from tests.support.judgements import EVERYTHING, REFUSED, finding, judgement

COMMAND = re.compile(r"::(error|warning) title=[^:,\r\n]*::[^\r\n]+")


def test_a_regression_is_an_error_and_what_was_left_open_or_warned_of_a_warning() -> None:
    lines = annotations(EVERYTHING)

    assert [line.split(" ")[0] for line in lines] == ["::error", "::error", "::warning", "::warning"]
    assert lines[0].startswith("::error title=loopmark check%3A resnet%2C compile%3A step / eager::resnet, compile: ")
    assert "+20.0 %25 [" in lines[0]


def test_unchanged_code_is_not_worth_an_annotation() -> None:
    assert annotations(judgement(finding(), finding(verdict="faster"))) == []


def test_a_refusal_is_one_error() -> None:
    (line,) = annotations(REFUSED)
    assert line.startswith("::error title=loopmark check%3A not comparable::Not comparable: different batch sizes")


def test_more_than_github_shows_are_counted_in_the_last_one() -> None:
    lines = annotations(judgement(*(finding(f"loop{i}", "slower") for i in range(MOST + 5))))
    assert len(lines) == MOST
    assert "and 6 more" in lines[-1]


@pytest.mark.parametrize("name", [*NAMES, "::error::x", "a,b:c%0A", "x\r\n::stop-commands::t"])
def test_a_hostile_name_cannot_end_a_title_or_begin_a_command(name: str) -> None:
    judged = judgement(finding(name, "slower", workload=name, metric=name, note=name), warnings=(f"of {name}",))
    for line in annotations(judged):
        assert COMMAND.fullmatch(line)
