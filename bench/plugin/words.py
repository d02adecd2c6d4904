"""The plugin's findings, in one line each."""

from collections.abc import Sequence
from typing import Any

from loopmark.bench.judge.finding import Finding
from loopmark.bench.judge.settings import RATIO
from loopmark.bench.plugin.result import LoopResult
from loopmark.bench.report.format import percent, ratio, ratio_range, seconds, seconds_range

REVISION_DIGITS = 12


def summary(test: str, result: LoopResult, claims: Sequence[tuple[str, Finding]]) -> str:
    """``tests/test_speed.py::test_compile: 4.40 ms [4.31, 4.49] a step, 0.83x [0.80, 0.87] of eager; …``."""
    parts = [f"{seconds_range(result.step_seconds)} a step"]
    if result.ratio is not None:
        parts.append(f"{ratio_range(result.ratio)} of eager's")
    judged = [f"{finding.verdict} against {base}{_because(finding)}" for base, finding in claims]
    return f"{test}: {'; '.join([', '.join(parts), *judged])}"


def regression(base: str, finding: Finding) -> str:
    """Which loop is slower than what, by how much, and by how much it was allowed to be."""
    if finding.broken:
        return f"regression: {finding.loop} on {finding.workload} no longer trains, as {base} did{_because(finding)}"
    show, of = (ratio, "of eager's step") if finding.metric == RATIO else (seconds, "a step")
    more = f"that is {ratio_range(finding.change)}, where {percent(finding.threshold)} more is allowed"
    sides = f"takes {show(finding.head)} {of}, {base} took {show(finding.base)}"
    return f"regression: {finding.loop} on {finding.workload} {sides}: {more}{_because(finding)}"


def stored_run(run: dict[str, Any]) -> str:
    """A run of pytest-benchmark's, by its time and its commit."""
    when = str(run.get("datetime") or "an unknown time")[:19]
    commit = run.get("commit_info")
    revision = str(commit.get("id", "")) if isinstance(commit, dict) else ""
    known = revision and revision not in ("unversioned", "unknown")
    return f"the run of {when}{f' (commit {revision[:REVISION_DIGITS]})' if known else ''}"


def _because(finding: Finding) -> str:
    return f" ({finding.note})" if finding.note else ""
