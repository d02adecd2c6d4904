"""A judgement for people and for CI: in words, on the terminal, as JSON, Markdown, GitHub's annotations and JUnit."""

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
from loopmark.bench.report import show
from loopmark.bench.report.table import BULLET, Cell, Column, Table, as_wide_as, figure, print_lines, strict
from loopmark.bench.report.text import ELLIPSIS, elide, markdown, plain

NAME_LENGTH, SENTENCE_LENGTH = 60, 500
MOST_NAMED = 3
FILE_WIDTH = 110
STYLES = {"faster": "green", "slower": "red", "broken": "red", "inconclusive": "yellow"}
OUTCOME_STYLES = {"no regression": "bold green", "regression": "bold red"}


def word(finding: Finding) -> str:
    """The verdict; ``not slower`` for an inconclusive one that is the same or faster, ``broken`` for no figure."""
    if finding.broken:
        return "broken"
    return "not slower" if finding.verdict == "inconclusive" and not finding.may_be_slower else finding.verdict


def change(finding: Finding) -> str:
    """``+2.1 % [+0.3, +4.0]``: the head's figure relative to the base's."""
    return show.overhead_range(finding.change)


def amount(finding: Finding, value: float | None) -> str:
    """``value`` in the metric's unit."""
    return {"seconds": show.seconds, "bytes": show.data, "ratio": show.ratio}[finding.unit](value)


def allowed(finding: Finding) -> str:
    """``5.0 %``: the slowdown that is allowed; ``any`` for a finding that decides nothing."""
    if not finding.decides:
        return "any"
    return show.percent(finding.threshold) if finding.threshold else "0 %"


def title(finding: Finding) -> str:
    """The workload, loop and metric of a finding, on one short line."""
    return f"{place(finding)}: {elide(finding.metric, NAME_LENGTH)}"


def place(finding: Finding) -> str:
    """The workload and loop of a finding, on one short line."""
    return f"{elide(finding.workload, NAME_LENGTH)}, {elide(finding.loop, NAME_LENGTH)}"


def note(finding: Finding) -> str:
    """A finding's remark beyond its figures, with its name; empty for most."""
    if finding.note is None:
        return ""
    return f"{place(finding) if finding.broken else title(finding)}: {elide(finding.note, SENTENCE_LENGTH)}"


def sentence(finding: Finding) -> str:
    """A finding on one metric, in one plain sentence."""
    aside = f" ({elide(finding.note, SENTENCE_LENGTH)})" if finding.note else ""
    if finding.broken:
        return f"{place(finding)} is broken{aside}"
    figures = f"{amount(finding, finding.base)} → {amount(finding, finding.head)}"
    allowed = f"{show.percent(finding.threshold)} is allowed" if finding.threshold else "no more is allowed"
    said = "the same" if finding.verdict == "same" else word(finding)
    return f"{title(finding)} is {said}, {change(finding)} ({figures}; {allowed}){aside}"


def conclusion(judgement: Judgement) -> str:
    """The outcome of the comparison, in one plain sentence."""
    outcome = judgement.outcome.capitalize()
    deciding = [finding for finding in judgement.findings if finding.decides]
    if judgement.refusal is not None:
        return f"{outcome}: {elide(judgement.refusal, SENTENCE_LENGTH)}"
    if judgement.outcome == "regression":
        named = "; ".join(map(sentence, judgement.regressions[:MOST_NAMED]))
        others = len(judgement.regressions) - MOST_NAMED
        return f"{outcome}: {named}{f'; and {others} more' if others > 0 else ''}."
    if judgement.outcome == "inconclusive":
        open_ = tuple(finding for finding in deciding if finding.may_be_slower)
        what = f"{len(open_)} of {len(deciding)} findings may be slower by more than is allowed"
        counts = f" An inconclusive outcome counts as a {judgement.inconclusive}." if judgement.inconclusive else ""
        # A note gives the reason for an unbounded figure, which a larger budget does not remove.
        hopeless = judgement.command == "ab" and all(finding.note for finding in open_)
        more = "give a larger --budget, or " if judgement.command == "ab" else "measure with more --launches, or "
        return f"{outcome}: {what}; {'' if hopeless else more}measure on an idle machine.{counts}"
    if judgement.outcome == "no regression":
        none = "the one finding is not" if len(deciding) == 1 else f"none of {len(deciding)} findings is"
        return f"{outcome}: {none} slower by more than is allowed."
    return f"{outcome}: no finding decides the outcome."


def print_judgement(judgement: Judgement, console: Console | None = None) -> None:
    """Print the findings and the conclusion, as wide as the terminal; a file counts as ``FILE_WIDTH`` wide."""
    console = as_wide_as(console, FILE_WIDTH)
    print_lines([*_lines(judgement, console.width), *_sentences(judgement)], console)


def _lines(judgement: Judgement, width: int) -> Iterator[Text]:
    """The sides, and the table of the findings on each loop."""
    for side, text in (("base", judgement.base), ("head", judgement.head)):
        yield Text(f"{side}  {elide(text, SENTENCE_LENGTH)}", "dim")
    yield Text()
    findings = [finding for finding in judgement.findings if _is_shown(finding)]
    table = Table(COLUMNS, findings).in_terminal(map(_name, findings), width, head="")
    if findings:
        yield from table.headings()
    for where, of_loop in groupby(findings, key=place):
        yield Text(where, "bold")
        yield from (table.line(_name(finding), finding) for finding in of_loop)
    yield Text()


def _name(finding: Finding) -> str:
    return f"{BULLET}{finding.metric}"


def _style(finding: Finding) -> str:
    return "" if finding.decides else "dim"


COLUMNS: tuple[Column[Finding], ...] = (
    Column("verdict", word, left=True, style=lambda one: _style(one) or STYLES.get(word(one), "")),
    Column("change", change, left=True, style=_style),
    Column("base", lambda finding: amount(finding, finding.base), style=_style),
    Column("head", lambda finding: amount(finding, finding.head), style=_style),
    Column("allowed", allowed, style=_style, lost=1),
)


def _sentences(judgement: Judgement) -> Iterator[Text]:
    yield from (Text(note(one), "dim") for one in judgement.findings if one.note and _is_shown(one))
    if unseen := sum(not _is_shown(finding) for finding in judgement.findings):
        phases = "1 phase" if unseen == 1 else f"{unseen} phases"
        said = f"not shown: {phases} without a sure change or an effect on the outcome; --json and --markdown have all"
        yield Text(said, "dim")
    yield from (Text(elide(fact, SENTENCE_LENGTH), "dim") for fact in judgement.facts)
    yield from (Text(f"differs: {elide(one, SENTENCE_LENGTH)}") for one in judgement.differences)
    yield from (Text(f"warning: {elide(one, SENTENCE_LENGTH)}", "yellow") for one in judgement.warnings)
    yield Text()
    yield Text(conclusion(judgement), OUTCOME_STYLES.get(judgement.outcome, "bold yellow"))


def _is_shown(finding: Finding) -> bool:
    """True if the terminal shows the finding: phases are many, so only a changed one gets a line."""
    return finding.decides or finding.metric == STEP or finding.verdict in ("slower", "faster")


def judgement_as_json(judgement: Judgement) -> dict[str, Any]:
    """The whole judgement: outcome, conclusion, findings, facts, differences and warnings."""
    findings = [{**asdict(one), "broken": one.broken, "may_be_slower": one.may_be_slower} for one in judgement.findings]
    told: dict[str, Any] = strict({**asdict(judgement), "findings": findings})
    del told["inconclusive"]
    said = {"outcome": judgement.outcome, "exit_status": judgement.exit_status}
    return {**said, "conclusion": conclusion(judgement), **told}


MARKS = {"no regression": "✅", "regression": "❌", "inconclusive": "❔", "not comparable": "🚫"}
MOST_ROWS = 500  # a job summary holds 1 MiB, and a row takes less than 1 KiB


def as_markdown(judgement: Judgement) -> str:
    """The conclusion, every finding, and all facts, differences and warnings."""
    return "\n\n".join(filter(None, _parts(judgement))) + "\n"


def _parts(judgement: Judgement) -> Iterator[str]:
    yield f"## {MARKS[judgement.outcome]} loopmark {judgement.command}: {judgement.outcome}"
    yield markdown(conclusion(judgement))
    yield f"- base: {_short(judgement.base)}\n- head: {_short(judgement.head)}"
    deciding = [finding for finding in judgement.findings if finding.decides]
    yield _pipe_table(deciding)
    yield _list("Notes", (note(finding) for finding in deciding if finding.note))
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
    Column("loop", place),
    Column("metric", lambda finding: elide(finding.metric, NAME_LENGTH)),
    Column("base", lambda finding: figure(amount(finding, finding.base))),
    Column("head", lambda finding: figure(amount(finding, finding.head))),
    Column("change", change),
    Column("allowed", lambda finding: figure(show.percent(finding.threshold))),
    Column("verdict", lambda one: Cell(word(one), figure=True, strong=one.decides and one.verdict == "slower")),
)


def _list(heading: str, sentences: Iterable[str]) -> str:
    items = [f"- {_short(sentence)}" for sentence in sentences]
    return "\n".join([f"**{heading}**", "", *items]) if items else ""


def _short(text: str) -> str:
    return markdown(elide(text, SENTENCE_LENGTH))


MOST_ANNOTATIONS = 10  # GitHub shows ten errors and ten warnings of a step, and drops the rest


def annotations(judgement: Judgement) -> list[str]:
    """One line for each regression, each open finding and each warning; one in all for a refusal."""
    name = f"loopmark {judgement.command}"
    if judgement.outcome == "not comparable":
        return [_command("error", f"{name}: not comparable", conclusion(judgement))]
    errors = [(f"{name}: {title(finding)}", sentence(finding)) for finding in judgement.regressions]
    warnings = [
        (f"{name}: {title(finding)}", sentence(finding))
        for finding in judgement.findings
        if finding.decides and finding.may_be_slower
    ]
    warnings += [(name, elide(warning, SENTENCE_LENGTH)) for warning in judgement.warnings]
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
        ET.SubElement(case, "error", type="not comparable", message=_text(conclusion(judgement)))
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
    said = _text(sentence(finding))
    if finding.verdict == "slower" or (finding.may_be_slower and open_fails):
        kind = "regression" if finding.verdict == "slower" else "inconclusive"
        ET.SubElement(case, "failure", type=kind, message=said).text = said
    elif finding.may_be_slower:
        ET.SubElement(case, "skipped", message=said)
    else:
        ET.SubElement(case, "system-out").text = said
    return case


def _text(text: str) -> str:
    line, most = _FORBIDDEN.sub("", plain(text)), SENTENCE_LENGTH * 2
    return line if len(line) <= most else line[: most - 1] + ELLIPSIS
