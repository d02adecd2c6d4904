import re

import pytest

from loopmark.bench.report.judgement.markdown import MOST_ROWS, as_markdown
from tests.support.hostile import NAMES
from tests.support.judgements import EVERYTHING, REFUSED, finding, judgement


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
