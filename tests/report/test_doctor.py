"""The text of a diagnosis, at any width and for any reading."""

import io
import json

import pytest
from rich.console import Console

from loopmark.bench.records.checks import Check, CheckResult, Diagnosis
from loopmark.bench.report.checklist import diagnosis_as_json, diagnosis_conclusion, print_diagnosis
from tests.support.hostile import NAMES

GOVERNOR = Check("processor", "frequency governor", "The clock follows the load, late.")
SWAP = Check("memory", "swap", "A page has to come back from the disk.")
LINK = Check("GPU", "PCI Express link", "Batches cross it.")
COMMAND = "sudo a-command --with many --long options | that-must --stay in-one piece --to be --copied"


def printed(*findings: CheckResult, width: int = 100, terminal: bool = True) -> str:
    file = io.StringIO()
    console = Console(file=file, width=width, force_terminal=terminal, color_system=None)
    print_diagnosis(Diagnosis("cpu", findings), console)
    return file.getvalue()


def test_what_is_worth_changing_comes_first_then_what_is_good_then_what_is_not_known() -> None:
    text = printed(GOVERNOR.good("performance"), LINK.not_known("silence"), SWAP.bad("4 GiB", "End it.", "kill it"))
    order = ["Worth changing", "BAD     swap", "4 GiB", SWAP.why, "End it.", "kill it", "Good", "performance",
             "Not known", "silence", "1 of 3 readings is bad"]  # fmt: skip
    places = [text.index(part) for part in order]
    assert places == sorted(places)
    assert GOVERNOR.why not in text  # a good setting takes one line
    assert LINK.why not in text


def test_bad_stands_before_what_could_be_better_and_areas_are_told() -> None:
    text = printed(GOVERNOR.could_be_better("powersave", "Change it."), SWAP.bad("4 GiB", "End it."))
    assert text.index("  memory\n") < text.index("BAD") < text.index("  processor\n") < text.index("better")


@pytest.mark.parametrize("width", [20, 60, 80, 200])
def test_text_is_wrapped_to_the_terminal_and_a_command_stays_in_one_piece(width: int) -> None:
    text = printed(SWAP.bad("4 of 8 GiB in use " * 5, "A long remedy with many words. " * 6, COMMAND), width=width)
    lines = text.splitlines()
    assert sum(COMMAND in line for line in lines) == 1
    readable = max(width, 66)  # below this, words stand where they fit
    assert all(len(line) <= readable for line in lines if COMMAND not in line)


@pytest.mark.parametrize(
    ("findings", "says"),
    [
        ([GOVERNOR.good("x")], "Nothing to change was found in 1 readings; 0 are not known."),
        (
            [GOVERNOR.bad("x", "y"), SWAP.not_known("z")],
            "1 of 2 readings is bad and 0 could be better; 1 is not known.",
        ),
        ([GOVERNOR.could_be_better("x", "y")], "0 of 1 readings are bad and 1 could be better; 0 are not known."),
    ],
)
def test_it_comes_to_one_sentence_that_says_who_changes_what(findings: list[CheckResult], says: str) -> None:
    assert diagnosis_conclusion(Diagnosis("cpu", tuple(findings))).startswith(says)
    assert "Loopmark changes nothing" in diagnosis_conclusion(Diagnosis("cpu", tuple(findings)))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("terminal", [False, True])
def test_nothing_that_was_read_breaks_the_page(name: str, terminal: bool) -> None:
    text = printed(SWAP.bad(name, name, name), GOVERNOR.good(name), LINK.not_known(name), terminal=terminal)
    assert "\x1b[31m" not in text
    assert "\u202e" not in text
    text.encode()
    assert "PCI Express link" in text


@pytest.mark.parametrize("name", NAMES)
def test_json_holds_everything_in_strict_form(name: str) -> None:
    found = Diagnosis("cpu", (SWAP.bad(name, "End it.", name),))
    (finding,) = json.loads(json.dumps(diagnosis_as_json(found), allow_nan=False))["findings"]
    assert finding == {
        "area": "memory", "name": "swap", "state": "bad", "reading": name, "why": SWAP.why, "remedy": "End it.",
        "commands": [name],
    }  # fmt: skip
