import io
import json
import re
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest
from rich.cells import cell_len
from rich.console import Console

from loopmark.bench.judge.finding import Judgement
from loopmark.bench.report.judgement import (
    MOST_ANNOTATIONS,
    MOST_ROWS,
    annotations,
    as_junit,
    as_markdown,
    judgement_as_json,
    print_judgement,
)
from tests.support.hostile import NAMES
from tests.support.judgements import EVERYTHING, REFUSED, finding, judgement


def printed(judged: Judgement, width: int = 110, *, terminal: bool = False) -> str:
    output = io.StringIO()
    print_judgement(judged, Console(file=output, width=width, force_terminal=terminal, color_system=None))
    return output.getvalue()


def test_every_finding_that_decides_has_a_line_and_the_outcome_comes_last() -> None:
    lines = printed(EVERYTHING).splitlines()

    assert "· step / eager slower" in " ".join(lines[lines.index("resnet, compile") + 1].split())
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
    assert "not shown: 1 phase without a sure change" in text


def test_what_decides_has_how_much_it_may_change_and_the_rest_no_say() -> None:
    lines = printed(EVERYTHING).splitlines()
    assert any("forward" in line and line.endswith(" any") for line in lines)
    assert any("step / eager" in line and "5.0 %" in line for line in lines)
    assert any(line.endswith("allowed") for line in lines)


def test_a_narrow_terminal_loses_what_is_allowed_and_neither_side() -> None:
    long = judgement(finding("a_loop_of_my_own+" * 3, "inconclusive", metric="step / channels_last"))
    headings = next(line for line in printed(long, 80, terminal=True).splitlines() if "verdict" in line)
    assert headings.split() == ["verdict", "change", "base", "head"]


def test_a_narrow_terminal_wraps_the_sides_and_cuts_neither() -> None:
    sides = judgement(base="loop=eager python=/opt/a/bin/python " * 4, head="loop=compile")
    assert " ".join(printed(sides, 40, terminal=True).split()).startswith(" ".join(("base", *sides.base.split())))


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
    assert printed(judgement()).splitlines()[-1] == "Not comparable: no finding decides the outcome."


def test_it_holds_every_finding_in_base_units_with_the_outcome() -> None:
    content = judgement_as_json(EVERYTHING)

    assert (content["outcome"], content["exit_status"]) == ("regression", 1)
    assert len(content["findings"]) == len(EVERYTHING.findings)
    assert content["findings"][1]["change"] == {"value": 1.2, "low": 1.15, "high": 1.25}
    assert content["findings"][0]["base"] == 0.0053
    assert content["findings"][2]["broken"]


def test_what_nothing_bounds_is_null_so_that_it_is_strict_json() -> None:
    (shown,) = judgement_as_json(judgement(finding(verdict="inconclusive")))["findings"]
    assert shown["change"]["high"] is None
    json.dumps(judgement_as_json(EVERYTHING), allow_nan=False)


def test_a_refusal_has_its_reason() -> None:
    content = judgement_as_json(REFUSED)
    assert (content["outcome"], content["exit_status"], content["findings"]) == ("not comparable", 4, [])
    assert content["refusal"] == REFUSED.refusal


@pytest.mark.parametrize("name", NAMES)
def test_a_hostile_name_is_kept_as_it_is(name: str) -> None:
    text = json.dumps(judgement_as_json(judgement(finding(name))), allow_nan=False)
    assert json.loads(text)["findings"][0]["loop"] == name
    text.encode()


def test_the_page_begins_with_the_outcome_and_holds_every_finding_and_all_that_was_said() -> None:
    page = as_markdown(EVERYTHING)

    assert page.startswith("## ❌ loopmark check: regression\n")
    rows = [line for line in page.splitlines() if line.startswith("| resnet, ")]
    assert len(rows) == len(EVERYTHING.findings)
    assert any("**slower**" in row for row in rows)
    for said in ("torch 2.12.0 → 2.13.0", "the run was interrupted", "same machine", "it failed"):
        assert said in page


def test_a_refusal_is_a_page_with_the_reason() -> None:
    assert as_markdown(REFUSED).startswith("## 🚫 loopmark check: not comparable\n\nNot comparable: different batch")


@pytest.mark.parametrize("name", NAMES)
def test_a_hostile_name_makes_no_html_no_link_and_no_further_cell(name: str) -> None:
    page = as_markdown(
        judgement(
            finding(name, "slower", workload=name, metric=name, note=name),
            base=name,
            head=name,
            facts=(name,),
            differences=(name,),
            warnings=(name,),
        )
    )

    assert "<script" not in page
    assert not re.search(r"(?<!\\)\]\(", page)
    assert "\n# d" not in page
    (row,) = (line for line in page.splitlines() if line.endswith("**slower** |"))
    assert len(re.findall(r"(?<!\\)\|", row)) == 8
    assert len(page) < 20_000
    page.encode()  # a job's summary is UTF-8


def test_a_page_of_any_number_of_findings_fits_a_jobs_summary() -> None:
    page = as_markdown(judgement(*(finding("l" * 10_000, workload="w" * 10_000) for _ in range(MOST_ROWS + 5))))
    assert "and 5 more" in page
    assert len(page.encode()) < 2**20


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
    lines = annotations(judgement(*(finding(f"loop{i}", "slower") for i in range(MOST_ANNOTATIONS + 5))))
    assert len(lines) == MOST_ANNOTATIONS
    assert "and 6 more" in lines[-1]


@pytest.mark.parametrize("name", [*NAMES, "::error::x", "a,b:c%0A", "x\r\n::stop-commands::t"])
def test_a_hostile_name_cannot_end_a_title_or_begin_a_command(name: str) -> None:
    judged = judgement(finding(name, "slower", workload=name, metric=name, note=name), warnings=(f"of {name}",))
    for line in annotations(judged):
        assert COMMAND.fullmatch(line)


def test_each_finding_that_decides_is_a_test_case_that_passes_fails_or_was_skipped() -> None:
    root = ET.fromstring(as_junit(EVERYTHING))
    endings = {
        case.get("name"): next((e.tag for e in case if e.tag != "system-out"), "passed")
        for case in root.iter("testcase")
    }

    assert endings == {
        "eager: step": "passed", "compile: step / eager": "failure", "amp: step": "failure",
        "cuda_graph: step / eager": "passed", "checkpoint: step / eager": "skipped", "tf32: step / eager": "passed",
        "compile: peak memory": "passed",
    }  # fmt: skip
    assert {case.get("classname") for case in root.iter("testcase")} == {"resnet"}


def test_the_counts_are_those_of_the_cases_on_the_suite_and_on_the_whole() -> None:
    root = ET.fromstring(as_junit(EVERYTHING))
    (suite,) = root.iter("testsuite")
    for element in (root, suite):
        counts = {name: element.get(name) for name in ("tests", "failures", "errors", "skipped")}
        assert counts == {"tests": "7", "failures": "2", "errors": "0", "skipped": "1"}


def test_a_failure_says_what_was_found() -> None:
    (failure, broken) = ET.fromstring(as_junit(EVERYTHING)).iter("failure")
    assert "+20.0 % [+15.0, +25.0]" in (failure.get("message") or "")
    assert failure.get("message") == failure.text
    assert "it failed" in (broken.text or "")


def test_what_was_left_open_is_a_failure_where_inconclusive_counts_as_one() -> None:
    root = ET.fromstring(as_junit(replace(EVERYTHING, inconclusive="fail")))

    assert [failure.get("type") for failure in root.iter("failure")] == ["regression", "regression", "inconclusive"]
    assert (root.get("failures"), root.get("skipped")) == ("3", "0")


def test_a_refusal_is_one_case_with_an_error() -> None:
    root = ET.fromstring(as_junit(REFUSED))
    (error,) = root.iter("error")
    assert "different batch sizes" in (error.get("message") or "")
    assert (root.get("tests"), root.get("errors")) == ("1", "1")


@pytest.mark.parametrize("name", [*NAMES, "\x00\x0b\ufffe\uffff", "]]>", "&amp;\"'"])
def test_a_hostile_name_leaves_it_well_formed(name: str) -> None:
    judged = judgement(
        finding(name, "slower", workload=name, metric=name, note=name), base=name, facts=(name,), warnings=(name,)
    )
    content = as_junit(judged)

    (case,) = ET.fromstring(content).iter("testcase")
    assert case.get("classname")
    assert len(content) < 30_000
