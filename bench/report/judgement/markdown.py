"""A comparison as Markdown: what a CI job's summary shows, and a comment on a pull request may hold."""

from collections.abc import Iterable, Iterator

from loopmark.bench.judge.finding import Finding, Judgement
from loopmark.bench.report import claim
from loopmark.bench.report import format as show
from loopmark.bench.report.table import Cell, Column, Table, figure
from loopmark.bench.report.text import elide, markdown

MARKS = {"no regression": "✅", "regression": "❌", "inconclusive": "❔", "not comparable": "🚫"}
MOST_ROWS = 500
"""Of a table: a job's summary may hold 1 MiB, of which a row takes less than 1 KiB."""


def as_markdown(judgement: Judgement) -> str:
    """The conclusion, every finding, and all that was said beside them."""
    return "\n\n".join(filter(None, _parts(judgement))) + "\n"


def _parts(judgement: Judgement) -> Iterator[str]:
    yield f"## {MARKS[judgement.outcome]} loopmark {judgement.command}: {judgement.outcome}"
    yield markdown(claim.conclusion(judgement))
    sides = (("base", judgement.base), ("head", judgement.head))
    yield "\n".join(f"- {side}: {_short(text)}" for side, text in sides)
    deciding = [finding for finding in judgement.findings if finding.decides]
    yield _table(deciding)
    yield _list("Notes", (claim.note(finding) for finding in deciding if finding.note))
    yield _list("Differences", judgement.differences)
    yield _list("Warnings", judgement.warnings)
    yield _list("How it was compared", judgement.facts)
    shown_only = [finding for finding in judgement.findings if not finding.decides]
    if shown_only:
        yield f"<details><summary>Shown, without a say: {len(shown_only)}</summary>"
        yield _table(shown_only)
        yield "</details>"


def _table(findings: list[Finding]) -> str:
    table = Table(COLUMNS, findings[:MOST_ROWS]).as_markdown()
    left_out = len(findings) - MOST_ROWS
    return f"{table}\n\n… and {left_out} more; `--json` has all." if left_out > 0 else table


def _verdict(finding: Finding) -> Cell:
    return Cell(claim.word(finding), figure=True, strong=finding.decides and finding.verdict == "slower")


COLUMNS: tuple[Column[Finding], ...] = (
    Column("loop", claim.place),
    Column("metric", lambda finding: elide(finding.metric, claim.NAME_LENGTH)),
    Column("base", lambda finding: figure(claim.figure(finding, finding.base))),
    Column("head", lambda finding: figure(claim.figure(finding, finding.head))),
    Column("change", claim.change),
    Column("allowed", lambda finding: figure(show.percent(finding.threshold))),
    Column("verdict", _verdict),
)


def _list(heading: str, sentences: Iterable[str]) -> str:
    items = [f"- {_short(sentence)}" for sentence in sentences]
    return "\n".join([f"**{heading}**", "", *items]) if items else ""


def _short(text: str) -> str:
    return markdown(elide(text, claim.SENTENCE_LENGTH))
