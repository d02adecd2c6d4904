"""A comparison as strict JSON values in base units; null where nothing was measured or bounds it."""

import math
from dataclasses import asdict
from typing import Any

from loopmark.bench.judge.finding import Finding, Judgement
from loopmark.bench.report import claim


def as_json(judgement: Judgement) -> dict[str, Any]:
    """The whole judgement: what was found, what it comes to, and all that was said beside it."""
    return {
        "command": judgement.command,
        "outcome": judgement.outcome,
        "exit_status": judgement.exit_status,
        "conclusion": claim.conclusion(judgement),
        "refusal": judgement.refusal,
        "base": judgement.base,
        "head": judgement.head,
        "false_alarms": judgement.false_alarms,
        "findings": [_finding(finding) for finding in judgement.findings],
        "facts": list(judgement.facts),
        "differences": list(judgement.differences),
        "warnings": list(judgement.warnings),
    }


def _finding(finding: Finding) -> dict[str, Any]:
    words = {"broken": finding.broken, "may_be_slower": finding.may_be_slower}
    return {name: _strict(value) for name, value in asdict(finding).items()} | words


def _strict(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _strict(part) for key, part in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
