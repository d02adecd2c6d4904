"""What was found of each loop: a line a property, and what it comes to in one sentence."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.text import Text

from loopmark.bench.records.checks import Outcome, Verification
from loopmark.bench.report.table import as_wide_as
from loopmark.bench.report.text import elide

FILE_WIDTH = 110
NAME_WIDTH, LONGEST = 60, 1200
INDENT = "  "
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
        console.print(Text(conclusion(one), style), soft_wrap=not console.is_terminal)


def conclusion(one: Verification) -> str:
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


def as_json(found: Sequence[Verification]) -> dict[str, Any]:
    """All of it as strict JSON values."""
    return {"loops": [{**asdict(one), "conclusion": conclusion(one)} for one in found]}


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
