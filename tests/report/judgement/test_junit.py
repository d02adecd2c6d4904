from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest

from loopmark.bench.report.judgement.junit import as_junit
from tests.support.hostile import NAMES
from tests.support.judgements import EVERYTHING, REFUSED, finding, judgement


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
