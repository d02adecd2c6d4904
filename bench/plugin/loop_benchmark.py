"""The ``loop_benchmark`` fixture: a function that measures a loop, and fails the test if the loop is slower."""

import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import Any, NoReturn, get_args

import pytest

from loopmark.bench.errors import BadInput
from loopmark.bench.judge.comparison import Verdict
from loopmark.bench.judge.finding import Finding, Inconclusive
from loopmark.bench.judge.settings import parse_false_alarms, parse_share
from loopmark.bench.judge.statistics import Estimate
from loopmark.bench.plugin import BASELINE_OPTION, INCONCLUSIVE, SESSION
from loopmark.bench.plugin.findings import ExtraInfo, against_loop, against_stored, confidence_of, read_extra_info
from loopmark.bench.plugin.measurement import Measurement, Stop, measure, try_loops
from loopmark.bench.plugin.rows import LoopmarkWarning, Rows
from loopmark.bench.report.show import percent, ratio, ratio_range, seconds, seconds_range

REVISION_DIGITS = 12
_OPTION = re.compile(r"--([a-z][a-z-]*)")
_IN_PYTHON = {"budget": "seconds"}


@dataclass(frozen=True)
class LoopResult:
    """A measured loop. If benchmarks are disabled, it was only tried: no figures, and ``measured`` is False."""

    workload: str
    loop: str
    step_seconds: Estimate | None = None  # seconds per training step, with the 95 % interval over launches
    phases: Mapping[str, float] = field(default_factory=dict)  # seconds in a typical step; on a GPU, the device's
    ratio: Estimate | None = None  # its step over the baseline's, 1.02 for 2 % longer; None for the baseline itself
    against: Finding | None = None  # the comparison with the loop `against`; None if none was given
    baseline: str = "eager"  # the loop that the ratio is to

    @property
    def measured(self) -> bool:
        """True if there are figures."""
        return self.step_seconds is not None

    @property
    def verdict(self) -> Verdict | None:
        """The verdict of the comparison with ``against``: slower, faster, same or inconclusive."""
        return self.against.verdict if self.against else None


class LoopBenchmark:
    """Measures one loop for one test."""

    def __init__(self, item: pytest.Item, table: Rows) -> None:
        self._item, self._table, self._used = item, table, False
        self._session = item.config.stash[SESSION]

    def __call__(
        self,
        workload: str,
        loop: str = "eager",
        *,
        against: str | None = None,
        baseline: str | None = None,
        device: str | None = None,
        size: str | None = None,
        batch_size: int | None = None,
        seconds: float = 2.0,
        launches: int = 5,
        seed: int = 0,
        threads: int | None = None,
        limit_seconds: float = 300.0,
        threshold: float = 0.05,
        false_alarms: float = 0.01,
    ) -> LoopResult:
        """Measure ``loop`` on ``workload``, named as on the command line, in turns with the baseline.

        The test fails if the loop is slower by more than ``threshold`` than the loop ``against``, or than the same test
        in a stored run that pytest-benchmark compares with. It is skipped if this machine lacks something that the loop
        needs. If the interval does not show on which side of the threshold the loop is, it warns, or fails by pytest's
        option ``--loopmark-inconclusive=fail``. If benchmarks are disabled, only a few steps are tried.

        Args:
            workload: ``"resnet"``, or ``"path/to/file.py:make_task"`` from pytest's root folder.
            loop: techniques joined by ``+``, ``"path/to/file.py:step"``, or both.
            against: the loop to compare with, which the verdict is about.
            baseline: the loop that ratios are to; by default that of pytest's option ``--loopmark-baseline``, or eager.
            device: ``"cpu"``, ``"cuda"`` or ``"cuda:1"``; by default a GPU if there is one.
            size: ``"small"`` or ``"large"``; by default small on a CPU and large on a GPU.
            batch_size: samples per step; by default the workload's own.
            seconds: sampling time per loop, over all launches.
            launches: fresh processes per loop; a single one gives figures but no verdict.
            seed: the seed of weights, batches and the order of turns.
            threads: threads and cores; by default one per physical core.
            limit_seconds: the time after which a start counts as hung.
            threshold: the allowed slowdown of a step as a share, 0.05 for 5 %.
            false_alarms: the chance that this test fails although nothing changed.
        """
        if self._used:
            _fail(f"loop_benchmark measures one loop per test, and {self._item.name} calls it again; parametrize it")
        self._used = True
        root = self._item.config.rootpath
        named = {"workload": workload, "loop": loop, "against": against, "baseline": baseline}
        if (fault := not_a_name({**named, "device": device, "size": size}, root)) is not None:
            _fail(fault)
        options = {
            "command": ["pytest", self._item.nodeid],
            "workloads": [rooted(workload, root)],
            "loops": [rooted(spec, root) for spec in (loop, against) if spec is not None],
            "baseline": rooted(self._item.config.getoption(BASELINE_OPTION) if baseline is None else baseline, root),
            "device": device,
            "size": size,
            "batch_size": batch_size,
            "budget_seconds": seconds,
            "launches": launches,
            "seed": seed,
            "threads": threads,
            "limit_seconds": limit_seconds,
            "quick": True,  # with the options above given, this only shortens the longest warm-up
        }
        try:
            share = parse_share(threshold, "threshold")
            return self._carry_out(options, against, share, parse_false_alarms(false_alarms, "false_alarms"))
        except (BadInput, Stop) as error:
            self._table.leave_out()
            if isinstance(error, Stop) and error.skipped:
                pytest.skip(error.reason)
            _fail(in_python(str(error)))

    def _carry_out(
        self, options: dict[str, Any], named_against: str | None, threshold: float, false_alarms: float
    ) -> LoopResult:
        from loopmark.bench.measure.plan import PlanOptions, make_plan
        from loopmark.loops.catalog import find_loop, find_workload

        fails_if_inconclusive, plan = self._fails_if_inconclusive(), make_plan(PlanOptions(**options))
        loop, *others = [find_loop(spec).name for spec in options["loops"]]
        against = others[0] if others else None
        if loop == against:
            raise BadInput(f"against={named_against!r} is the loop itself; give another, such as 'eager'")
        if self._table.disabled:
            try_loops(plan)
            self._table.leave_out()
            return LoopResult(find_workload(plan.workloads[0]).name, loop, baseline=plan.baseline)
        measured = measure(plan, self._session)
        extra = ExtraInfo.of(measured, loop)
        self._table.keep(measured, extra)
        findings = self._findings(measured, extra, against, threshold, false_alarms)
        row = measured.rows[loop]
        result = LoopResult(
            workload=extra.workload,
            loop=loop,
            step_seconds=row.step_seconds,
            phases=row.phases,
            ratio=row.speedup.map(lambda speedup: 1 / speedup if speedup else float("inf")) if row.speedup else None,
            against=findings[0][1] if against is not None else None,
            baseline=plan.baseline,
        )
        self._session.lines.append(summary(self._item.nodeid, result, findings))
        self._session.phases[self._item.nodeid] = row.phases
        unseen = [told(base, finding) for base, finding in findings if finding.may_be_slower]
        faults = [told(base, finding) for base, finding in findings if finding.verdict == "slower"]
        if fails_if_inconclusive:
            faults += unseen
        if faults:
            _fail("; ".join(faults))
        for text in unseen:
            warnings.warn(LoopmarkWarning(text), stacklevel=1)
        return result

    def _fails_if_inconclusive(self) -> bool:
        config = self._item.config
        choice = config.getoption(INCONCLUSIVE) or config.getini(INCONCLUSIVE)
        if choice not in get_args(Inconclusive):
            raise BadInput(f"{INCONCLUSIVE} should be pass or fail, not {choice!r}")
        return bool(choice == "fail")

    def _findings(
        self, measured: Measurement, extra: ExtraInfo, against: str | None, threshold: float, false_alarms: float
    ) -> list[tuple[str, Finding]]:
        """Every finding of the test with the name of its base, the one on ``against`` first."""
        stored = [
            (stored_run(run), before)
            for run in self._session.stored
            for benchmark in run.get("benchmarks", ())
            if benchmark.get("fullname") == self._item.nodeid and (before := read_extra_info(benchmark)) is not None
        ]
        confidence = confidence_of(false_alarms, len(stored) + (against is not None))
        findings = []
        if against is not None:
            findings.append((against, against_loop(measured, extra.loop, against, threshold, confidence)))
        for base, before in stored:
            found = before if isinstance(before, str) else against_stored(extra, before, threshold, confidence)
            if isinstance(found, str):
                text = f"{self._item.nodeid} is not compared with {base}: {found}"
                warnings.warn(LoopmarkWarning(text), stacklevel=1)
            else:
                findings.append((base, found))
        return findings


def _fail(text: str) -> NoReturn:
    pytest.fail(text, pytrace=False)


def rooted(spec: str, root: Path) -> str:
    """``spec`` with the absolute path of a file below ``root``, since tests run from any folder."""
    place, colon, name = spec.partition(":")
    return f"{root / place}{colon}{name}" if place.endswith(".py") and (root / place).is_file() else spec


def not_a_name(given: Mapping[str, object], root: Path) -> str | None:
    """The sentence that refuses the first argument that is an object in a name's place; None if all are names."""
    for what, value in given.items():
        if value is not None and not isinstance(value, str):
            name, code = getattr(value, "__qualname__", ""), getattr(value, "__code__", None)
            example = {"workload": "resnet", "device": "cpu", "size": "small"}.get(what, "eager")
            if code and name.isidentifier() and Path(code.co_filename).is_relative_to(root):
                example = f"{Path(code.co_filename).relative_to(root)}:{name}"
            kind = type(value).__name__
            return f"{what} is an object ({kind}); loops run in their own processes: give a name, such as {example!r}"
    return None


def in_python(text: str) -> str:
    """``text`` with command-line options renamed to the fixture's parameters: ``--batch-size`` to batch_size."""
    return _OPTION.sub(lambda match: _IN_PYTHON.get(match[1], match[1].replace("-", "_")), text)


def summary(test: str, result: LoopResult, findings: Sequence[tuple[str, Finding]]) -> str:
    """``tests/test_speed.py::test_compile: 4.40 ms [4.31, 4.49] a step, 0.83x [0.80, 0.87] of eager; …``."""
    parts = [f"{seconds_range(result.step_seconds)} a step"]
    if result.ratio is not None:
        parts.append(f"{ratio_range(result.ratio)} of {result.baseline}'s")
    judged = [f"{finding.verdict} against {base}{_because(finding)}" for base, finding in findings]
    return f"{test}: {'; '.join([', '.join(parts), *judged])}"


def told(base: str, finding: Finding) -> str:
    """A regression or an inconclusive comparison: the loop, its base, the slowdown, and the allowed slowdown."""
    if finding.verdict == "inconclusive" and finding.change is None:
        return f"inconclusive: {finding.loop} on {finding.workload} against {base}{_because(finding)}"
    if finding.broken:
        return f"regression: {finding.loop} on {finding.workload} no longer trains, as {base} did{_because(finding)}"
    to = finding.metric.removeprefix("step / ")
    show, of = (ratio, f"of {to}'s step") if finding.unit == "ratio" else (seconds, "a step")
    more = f"that is {ratio_range(finding.change)}, where {percent(finding.threshold)} more is allowed"
    sides = f"takes {show(finding.head)} {of}, {base} took {show(finding.base)}"
    text = f"{finding.loop} on {finding.workload} {sides}: {more}{_because(finding)}"
    if finding.verdict == "slower":
        return f"regression: {text}"
    open_ended = finding.change is None or not finding.change.low <= 1 + finding.threshold < finding.change.high < inf
    return f"inconclusive: {text}" + ("" if open_ended else "; give more seconds= or launches= to see which side it is")


def stored_run(run: dict[str, Any]) -> str:
    """The time and commit of a stored run of pytest-benchmark, as its name."""
    when = str(run.get("datetime") or "an unknown time")[:19]
    commit = run.get("commit_info")
    revision = str(commit.get("id", "")) if isinstance(commit, dict) else ""
    known = revision and revision not in ("unversioned", "unknown")
    return f"the run of {when}{f' (commit {revision[:REVISION_DIGITS]})' if known else ''}"


def _because(finding: Finding) -> str:
    return f" ({finding.note})" if finding.note else ""
