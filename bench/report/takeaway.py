"""A run's conclusion in one sentence, made of measured values only, and the run's warnings."""

import math
from collections import Counter

from loopmark.bench.judge.comparison import BASELINE, Verdict
from loopmark.bench.judge.summary import Row, Summary, WorkloadSummary
from loopmark.bench.judge.training import TrainedRow
from loopmark.bench.records.run import Run
from loopmark.bench.report import cells
from loopmark.bench.report import format as show
from loopmark.bench.report.text import elide, plain
from loopmark.bench.report.training_words import doubt

NAME_LENGTH = 48
BEFORE_ALL = "Interrupted before all was measured: "
INTERRUPTED = (
    "Interrupted: the run was stopped before its plan was done, and shows what was measured until then; "
    "run its command again for all of it"
)


def takeaway(summary: Summary) -> str:
    """One sentence, plain text: the fastest loop on each workload, or why there is none.

    An interrupted run says so first: a missing loop may be faster. A loop that does not learn, or whose comparison
    did not show that it trains the baseline's model, is never the fastest.
    """
    device = "this CPU" if summary.run.plan.device == "cpu" else "this GPU"
    alone = len(summary.workloads) == 1
    said = [(elide(one.workload, NAME_LENGTH), _clause(one, alone=alone)) for one in summary.workloads]
    if alone:
        name, clause = said[0]
        return sentence(f"on {name} on {device}, {clause}.", summary.interrupted)
    text = "; ".join(f"on {name}, {clause}" for name, clause in said)
    return sentence(f"on {device}: {text}.", summary.interrupted)


def sentence(text: str, interrupted: bool) -> str:
    """``text`` with a capital letter, or after the words for an interrupted run."""
    return f"{BEFORE_ALL}{text}" if interrupted else f"{text[:1].upper()}{text[1:]}"


def _clause(workload: WorkloadSummary, *, alone: bool) -> str:
    """One workload's conclusion; the slowest loop is named only where the workload is ``alone``."""
    measured = [row for row in workload.rows if row.step_seconds is not None]
    if not measured:
        return f"nothing was measured: {_endings(workload)}"
    if workload.baseline is None:
        return f"{BASELINE} was not measured, so nothing is called faster or slower"
    judged = [row for row in measured if row.verdict is not None]
    eager = workload.baseline.trained
    alike = [row for row in judged if not doubt_of(row, eager)]
    winner, loser = _extreme(alike, "faster"), _extreme(judged, "slower")
    if winner:
        clause = _winner(winner) + (_hot_spot(workload.baseline) if alone else "")
    else:
        clause = _no_winner(workload, judged, alike)
    astray = _extreme([row for row in judged if row not in alike], "faster")
    if astray and (winner is None or _distance(astray) > _distance(winner)):
        why = doubt_of(astray, eager)
        clause += f"; {elide(astray.case.label, NAME_LENGTH)} is faster ({show.ratio_range(astray.speedup)}), but {why}"
    if loser and alone:
        clause += f"; {elide(loser.case.label, NAME_LENGTH)} is slower ({show.ratio_range(loser.speedup)})"
    return clause


def doubt_of(row: Row, eager: TrainedRow | None) -> str:
    """The reason why a loop is not praised at any speed; empty if there is none."""
    return "nothing of it was compiled" if row.compiled_nothing else doubt(row.trained, eager)


def _winner(row: Row) -> str:
    ratio, _, ends = show.ratio_range(row.speedup).partition(" ")
    text = f"{elide(row.case.label, NAME_LENGTH)} is {ratio} faster than {BASELINE} {ends}"
    steps = row.break_even_steps
    if row.compile_seconds and steps and math.isfinite(steps.value) and steps.value >= 1:
        text += f" (after {show.count(steps.value)} steps it has paid for its compilation)"
    return text


def _no_winner(workload: WorkloadSummary, judged: list[Row], alike: list[Row]) -> str:
    if not alike and workload.baseline and workload.baseline.step_seconds:
        step = show.seconds_of(workload.baseline.step_seconds)
        return f"{BASELINE} takes {step} a step{_hot_spot(workload.baseline)}"
    if all(row.verdict == "inconclusive" for row in judged):
        return f"no difference from {BASELINE} is settled: every verdict is inconclusive"
    shown = "shown to be " if any(row.verdict == "inconclusive" for row in alike) else ""
    text = f"no loop is {shown}faster than {BASELINE}"
    if all(row.verdict == "slower" for row in alike) or workload.noise_floor is None:
        return text
    return f"{text} beyond the noise floor of {show.noise_floor(workload.noise_floor)}"


def _hot_spot(baseline: Row) -> str:
    """The longest phase of the baseline's step, as a clause."""
    shares = cells.shares(baseline.phases)
    if not shares:
        return ""
    phase = max(shares, key=lambda name: shares[name])
    return f", and {elide(phase, NAME_LENGTH)} is {show.percent(shares[phase])} of {BASELINE}'s step"


def _extreme(rows: list[Row], verdict: Verdict) -> Row | None:
    """The row furthest from the baseline among those of one verdict."""
    chosen = [row for row in rows if row.verdict == verdict and row.speedup and 0 < row.speedup.value < math.inf]
    return max(chosen, key=_distance, default=None)


def _distance(row: Row) -> float:
    return abs(math.log(row.speedup.value)) if row.speedup else 0.0


def _endings(workload: WorkloadSummary) -> str:
    loops = "loop" if len(workload.rows) == 1 else "loops"
    endings = Counter(map(cells.status, workload.rows))
    return f"of {len(workload.rows)} {loops}, {', '.join(f'{count} {ending}' for ending, count in endings.items())}"


def warnings_of(run: Run) -> list[str]:
    """The run's warnings, one line each; a warning shared by several cases comes once, after their names."""
    named = dict.fromkeys(f"{case.workload}, {case.label}: " for case in run.cases)
    told: dict[str, list[str]] = {}
    for warning in run.warnings:
        name = next((name for name in named if warning.startswith(name)), "")
        told.setdefault(warning.removeprefix(name), []).extend([name.removesuffix(": ")] if name else [])
    grouped = [f"{'; '.join(dict.fromkeys(names))}: {text}" if names else text for text, names in told.items()]
    return [plain(warning) for warning in ([INTERRUPTED] if run.interrupted else []) + grouped]
