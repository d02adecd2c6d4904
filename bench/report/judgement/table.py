"""The table that a comparison ends with, laid out for the width of the terminal at hand."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby

from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from loopmark.bench.judge.finding import Finding, Judgement
from loopmark.bench.judge.settings import STEP
from loopmark.bench.report import claim
from loopmark.bench.report.table import as_wide_as
from loopmark.bench.report.text import elide

FILE_WIDTH = 110
NAME_WIDTH, METRIC_WIDTH = 30, 16
GAP = "  "
STYLES = {"faster": "green", "slower": "red", "broken": "red", "inconclusive": "yellow"}
OUTCOME_STYLES = {"no regression": "bold green", "regression": "bold red"}


@dataclass(frozen=True)
class Column:
    """One column: what heads it, and what a finding says in it."""

    heading: str
    cell: Callable[[Finding], str]
    left: bool = False


COLUMNS: tuple[Column, ...] = (
    Column("metric", lambda finding: elide(finding.metric, METRIC_WIDTH), left=True),
    Column("verdict", claim.word, left=True),
    Column("change", claim.change, left=True),
    Column("allowed", claim.allowed),
    Column("base", lambda finding: claim.figure(finding, finding.base)),
    Column("head", lambda finding: claim.figure(finding, finding.head)),
)
"""In the order in which they are shown; a terminal too narrow for all loses them from the end."""


def print_judgement(judgement: Judgement, console: Console | None = None) -> None:
    """Print the findings and the conclusion, as wide as the terminal; a file counts as ``FILE_WIDTH`` wide."""
    console = as_wide_as(FILE_WIDTH, console)
    console.print(JudgementTable(judgement))
    # In a file a sentence is one line; a terminal breaks it at its own width.
    broken_by_itself = not console.is_terminal
    for sentence, style in _sentences(judgement):
        console.print(Text(sentence, style), soft_wrap=broken_by_itself)


class JudgementTable:
    """The findings of a comparison: print it on a ``rich`` console of any width."""

    def __init__(self, judgement: Judgement) -> None:
        self._judgement = judgement

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """One ``Text`` a line, none wider than the console; nothing in it is read as markup."""
        width, findings = options.max_width, [f for f in self._judgement.findings if _is_shown(f)]
        for side, text in (("base", self._judgement.base), ("head", self._judgement.head)):
            yield _cut(Text(f"{side}{GAP}{elide(text, claim.SENTENCE_LENGTH)}", "dim"), width)
        yield Text()
        names = [elide(finding.loop, NAME_WIDTH) for finding in findings]
        name_width = max((cell_len(name) for name in [*names, "loop"]), default=0)
        shown = _fitting(findings, width - name_width)
        for workload, group in groupby(findings, key=lambda finding: finding.workload):
            yield _cut(Text(elide(workload, NAME_WIDTH), "bold"), width)
            yield _cut(_headings(shown, name_width), width)
            yield from (_cut(line, width) for line in _rows(list(group), shown, name_width))
            yield Text()


def _sentences(judgement: Judgement) -> Iterator[tuple[str, str]]:
    """Everything below the table, each on a line of its own, with its style."""
    for finding in judgement.findings:
        if finding.note and _is_shown(finding):
            yield claim.note(finding), "dim"
    unseen = sum(not _is_shown(finding) for finding in judgement.findings)
    if unseen:
        phases = "1 phase that has" if unseen == 1 else f"{unseen} phases that have"
        yield f"not shown: {phases} no say and of which no change is sure; --json and --markdown have all", "dim"
    for fact in judgement.facts:
        yield elide(fact, claim.SENTENCE_LENGTH), "dim"
    for difference in judgement.differences:
        yield f"differs: {elide(difference, claim.SENTENCE_LENGTH)}", ""
    for warning in judgement.warnings:
        yield f"warning: {elide(warning, claim.SENTENCE_LENGTH)}", "yellow"
    yield "", ""
    yield claim.conclusion(judgement), OUTCOME_STYLES.get(judgement.outcome, "bold yellow")


def _is_shown(finding: Finding) -> bool:
    """Whether the terminal has room for it: phases are many, and only those that changed are worth a line."""
    return finding.decides or finding.metric == STEP or finding.verdict in ("slower", "faster")


def _rows(findings: list[Finding], shown: dict[Column, int], name_width: int) -> Iterator[Text]:
    for loop, group in groupby(findings, key=lambda finding: finding.loop):
        for number, finding in enumerate(group):
            line = Text(set_cell_size("" if number else elide(loop, NAME_WIDTH), name_width))
            for column, size in shown.items():
                line.append(GAP)
                line.append(_fit(column.cell(finding), size, column.left), _style(column, finding))
            yield line


def _style(column: Column, finding: Finding) -> str:
    if not finding.decides:
        return "dim"
    return STYLES.get(claim.word(finding), "") if column.cell is claim.word else ""


def _headings(shown: dict[Column, int], name_width: int) -> Text:
    cells = [_fit(column.heading, size, column.left) for column, size in shown.items()]
    return Text(GAP.join(["loop".ljust(name_width), *cells]), "dim")


def _fitting(findings: list[Finding], room: int) -> dict[Column, int]:
    shown: dict[Column, int] = {}
    for column in COLUMNS:
        width = max(cell_len(text) for text in (column.heading, *map(column.cell, findings)))
        room -= width + len(GAP)
        if room < 0:
            break
        shown[column] = width
    return shown


def _fit(text: str, width: int, left: bool) -> str:
    padding = " " * (width - cell_len(text))
    return text + padding if left else padding + text


def _cut(line: Text, width: int) -> Text:
    line.rstrip()
    line.truncate(width, overflow="ellipsis")
    line.no_wrap = True
    return line
