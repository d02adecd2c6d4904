"""The one sentence that a person takes away from a training by itself."""

from loopmark.bench.judge.comparison import BASELINE
from loopmark.bench.judge.statistics import Estimate
from loopmark.bench.judge.training import Learning, TrainedRow, TrainedWorkload, TrainingSummary
from loopmark.bench.report import format as show
from loopmark.bench.report.takeaway import sentence
from loopmark.bench.report.text import elide

NAME_LENGTH = 48


def training_takeaway(summary: TrainingSummary) -> str:
    """On each workload, which loops train another model than the baseline, and which is soonest at the target.

    A loop is called sooner only where its whole interval says so.
    """
    text = "; ".join(f"on {_name(w.workload)}, {', and '.join(_clauses(w))}" for w in summary.workloads)
    return sentence(f"{text}.", summary.training.interrupted)


def _clauses(workload: TrainedWorkload) -> list[str]:
    said = [_alike([row for row in workload.rows if row.equivalence.verdict is not None and row.loop != BASELINE])]
    trained = {row.loop: row.learning for row in workload.rows if row.learning is not None and not row.departs}
    if trained and workload.target is not None:
        said.append(_soonest(trained, f"{_name(workload.target.metric)} of {workload.target.value:g}"))
    return said


def _alike(compared: list[TrainedRow]) -> str:
    departing = [_name(row.loop) for row in compared if row.departs]
    if departing:
        return f"{', '.join(departing)} {'trains' if len(departing) == 1 else 'train'} another model than {BASELINE}"
    steps = min((row.equivalence.proof.steps for row in compared), default=0)
    if len(compared) == 1:
        return f"{_name(compared[0].loop)} trains as {BASELINE} does in its first {steps} steps"
    if not compared:
        return f"nothing was compared with {BASELINE}"
    return f"each of {len(compared)} loops trains as {BASELINE} does in its first {steps} steps"


def _soonest(trained: dict[str, Learning], target: str) -> str:
    sooner: dict[str, Estimate] = {
        loop: learning.seconds_ratio
        for loop, learning in trained.items()
        if learning.seconds_ratio is not None and learning.surely_sooner
    }
    if sooner:
        best = max(sooner, key=lambda loop: sooner[loop].value)
        ratio, _, ends = show.ratio_range(sooner[best]).partition(" ")
        return f"{_name(best)} is at {target} {ratio} sooner {ends}, getting going left aside"
    base = trained.get(BASELINE)
    if base is None or base.seconds is None:
        return f"{BASELINE} is not at {target} with every seed"
    return f"no loop is sure to be at {target} sooner, where {BASELINE} is in {show.seconds_of(base.seconds)}"


def _name(text: str) -> str:
    return elide(text, NAME_LENGTH)
