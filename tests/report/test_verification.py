"""The text of a verification, for any loop's name and any message from it."""

import io
import json

import pytest
from rich.console import Console

from loopmark.bench.records.checks import Outcome, Property, Verification
from loopmark.bench.report.checklist import print_verification, verification_conclusion, verifications_as_json
from tests.support.hostile import NAMES

ZEROED = Property("zeroed-gradients", "A gradient that is left does not change the step.")
ONE = Property("one-update", "One step steps the optimizer once.")


def verification(*outcomes: Outcome, loop: str = "own:step", skipped: str | None = None) -> Verification:
    return Verification(loop, "resnet", "cpu", outcomes, skipped)


def printed(*found: Verification, width: int = 120, terminal: bool = False) -> str:
    file = io.StringIO()
    print_verification(found, Console(file=file, width=width, force_terminal=terminal, color_system=None))
    return file.getvalue()


def test_what_is_broken_stands_out_and_is_explained() -> None:
    text = printed(verification(ZEROED.broken("forgets zero_grad: call it first"), ONE.holds()))

    assert "BROKEN  zeroed-gradients" in text
    assert "forgets zero_grad: call it first" in text
    assert "ok      one-update" in text
    assert text.endswith("own:step breaks 1 of 2 properties of a training step: zeroed-gradients.\n")


def test_what_could_not_be_looked_at_is_one_line_a_reason() -> None:
    text = printed(verification(ZEROED.not_applicable("it stops"), ONE.not_applicable("it stops")))
    assert text.count("it stops") == 1
    assert "zeroed-gradients, one-update: it stops" in text


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (verification(ZEROED.holds(), ONE.holds()), "own:step keeps all 2 properties of a training step."),
        (
            verification(ZEROED.holds(), ONE.not_applicable("why")),
            "own:step keeps the 1 of 2 properties of a training step that could be checked.",
        ),
        (verification(skipped="needs a GPU"), "own:step cannot be verified here: needs a GPU."),
    ],
)
def test_it_comes_to_one_sentence(found: Verification, says: str) -> None:
    assert verification_conclusion(found) == says
    assert says in printed(found)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("terminal", [False, True])
def test_no_name_and_no_explanation_breaks_the_page(name: str, terminal: bool) -> None:
    text = printed(verification(ZEROED.broken(name), ONE.holds(), loop=name), terminal=terminal)

    assert "\x1b[31m" not in text
    assert "\u202e" not in text
    assert len(text) < 6000
    text.encode()
    assert "one-update" in text


@pytest.mark.parametrize("name", NAMES)
def test_json_holds_everything_in_strict_form(name: str) -> None:
    text = json.dumps(verifications_as_json([verification(ZEROED.broken(name), loop=name)]), allow_nan=False)
    (one,) = json.loads(text)["loops"]

    assert one["loop"] == name
    assert one["outcomes"][0]["status"] == "broken"
    assert one["outcomes"][0]["explanation"] == name
    assert "breaks 1 of 1" in one["conclusion"]
