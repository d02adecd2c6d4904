"""A measurement held to its verdict: what ``ab`` and ``calibrate`` share."""

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from loopmark.bench.progress import RunProgress

if TYPE_CHECKING:
    from loopmark.bench.judge.finding import Finding
    from loopmark.bench.judge.sequential_comparison import DecisionRules, SequentialComparison
    from loopmark.bench.measure.paired_measurement import Measured, PairedMeasurement


@dataclass(frozen=True)
class Held:
    """A measurement that has ended."""

    measured: "list[Measured]"
    """The launch pairs; none where Ctrl-C came before the first had ended."""
    sequential: "SequentialComparison | None"
    """None where nothing was measured."""
    findings: "tuple[Finding, ...]"
    """As they were when the verdict was sure, or at the end."""
    seconds: float
    """Until then."""
    interrupted: bool


def hold(
    measurement: "PairedMeasurement",
    budget_seconds: float,
    rules: "DecisionRules",
    progress: RunProgress | None = None,
    least_seconds: float = 0.0,
) -> Held:
    """Launch pairs until the comparison has decided or the budget is spent.

    Args:
        least_seconds: go on measuring for so long even when the verdict is sure; it stays what it was.
    """
    from loopmark.bench.judge.sequential_comparison import SequentialComparison

    measured: list[Measured] = []
    sequential: SequentialComparison | None = None
    findings: tuple[Finding, ...] | None = None
    interrupted, start = False, time.perf_counter()
    seconds, judged = 0.0, 0
    try:
        if progress:
            progress.tell("launch pair 1", 0.0, budget_seconds)
        for pair in measurement.pairs(budget_seconds):
            measured.append(pair)
            sequential = sequential or SequentialComparison(rules, *measurement.sides)
            sequential.add(pair.pair, pair.blocks, pair.phases)
            judged += 1
            spent = time.perf_counter() - start
            if findings is None:
                seconds = spent
                findings = sequential.findings() if sequential.decided else None
            if findings is not None and spent >= least_seconds:
                break
            if progress:
                doing = f"launch pair {len(measured) + 1}, at most {budget_seconds:g} s"
                progress.tell(doing, min(1.0, spent / budget_seconds), max(0.0, budget_seconds - spent))
    except KeyboardInterrupt:
        interrupted = True
        if judged < len(measured):  # Ctrl-C came in the middle of judging the last of them
            sequential = SequentialComparison(rules, *measurement.sides)
            for pair in measured:
                sequential.add(pair.pair, pair.blocks, pair.phases)
    if findings is None and sequential is not None:
        findings = sequential.findings()
    return Held(measured, sequential, findings or (), seconds, interrupted)
