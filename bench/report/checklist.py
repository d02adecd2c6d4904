"""Checklists: the findings of `loopmark doctor` on a machine, and of `loopmark verify` on a loop."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from textwrap import wrap
from typing import Any

from rich.console import Console
from rich.text import Text

from loopmark.bench.records.checks import CheckResult, Diagnosis, State, Verification
from loopmark.bench.report.table import as_wide_as, print_lines
from loopmark.bench.report.text import elide, grouped, plain

FILE_WIDTH, NARROWEST = 110, 30
NAME_WIDTH, LONGEST = 60, 1200
INDENT = "  "
MARKS = {
    "bad": ("BAD", "bold red"),
    "could be better": ("better", "yellow"),
    "good": ("ok", "green"),
    "not known": ("?", "dim"),
    "holds": ("ok", "green"),
    "broken": ("BROKEN", "bold red"),
    "not applicable": ("–", "dim"),
}
MARK_WIDTH = max(len(mark) for mark, _ in MARKS.values())
NAME_COLUMN = 21
SECTIONS: dict[str, tuple[State, ...]] = {
    "Worth changing": ("bad", "could be better"),
    "Good, or nothing to change": ("good",),
    "Not known": ("not known",),
}


def print_diagnosis(found: Diagnosis, console: Console | None = None) -> None:
    """Print the diagnosis in the width of the terminal; each command stays on one line, to be copied."""
    console = as_wide_as(console, FILE_WIDTH)
    for line in _diagnosis(found, min(console.width, FILE_WIDTH)):
        console.print(line, soft_wrap=True)


def _diagnosis(found: Diagnosis, width: int) -> Iterator[Text]:
    yield Text(f"This machine, for loops on {elide(found.device, NAME_WIDTH)}", "bold")
    for title, states in SECTIONS.items():
        findings = [finding for state in states for finding in found.of_state(state)]
        if findings:
            yield from (Text(), Text(title, "bold"))
        for area in dict.fromkeys(finding.area for finding in findings):
            yield Text(f"{INDENT}{area}", "dim")
            for finding in (finding for finding in findings if finding.area == area):
                yield from _reading(finding, width)
    style = "bold red" if found.of_state("bad") else "yellow" if found.of_state("could be better") else "bold green"
    yield from (Text(), *_wrapped(diagnosis_conclusion(found), "", style, width))


def _reading(finding: CheckResult, width: int) -> Iterator[Text]:
    """The mark, name and wrapped reading of a finding; below them, the reason and remedy if a change is worth it."""
    head = Text(INDENT) + _marked(finding.state, f"{finding.name:{NAME_COLUMN}}{INDENT}")
    yield from _beside(head, finding.reading, "", width)
    if finding.state in SECTIONS["Worth changing"]:
        deep = " " * (len(INDENT * 3) + MARK_WIDTH)
        yield from _wrapped(finding.why, deep, "dim", width)
        yield from _wrapped(finding.remedy, deep, "", width)
        yield from (Text(f"{deep}{INDENT}{plain(command)}", "cyan") for command in finding.commands)


def _marked(state: str, name: str) -> Text:
    mark, style = MARKS[state]
    return Text(INDENT).append(f"{mark:{MARK_WIDTH}}", style).append(f"{INDENT}{name}")


def _beside(head: Text, text: str, style: str, width: int) -> Iterator[Text]:
    """``text`` to the right of ``head``, also where it is wrapped."""
    first, *rest = _wrapped(text, " " * len(head), style, width) or [Text()]
    yield head + first[len(head) :]
    yield from rest


def _wrapped(text: str, indent: str, style: str, width: int) -> list[Text]:
    lines = wrap(elide(text, LONGEST), max(NARROWEST, width - len(indent)))
    return [Text(f"{indent}{line}", style) for line in lines]


def diagnosis_conclusion(found: Diagnosis) -> str:
    """The number of bad, improvable and unknown readings, in words."""
    looked = len(found.findings)
    bad, better = len(found.of_state("bad")), len(found.of_state("could be better"))
    unknown = len(found.of_state("not known"))
    if not bad and not better:
        said = f"Nothing to change was found in {looked} readings"
    else:
        said = f"{bad} of {looked} readings {'is' if bad == 1 else 'are'} bad and {better} could be better"
    return f"{said}; {unknown} {'is' if unknown == 1 else 'are'} not known. Loopmark changes nothing by itself."


def diagnosis_as_json(found: Diagnosis) -> dict[str, Any]:
    """The diagnosis as strict JSON values."""
    return {**asdict(found), "conclusion": diagnosis_conclusion(found)}


def print_verification(found: Sequence[Verification], console: Console | None = None) -> None:
    """Print every loop's properties, and the explanation of each broken one."""
    console = as_wide_as(console, FILE_WIDTH)
    room = console.width if console.is_terminal else sys.maxsize  # a file has each sentence on one line
    for number, one in enumerate(found):
        print_lines([*([Text()] if number else []), *_verification(one, room)], console)


def _verification(one: Verification, room: int) -> Iterator[Text]:
    loop, workload, device = (elide(name, NAME_WIDTH) for name in (one.loop, one.workload, one.device))
    yield Text(f"{loop} on {workload}, {device}", "bold")
    width = max((len(outcome.name) for outcome in one.outcomes), default=0)
    seen = [outcome for outcome in one.outcomes if outcome.status != "not applicable"]
    for outcome in seen:
        yield from _beside(_marked(outcome.status, f"{outcome.name:{width}}{INDENT}"), outcome.statement, "dim", room)
        if outcome.status == "broken":
            yield from _wrapped(outcome.explanation, f"{INDENT}{' ' * MARK_WIDTH}{INDENT}", "", room)
    unseen = grouped((outcome.explanation, outcome.name) for outcome in one.outcomes if outcome not in seen)
    for reason, names in unseen.items():
        yield from _beside(_marked("not applicable", ""), f"{', '.join(names)}: {reason}", "dim", room)
    style = "bold red" if one.broken else "yellow" if one.skipped else "bold green"
    yield Text(verification_conclusion(one), style)


def verification_conclusion(one: Verification) -> str:
    """The verification of a loop, in one sentence."""
    name = elide(one.loop, NAME_WIDTH)
    if one.skipped is not None:
        return f"{name} cannot be verified here: {elide(one.skipped, LONGEST)}."
    if broken := one.broken:
        names = ", ".join(outcome.name for outcome in broken)
        return f"{name} breaks {len(broken)} of {len(one.outcomes)} properties of a training step: {names}."
    holding = sum(outcome.status == "holds" for outcome in one.outcomes)
    if holding < len(one.outcomes):
        of = len(one.outcomes)
        return f"{name} keeps the {holding} of {of} properties of a training step that could be checked."
    return f"{name} keeps all {holding} properties of a training step."


def verifications_as_json(found: Sequence[Verification]) -> dict[str, Any]:
    """The verifications as strict JSON values."""
    return {"loops": [{**asdict(one), "conclusion": verification_conclusion(one)} for one in found]}
