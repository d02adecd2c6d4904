import io

import pytest
from rich.cells import cell_len
from rich.console import Console

from loopmark.bench.judge.finding import Judgement
from loopmark.bench.report.judgement.table import JudgementTable, print_judgement
from tests.support.hostile import NAMES
from tests.support.judgements import EVERYTHING, finding, judgement


def printed(judged: Judgement, width: int = 110, *, terminal: bool = False) -> str:
    output = io.StringIO()
    print_judgement(judged, Console(file=output, width=width, force_terminal=terminal, color_system=None))
    return output.getvalue()


def test_every_finding_that_decides_has_a_line_and_the_outcome_comes_last() -> None:
    lines = printed(EVERYTHING).splitlines()

    assert any(line.split()[:5] == ["compile", "step", "/", "eager", "slower"] for line in lines)
    assert any("+20.0 % [+15.0, +25.0]" in line and "0.960x" in line for line in lines)
    assert lines[-1].startswith("Regression: ")


def test_what_was_said_beside_the_findings_is_printed_as_well() -> None:
    text = printed(EVERYTHING)
    for said in ("same machine", "differs: torch 2.12.0 → 2.13.0", "warning: the run was interrupted", "it failed"):
        assert said in text


def test_a_phase_without_a_say_is_shown_where_it_changed_and_counted_where_not() -> None:
    text = printed(EVERYTHING)
    assert "forward" in text
    assert "backward" not in text
    assert "not shown: 1 phase that has no say" in text


def test_what_decides_has_how_much_it_may_change_and_the_rest_no_say() -> None:
    lines = printed(EVERYTHING).splitlines()
    assert any("forward" in line and "no say" in line for line in lines)
    assert any("step / eager" in line and "5.0 %" in line for line in lines)
    assert "allowed" in next(line for line in lines if line.startswith("loop"))


@pytest.mark.parametrize("width", [20, 40, 80, 110, 200])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    assert max(map(cell_len, printed(EVERYTHING, width, terminal=True).splitlines())) <= width


def test_in_a_file_a_sentence_is_one_line_however_long() -> None:
    judged = judgement(finding(), warnings=("so it goes " * 30,))
    assert any(line.startswith("warning: ") and len(line) > 300 for line in printed(judged).splitlines())


@pytest.mark.parametrize("name", NAMES)
def test_a_hostile_name_breaks_nothing(name: str) -> None:
    judged = judgement(
        finding(name, "slower", workload=name, metric=name, note=name), base=name, head=name, facts=(name,),
        differences=(name,), warnings=(name,),
    )  # fmt: skip
    text = printed(judged)

    assert "\x1b" not in text
    assert "\u202e" not in text
    assert text.splitlines()[-1].startswith("Regression")
    assert len(text) < 10_000
    if name.startswith("[bold]"):
        assert "[bold]b[/]" in text


def test_a_judgement_of_nothing_is_still_printed() -> None:
    assert printed(judgement()).splitlines()[-1] == "Not comparable: there is nothing to decide by."
    assert JudgementTable(judgement())
