"""A comparison as JUnit XML, which every CI can show: a test case for each finding that decides."""

import re
from xml.etree import ElementTree as ET

from loopmark.bench.judge.finding import Finding, Judgement
from loopmark.bench.report import claim
from loopmark.bench.report.text import plain

_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 may not hold, not even as an entity."""


def as_junit(judgement: Judgement) -> bytes:
    """The XML document, in UTF-8: a regression is a failure, a refusal an error.

    A finding left open is skipped, or a failure where an inconclusive outcome counts as one.
    """
    deciding = [finding for finding in judgement.findings if finding.decides]
    suite = ET.Element("testsuite", name=f"loopmark {judgement.command}")
    properties = ET.SubElement(suite, "properties")
    for name, value in _properties(judgement):
        ET.SubElement(properties, "property", name=name, value=_text(value))
    for finding in deciding:
        suite.append(_case(finding, open_fails=judgement.inconclusive == "fail"))
    if judgement.outcome == "not comparable":
        case = ET.SubElement(suite, "testcase", classname="loopmark", name="comparable")
        ET.SubElement(case, "error", type="not comparable", message=_text(claim.conclusion(judgement)))
    counts = {
        "tests": len(suite.findall("testcase")),
        "failures": len(suite.findall("testcase/failure")),
        "errors": len(suite.findall("testcase/error")),
        "skipped": len(suite.findall("testcase/skipped")),
    }
    root = ET.Element("testsuites", name="loopmark")
    for element in (root, suite):
        for name, count in counts.items():
            element.set(name, str(count))
    root.append(suite)
    ET.indent(root)
    document: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return document + b"\n"


def _properties(judgement: Judgement) -> list[tuple[str, str]]:
    return [
        ("outcome", judgement.outcome),
        ("base", judgement.base),
        ("head", judgement.head),
        ("false alarms", f"{judgement.false_alarms:g}"),
        *(("fact", fact) for fact in judgement.facts),
        *(("difference", difference) for difference in judgement.differences),
        *(("warning", warning) for warning in judgement.warnings),
    ]


def _case(finding: Finding, *, open_fails: bool) -> ET.Element:
    name = _text(f"{finding.loop}: {finding.metric}")
    case = ET.Element("testcase", classname=_text(finding.workload) or "workload", name=name)
    said = _text(claim.sentence(finding))
    if finding.verdict == "slower":
        ET.SubElement(case, "failure", type="regression", message=said).text = said
    elif finding.may_be_slower and open_fails:
        ET.SubElement(case, "failure", type="inconclusive", message=said).text = said
    elif finding.may_be_slower:
        ET.SubElement(case, "skipped", message=said)
    else:
        ET.SubElement(case, "system-out").text = said
    return case


def _text(text: str) -> str:
    line = _FORBIDDEN.sub("", plain(text))
    return line if len(line) <= claim.SENTENCE_LENGTH * 2 else line[: claim.SENTENCE_LENGTH * 2 - 1] + "…"
