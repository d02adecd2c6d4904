"""What `loopmark doctor` found: what is worth changing with why and how, then a line for everything else."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from textwrap import wrap
from typing import Any

from rich.console import Console
from rich.text import Text

from loopmark.bench.records.checks import CheckResult, Diagnosis, State
from loopmark.bench.report.table import as_wide_as
from loopmark.bench.report.text import elide, plain

FILE_WIDTH, NARROWEST = 110, 30
NAME_WIDTH, LONGEST = 60, 500
INDENT = "  "
MARKS = {
    "bad": ("BAD", "bold red"),
    "could be better": ("better", "yellow"),
    "good": ("ok", "green"),
    "not known": ("?", "dim"),
}
MARK_WIDTH = max(len(mark) for mark, _ in MARKS.values())
NAME_COLUMN = 21
COLUMN = len(INDENT * 3) + MARK_WIDTH
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
    _print_wrapped(conclusion(found), "", _style(found), console)


def conclusion(found: Diagnosis) -> str:
    """What it comes to, in a sentence, and who is to change what."""
    looked = len(found.findings)
    bad, better = len(found.of_state("bad")), len(found.of_state("could be better"))
    unknown = len(found.of_state("not known"))
    if not bad and not better:
        said = f"Nothing to change was found in {looked} readings"
    else:
        said = f"Of {looked} readings {bad} {'is' if bad == 1 else 'are'} bad and {better} could be better"
    return f"{said}; {unknown} {'is' if unknown == 1 else 'are'} not known. Loopmark changes none of it by itself."


def as_json(found: Diagnosis) -> dict[str, Any]:
    """All of it as strict JSON values."""
    return {**asdict(found), "conclusion": conclusion(found)}


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
    mark, style = MARKS[finding.state]
    head = (
        Text(INDENT * 2).append(f"{mark:{MARK_WIDTH}}", style).append(f"{INDENT}{finding.name:{NAME_COLUMN}}{INDENT}")
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
    return wrap(elide(text, LONGEST), max(NARROWEST, min(console.width, FILE_WIDTH) - len(indent)))


SECTIONS: tuple[tuple[str, tuple[State, ...], Callable[[CheckResult, Console], None]], ...] = (
    ("Worth changing", ("bad", "could be better"), _print_advice),
    ("Good, or nothing to change", ("good",), _print_reading),
    ("Not known", ("not known",), _print_reading),
)
