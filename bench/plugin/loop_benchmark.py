"""What the fixture ``loop_benchmark`` is: a function that measures a loop, and fails the test that it slows down."""

import warnings
from typing import NoReturn

import pytest

from loopmark.bench.errors import BadInput
from loopmark.bench.judge.comparison import BASELINE
from loopmark.bench.judge.finding import Finding
from loopmark.bench.judge.settings import parse_false_alarms, parse_share
from loopmark.bench.plugin import words
from loopmark.bench.plugin.claims import against_loop, against_stored, confidence_of
from loopmark.bench.plugin.kept import Kept, read_kept
from loopmark.bench.plugin.measurement import Measurement, Stop, measure
from loopmark.bench.plugin.result import LoopResult
from loopmark.bench.plugin.session import SESSION
from loopmark.bench.plugin.smoke import smoke
from loopmark.bench.plugin.table import LoopmarkWarning, Table
from loopmark.bench.plugin.wanted import Wanted, in_python


class LoopBenchmark:
    """Measures one loop for one test."""

    def __init__(self, item: pytest.Item, table: Table) -> None:
        self._item, self._table, self._used = item, table, False
        self._session = item.config.stash[SESSION]

    def __call__(
        self,
        workload: str,
        loop: str = BASELINE,
        *,
        against: str | None = None,
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
        """Measure ``loop`` on ``workload``, each named as on the command line, beside eager in turns.

        The test fails when the loop is slower, by more than ``threshold``, than the loop ``against``, or than the
        same test of a run that pytest-benchmark is told to compare with. It is skipped where this machine lacks
        something that the loop needs. Where benchmarks are disabled, a handful of steps is tried instead.

        Args:
            workload: ``"resnet"``, or ``"path/to/file.py:make_task"`` from pytest's root folder.
            loop: techniques joined by ``+``, ``"path/to/file.py:step"``, or both.
            against: a loop that must not be faster by more than the threshold.
            device: ``"cpu"``, ``"cuda"`` or ``"cuda:1"``; by default a GPU where there is one.
            size: ``"small"`` or ``"large"``; by default small on a CPU and large on a GPU.
            batch_size: samples a step; by default the workload's own.
            seconds: of sampling, a loop, over all launches.
            launches: fresh processes, a loop; one alone gives figures and no verdict.
            seed: of weights, batches and the order of turns.
            threads: threads and cores; by default one a physical core.
            limit_seconds: how long a start may take before it counts as hung.
            threshold: the share by which a step may be longer, 0.05 for 5 %.
            false_alarms: the chance that this test fails with nothing changed.
        """
        if self._used:
            _fail(f"loop_benchmark measures one loop a test, and {self._item.name} asks for another; parametrize it")
        self._used = True
        try:
            wanted = Wanted(
                test=self._item.nodeid,
                workload=workload,
                loop=loop,
                against=against,
                device=device,
                size=size,
                batch_size=batch_size,
                seconds=seconds,
                launches=launches,
                seed=seed,
                threads=threads,
                limit_seconds=limit_seconds,
                threshold=parse_share(threshold, "threshold"),
                false_alarms=parse_false_alarms(false_alarms, "false_alarms"),
            )
            return self._carry_out(wanted)
        except BadInput as error:
            self._table.leave_out()
            _fail(in_python(str(error)))
        except Stop as stop:
            self._table.leave_out()
            if stop.skipped:
                pytest.skip(stop.reason)
            _fail(in_python(stop.reason))

    def _carry_out(self, wanted: Wanted) -> LoopResult:
        root = self._item.config.rootpath
        plan = wanted.plan(root)
        names = wanted.names(root)
        if self._table.disabled:
            smoke(plan)
            self._table.leave_out()
            return LoopResult(names.workload, names.loop)
        measured = measure(plan, self._session)
        kept = Kept.of(measured, names.loop)
        self._table.keep(measured, kept)
        claims = self._claims(wanted, names.against, measured, kept)
        result = _result(measured, kept, claims[0][1] if names.against is not None else None)
        self._session.lines.append(words.summary(self._item.nodeid, result, claims))
        regressions = [words.regression(base, finding) for base, finding in claims if finding.verdict == "slower"]
        if regressions:
            _fail("; ".join(regressions))
        return result

    def _claims(
        self, wanted: Wanted, against: str | None, measured: Measurement, kept: Kept
    ) -> list[tuple[str, Finding]]:
        """Every claim that the test rests on, the one on ``against`` first, each with what it is held against."""
        stored = list(self._stored())
        confidence = confidence_of(wanted.false_alarms, len(stored) + (against is not None))
        claims = []
        if against is not None:
            claims.append((against, against_loop(measured, kept.loop, against, wanted.threshold, confidence)))
        for base, before in stored:
            found = before if isinstance(before, str) else against_stored(kept, before, wanted.threshold, confidence)
            if isinstance(found, str):
                text = f"{self._item.nodeid} is not compared with {base}: {found}"
                warnings.warn(LoopmarkWarning(text), stacklevel=1)
            else:
                claims.append((base, found))
        return claims

    def _stored(self) -> list[tuple[str, Kept | str]]:
        """This test as each stored run has it, with the run's description; a reason where it cannot be read."""
        return [
            (words.stored_run(run), kept)
            for run in self._session.stored
            for benchmark in run.get("benchmarks", ())
            if benchmark.get("fullname") == self._item.nodeid and (kept := read_kept(benchmark)) is not None
        ]


def _result(measured: Measurement, kept: Kept, against: Finding | None) -> LoopResult:
    row = measured.rows[kept.loop]
    return LoopResult(
        workload=kept.workload,
        loop=kept.loop,
        step_seconds=row.step_seconds,
        phases=row.phases,
        ratio=row.speedup.map(lambda speedup: 1 / speedup if speedup else float("inf")) if row.speedup else None,
        against=against,
    )


def _fail(text: str) -> NoReturn:
    pytest.fail(text, pytrace=False)
