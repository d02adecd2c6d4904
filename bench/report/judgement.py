"""A judgement for people and for CI: on the terminal, as JSON, Markdown, GitHub's annotations and JUnit XML."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from itertools import groupby
from typing import Any
from xml.etree import ElementTree as ET

from rich.console import Console
from rich.text import Text

from loopmark.bench.judge.finding import Finding, Judgement
from loopmark.bench.judge.settings import STEP
from loopmark.bench.report import claim, show
from loopmark.bench.report.table import NAME_WIDTH, Cell, Column, Table, as_wide_as, cut, figure, print_lines, strict
from loopmark.bench.report.text import ELLIPSIS, elide, markdown, plain

FILE_WIDTH = 110
METRIC_WIDTH = 16
STYLES = {"faster": "green", "slower": "red", "broken": "red", "inconclusive": "yellow"}
OUTCOME_STYLES = {"no regression": "bold green", "regression": "bold red"}


def print_judgement(judgement: Judgement, console: Console | None = None) -> None:
    """Print the findings and the conclusion, as wide as the terminal; a file counts as ``FILE_WIDTH`` wide."""
    console = as_wide_as(console, FILE_WIDTH)
    print_lines([*_lines(judgement, console.width), *_sentences(judgement)], console)


def _lines(judgement: Judgement, width: int) -> Iterator[Text]:
    """The table, none of its lines wider than ``width``."""
    for side, text in (("base", judgement.base), ("head", judgement.head)):
        yield cut(Text(f"{side}  {elide(text, claim.SENTENCE_LENGTH)}", "dim"), width)
    yield Text()
    findings = [finding for finding in judgement.findings if _is_shown(finding)]
    table = Table(COLUMNS, findings).in_terminal((finding.loop for finding in findings), width)
    for workload, of_workload in groupby(findings, key=lambda finding: finding.workload):
        yield cut(Text(elide(workload, NAME_WIDTH), "bold"), width)
        yield from table.headings()
        for loop, of_loop in groupby(of_workload, key=lambda finding: finding.loop):
            for number, finding in enumerate(of_loop):
                yield table.line(None if number else loop, finding)
        yield Text()


def _style(finding: Finding) -> str:
    return "" if finding.decides else "dim"


COLUMNS: tuple[Column[Finding], ...] = (
    Column("metric", lambda finding: elide(finding.metric, METRIC_WIDTH), left=True, style=_style),
    Column("verdict", claim.word, left=True, style=lambda one: _style(one) or STYLES.get(claim.word(one), "")),
    Column("change", claim.change, left=True, style=_style),
    Column("allowed", claim.allowed, style=_style),
    Column("base", lambda finding: claim.figure(finding, finding.base), style=_style),
    Column("head", lambda finding: claim.figure(finding, finding.head), style=_style),
)


def _sentences(judgement: Judgement) -> Iterator[Text]:
    """The lines below the table."""
    yield from (Text(claim.note(one), "dim") for one in judgement.findings if one.note and _is_shown(one))
    if unseen := sum(not _is_shown(finding) for finding in judgement.findings):
        phases = "1 phase" if unseen == 1 else f"{unseen} phases"
        said = f"not shown: {phases} without a sure change or an effect on the outcome; --json and --markdown have all"
        yield Text(said, "dim")
    yield from (Text(elide(fact, claim.SENTENCE_LENGTH), "dim") for fact in judgement.facts)
    yield from (Text(f"differs: {elide(one, claim.SENTENCE_LENGTH)}") for one in judgement.differences)
    yield from (Text(f"warning: {elide(one, claim.SENTENCE_LENGTH)}", "yellow") for one in judgement.warnings)
    yield Text()
    yield Text(claim.conclusion(judgement), OUTCOME_STYLES.get(judgement.outcome, "bold yellow"))


def _is_shown(finding: Finding) -> bool:
    """True if the terminal shows the finding: phases are many, so only a changed one gets a line."""
    return finding.decides or finding.metric == STEP or finding.verdict in ("slower", "faster")


def judgement_as_json(judgement: Judgement) -> dict[str, Any]:
    """The whole judgement: outcome, conclusion, findings, facts, differences and warnings."""
    findings = [{**asdict(one), "broken": one.broken, "may_be_slower": one.may_be_slower} for one in judgement.findings]
    told: dict[str, Any] = strict({**asdict(judgement), "findings": findings})
    del told["inconclusive"]
    said = {"outcome": judgement.outcome, "exit_status": judgement.exit_status}
    return {**said, "conclusion": claim.conclusion(judgement), **told}


MARKS = {"no regression": "✅", "regression": "❌", "inconclusive": "❔", "not comparable": "🚫"}
MOST_ROWS = 500  # a job summary holds 1 MiB, and a row takes less than 1 KiB


def as_markdown(judgement: Judgement) -> str:
    """The conclusion, every finding, and all facts, differences and warnings."""
    return "\n\n".join(filter(None, _parts(judgement))) + "\n"


def _parts(judgement: Judgement) -> Iterator[str]:
    yield f"## {MARKS[judgement.outcome]} loopmark {judgement.command}: {judgement.outcome}"
    yield markdown(claim.conclusion(judgement))
    yield f"- base: {_short(judgement.base)}\n- head: {_short(judgement.head)}"
    deciding = [finding for finding in judgement.findings if finding.decides]
    yield _pipe_table(deciding)
    yield _list("Notes", (claim.note(finding) for finding in deciding if finding.note))
    yield _list("Differences", judgement.differences)
    yield _list("Warnings", judgement.warnings)
    yield _list("How it was compared", judgement.facts)
    if shown_only := [finding for finding in judgement.findings if not finding.decides]:
        yield f"<details><summary>Shown only: {len(shown_only)}</summary>"
        yield _pipe_table(shown_only)
        yield "</details>"


def _pipe_table(findings: list[Finding]) -> str:
    table = Table(MARKDOWN_COLUMNS, findings[:MOST_ROWS]).as_markdown()
    left_out = len(findings) - MOST_ROWS
    return f"{table}\n\n… and {left_out} more; `--json` has all." if left_out > 0 else table


MARKDOWN_COLUMNS: tuple[Column[Finding], ...] = (
    Column("loop", claim.place),
    Column("metric", lambda finding: elide(finding.metric, claim.NAME_LENGTH)),
    Column("base", lambda finding: figure(claim.figure(finding, finding.base))),
    Column("head", lambda finding: figure(claim.figure(finding, finding.head))),
    Column("change", claim.change),
    Column("allowed", lambda finding: figure(show.percent(finding.threshold))),
    Column("verdict", lambda one: Cell(claim.word(one), figure=True, strong=one.decides and one.verdict == "slower")),
)


def _list(heading: str, sentences: Iterable[str]) -> str:
    items = [f"- {_short(sentence)}" for sentence in sentences]
    return "\n".join([f"**{heading}**", "", *items]) if items else ""


def _short(text: str) -> str:
    return markdown(elide(text, claim.SENTENCE_LENGTH))


MOST_ANNOTATIONS = 10  # GitHub shows ten errors and ten warnings of a step, and drops the rest


def annotations(judgement: Judgement) -> list[str]:
    """One line for each regression, each open finding and each warning; one in all for a refusal."""
    name = f"loopmark {judgement.command}"
    if judgement.outcome == "not comparable":
        return [_command("error", f"{name}: not comparable", claim.conclusion(judgement))]
    errors = [(f"{name}: {claim.title(finding)}", claim.sentence(finding)) for finding in judgement.regressions]
    warnings = [
        (f"{name}: {claim.title(finding)}", claim.sentence(finding))
        for finding in judgement.findings
        if finding.decides and finding.may_be_slower
    ]
    warnings += [(name, elide(warning, claim.SENTENCE_LENGTH)) for warning in judgement.warnings]
    return [*_commands("error", errors, name), *_commands("warning", warnings, name)]


def _commands(level: str, said: list[tuple[str, str]], name: str) -> list[str]:
    more = len(said) - MOST_ANNOTATIONS
    if more > 0:
        said = [*said[: MOST_ANNOTATIONS - 1], (name, f"and {more + 1} more; see the job's summary")]
    return [_command(level, title, message) for title, message in said]


def _command(level: str, title: str, message: str) -> str:
    """A workflow command by GitHub's own rules (actions/toolkit, core/src/command.ts)."""
    data = str.maketrans({"%": "%25", "\r": "%0D", "\n": "%0A"})
    end = str.maketrans({":": "%3A", ",": "%2C"})  # either would end the title
    return f"::{level} title={title.translate(data).translate(end)}::{message.translate(data)}"


_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""The characters that XML 1.0 forbids, even as entities."""


def as_junit(judgement: Judgement) -> bytes:
    """The XML document, in UTF-8: a regression is a failure, a refusal an error.

    An open finding is skipped, or a failure where an inconclusive outcome counts as one.
    """
    deciding = [finding for finding in judgement.findings if finding.decides]
    suite = ET.Element("testsuite", name=f"loopmark {judgement.command}")
    properties = ET.SubElement(suite, "properties")
    told = {"fact": judgement.facts, "difference": judgement.differences, "warning": judgement.warnings}
    facts = [
        ("outcome", judgement.outcome),
        ("base", judgement.base),
        ("head", judgement.head),
        ("false alarms", f"{judgement.false_alarms:g}"),
        *((name, text) for name, texts in told.items() for text in texts),
    ]
    for name, value in facts:
        ET.SubElement(properties, "property", name=name, value=_text(value))
    for finding in deciding:
        suite.append(_case(finding, open_fails=judgement.inconclusive == "fail"))
    if judgement.outcome == "not comparable":
        case = ET.SubElement(suite, "testcase", classname="loopmark", name="comparable")
        ET.SubElement(case, "error", type="not comparable", message=_text(claim.conclusion(judgement)))
    paths = {"tests": "", "failures": "/failure", "errors": "/error", "skipped": "/skipped"}
    counts = {name: len(suite.findall(f"testcase{path}")) for name, path in paths.items()}
    root = ET.Element("testsuites", name="loopmark")
    for element in (root, suite):
        for name, count in counts.items():
            element.set(name, str(count))
    root.append(suite)
    ET.indent(root)
    document: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return document + b"\n"


def _case(finding: Finding, *, open_fails: bool) -> ET.Element:
    name = _text(f"{finding.loop}: {finding.metric}")
    case = ET.Element("testcase", classname=_text(finding.workload) or "workload", name=name)
    said = _text(claim.sentence(finding))
    if finding.verdict == "slower" or (finding.may_be_slower and open_fails):
        kind = "regression" if finding.verdict == "slower" else "inconclusive"
        ET.SubElement(case, "failure", type=kind, message=said).text = said
    elif finding.may_be_slower:
        ET.SubElement(case, "skipped", message=said)
    else:
        ET.SubElement(case, "system-out").text = said
    return case


def _text(text: str) -> str:
    line, most = _FORBIDDEN.sub("", plain(text)), claim.SENTENCE_LENGTH * 2
    return line if len(line) <= most else line[: most - 1] + ELLIPSIS
