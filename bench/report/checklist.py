"""Checklists: what `loopmark doctor` found of a machine, and `loopmark verify` of a loop."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from textwrap import wrap
from typing import Any

from rich.console import Console
from rich.text import Text

from loopmark.bench.records.checks import CheckResult, Diagnosis, Outcome, State, Verification
from loopmark.bench.report.table import as_wide_as
from loopmark.bench.report.text import elide, plain

FILE_WIDTH, NARROWEST = 110, 30
NAME_WIDTH, LONGEST_READING = 60, 500
INDENT = "  "
DIAGNOSIS_MARKS = {
    "bad": ("BAD", "bold red"),
    "could be better": ("better", "yellow"),
    "good": ("ok", "green"),
    "not known": ("?", "dim"),
}
DIAGNOSIS_MARK_WIDTH = max(len(mark) for mark, _ in DIAGNOSIS_MARKS.values())
NAME_COLUMN = 21
COLUMN = len(INDENT * 3) + DIAGNOSIS_MARK_WIDTH
"""Where a finding's name begins, and the text below it."""


def print_diagnosis(found: Diagnosis, console: Console | None = None) -> None:
    """Print it, to the width of the terminal; commands stay in one piece, to be copied."""
    console = as_wide_as(FILE_WIDTH, console)
    console.print(Text(f"This machine, for loops on {elide(found.device, NAME_WIDTH)}", "bold"), soft_wrap=True)
    for title, states, show in SECTIONS:
        findings = [finding for state in states for finding in found.of_state(state)]
        if findings:
            console.print()
            console.print(Text(title, "bold"), soft_wrap=True)
        for area, of_area in _by_area(findings).items():
            console.print(Text(f"{INDENT}{area}", "dim"), soft_wrap=True)
            for finding in of_area:
                show(finding, console)
    console.print()
    _print_wrapped(diagnosis_conclusion(found), "", _style(found), console)


def diagnosis_conclusion(found: Diagnosis) -> str:
    """What it comes to, in a sentence, and who is to change what."""
    looked = len(found.findings)
    bad, better = len(found.of_state("bad")), len(found.of_state("could be better"))
    unknown = len(found.of_state("not known"))
    if not bad and not better:
        said = f"Nothing to change was found in {looked} readings"
    else:
        said = f"Of {looked} readings {bad} {'is' if bad == 1 else 'are'} bad and {better} could be better"
    return f"{said}; {unknown} {'is' if unknown == 1 else 'are'} not known. Loopmark changes none of it by itself."


def diagnosis_as_json(found: Diagnosis) -> dict[str, Any]:
    """All of it as strict JSON values."""
    return {**asdict(found), "conclusion": diagnosis_conclusion(found)}


def _by_area(findings: Sequence[CheckResult]) -> dict[str, list[CheckResult]]:
    areas: dict[str, list[CheckResult]] = {}
    for finding in findings:
        areas.setdefault(finding.area, []).append(finding)
    return areas


def _style(found: Diagnosis) -> str:
    return "bold red" if found.of_state("bad") else "yellow" if found.of_state("could be better") else "bold green"


def _print_advice(finding: CheckResult, console: Console) -> None:
    _print_reading(finding, console)
    deep = " " * COLUMN
    _print_wrapped(finding.why, deep, "dim", console)
    _print_wrapped(finding.remedy, deep, "", console)
    for command in finding.commands:
        console.print(Text(f"{deep}{INDENT}{plain(command)}", "cyan"), soft_wrap=True)


def _print_reading(finding: CheckResult, console: Console) -> None:
    """Its mark, name and reading; what does not fit goes on below."""
    mark, style = DIAGNOSIS_MARKS[finding.state]
    head = (
        Text(INDENT * 2)
        .append(f"{mark:{DIAGNOSIS_MARK_WIDTH}}", style)
        .append(f"{INDENT}{finding.name:{NAME_COLUMN}}{INDENT}")
    )
    below = " " * len(head)
    first, *rest = _wrapped(finding.reading, below, console) or [""]
    console.print(head.append(first), soft_wrap=True)
    for line in rest:
        console.print(Text(f"{below}{line}"), soft_wrap=True)


def _print_wrapped(text: str, indent: str, style: str, console: Console) -> None:
    for line in _wrapped(text, indent, console):
        console.print(Text(f"{indent}{line}", style), soft_wrap=True)


def _wrapped(text: str, indent: str, console: Console) -> list[str]:
    return wrap(elide(text, LONGEST_READING), max(NARROWEST, min(console.width, FILE_WIDTH) - len(indent)))


SECTIONS: tuple[tuple[str, tuple[State, ...], Callable[[CheckResult, Console], None]], ...] = (
    ("Worth changing", ("bad", "could be better"), _print_advice),
    ("Good, or nothing to change", ("good",), _print_reading),
    ("Not known", ("not known",), _print_reading),
)


FILE_WIDTH = 110
NAME_WIDTH, LONGEST = 60, 1200
MARKS = {"holds": ("ok", "green"), "broken": ("BROKEN", "bold red"), "not applicable": ("–", "dim")}
MARK_WIDTH = max(len(mark) for mark, _ in MARKS.values())


def print_verification(found: Sequence[Verification], console: Console | None = None) -> None:
    """Print every loop's properties, those that are broken with their explanation."""
    console = as_wide_as(FILE_WIDTH, console)
    for number, one in enumerate(found):
        if number:
            console.print()
        console.print(Text(_title(one), "bold"), soft_wrap=True)
        width = max((len(outcome.name) for outcome in one.outcomes), default=0)
        for outcome in one.outcomes:
            if outcome.status != "not applicable":
                _print_outcome(outcome, width, console)
        for reason, names in _not_applicable(one).items():
            mark, style = MARKS["not applicable"]
            line = Text(INDENT).append(f"{mark:{MARK_WIDTH}}", style).append(f"{INDENT}{', '.join(names)}: ")
            console.print(line.append(elide(reason, LONGEST), "dim"), soft_wrap=not console.is_terminal)
        style = "bold red" if one.broken else "yellow" if one.skipped else "bold green"
        console.print(Text(verification_conclusion(one), style), soft_wrap=not console.is_terminal)


def verification_conclusion(one: Verification) -> str:
    """What it comes to, in one sentence."""
    name = elide(one.loop, NAME_WIDTH)
    if one.skipped is not None:
        return f"{name} cannot be verified here: {elide(one.skipped, LONGEST)}."
    if broken := one.broken:
        names = ", ".join(outcome.name for outcome in broken)
        return f"{name} breaks {len(broken)} of {len(one.outcomes)} properties of a training step: {names}."
    holding = sum(outcome.status == "holds" for outcome in one.outcomes)
    if holding < len(one.outcomes):
        return (
            f"{name} keeps the {holding} of {len(one.outcomes)} properties of a training step that could be looked at."
        )
    return f"{name} keeps all {holding} properties of a training step."


def verifications_as_json(found: Sequence[Verification]) -> dict[str, Any]:
    """All of it as strict JSON values."""
    return {"loops": [{**asdict(one), "conclusion": verification_conclusion(one)} for one in found]}


def _title(one: Verification) -> str:
    return f"{elide(one.loop, NAME_WIDTH)} on {elide(one.workload, NAME_WIDTH)}, {elide(one.device, NAME_WIDTH)}"


def _not_applicable(one: Verification) -> dict[str, list[str]]:
    """The properties that could not be looked at, by the reason."""
    found: dict[str, list[str]] = {}
    for outcome in one.outcomes:
        if outcome.status == "not applicable":
            found.setdefault(outcome.explanation, []).append(outcome.name)
    return found


def _print_outcome(outcome: Outcome, width: int, console: Console) -> None:
    mark, style = MARKS[outcome.status]
    line = Text(INDENT).append(f"{mark:{MARK_WIDTH}}", style).append(f"{INDENT}{outcome.name:{width}}{INDENT}")
    console.print(line.append(elide(outcome.statement, LONGEST), "dim"), soft_wrap=not console.is_terminal)
    if outcome.status == "broken":
        said = Text(f"{INDENT}{' ' * MARK_WIDTH}{INDENT}").append(elide(outcome.explanation, LONGEST))
        console.print(said, soft_wrap=not console.is_terminal)
