import json

import pytest

from loopmark.bench.report.judgement.json import as_json
from tests.support.hostile import NAMES
from tests.support.judgements import EVERYTHING, REFUSED, finding, judgement


def test_it_holds_every_finding_in_base_units_with_the_outcome() -> None:
    content = as_json(EVERYTHING)

    assert (content["outcome"], content["exit_status"]) == ("regression", 1)
    assert len(content["findings"]) == len(EVERYTHING.findings)
    assert content["findings"][1]["change"] == {"value": 1.2, "low": 1.15, "high": 1.25}
    assert content["findings"][0]["base"] == 0.0053
    assert content["findings"][2]["broken"]


def test_what_nothing_bounds_is_null_so_that_it_is_strict_json() -> None:
    (shown,) = as_json(judgement(finding(verdict="inconclusive")))["findings"]
    assert shown["change"]["high"] is None
    json.dumps(as_json(EVERYTHING), allow_nan=False)


def test_a_refusal_has_its_reason() -> None:
    content = as_json(REFUSED)
    assert (content["outcome"], content["exit_status"], content["findings"]) == ("not comparable", 4, [])
    assert content["refusal"] == REFUSED.refusal


@pytest.mark.parametrize("name", NAMES)
def test_a_hostile_name_is_kept_as_it_is(name: str) -> None:
    text = json.dumps(as_json(judgement(finding(name))), allow_nan=False)
    assert json.loads(text)["findings"][0]["loop"] == name
    text.encode()
