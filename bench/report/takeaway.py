"""A run's conclusion in one sentence, made of measured values only, and the run's warnings."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence

from loopmark.bench.judge.choice import Choice, choose
from loopmark.bench.judge.summary import Row, Summary, WorkloadSummary
from loopmark.bench.judge.training import TrainedRow
from loopmark.bench.records.run import Run
from loopmark.bench.report import cells, show
from loopmark.bench.report.text import elide, plain, short
from loopmark.bench.report.training_words import doubt

REASON_LENGTH = 600
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
    text = "; ".join(f"on {short(one.workload)}, {answer(one, summary.run)}" for one in summary.workloads)
    return sentence(f"on {device}: {text}.", summary.interrupted)


def sentence(text: str, interrupted: bool) -> str:
    """``text`` with a capital letter, or after the words for an interrupted run."""
    return f"{BEFORE_ALL}{text}" if interrupted else f"{text[:1].upper()}{text[1:]}"


def answer(workload: WorkloadSummary, run: Run) -> str:
    """One workload's conclusion as a clause."""
    measured = [row for row in workload.rows if row.step_seconds is not None]
    lost = next((row for row in workload.rows if row.is_baseline and row.case.status != "ok"), None)
    if not measured:
        # With its parameters known, the task could be made, so that only the baseline's step may be at fault.
        way = name_another("path/to/file.py:step") if lost and lost.case.parameters is not None else ""
        return f"nothing was measured: {_endings(workload)}{way}"
    base = workload.base
    if base is None:
        other = loop_spec(measured[0].case.loop, run)
        way = "" if run.interrupted else name_another(other)
        reason = cells.why(lost) if lost else ""
        if way:  # which names the loop that a reason's advice can only describe
            reason = reason.partition(";")[0]
        why = f"cannot run it ({elide(reason, REASON_LENGTH)})" if lost else "was not measured"
        return f"{short(workload.baseline)} {why}, so nothing is called faster or slower{way}"
    choice = choice_of(workload)
    clause = _winner(choice) if choice else _no_winner(workload, base)
    return "; ".join(filter(None, [clause, astray(workload, choice.long if choice else None)]))


def choice_of(workload: WorkloadSummary) -> Choice | None:
    """The loops to use, among those without a doubt; None if none of them is faster."""
    return choose(workload, _alike(workload))


def _alike(workload: WorkloadSummary) -> list[Row]:
    """The judged loops that may be praised."""
    base = workload.base.trained if workload.base else None
    return [row for row in workload.rows if row.verdict is not None and not doubt_of(row, base)]


def astray(workload: WorkloadSummary, winner: Row | None) -> str:
    """The fastest loop that may not be praised, with the reason, as a clause; empty unless it beats ``winner``."""
    base = workload.base.trained if workload.base else None
    least = winner.speedup.value if winner and winner.speedup else 0.0
    rows = [
        (row, row.speedup) for row in workload.rows if row.verdict == "faster" and row.speedup and doubt_of(row, base)
    ]
    row, ratio = max(rows, key=lambda one: one[1].value, default=(None, None))
    if row is None or ratio is None or not least < ratio.value < math.inf:
        return ""
    return f"{short(row.case.label)} is faster ({show.ratio_range(ratio)}), but {doubt_of(row, base)}"


def name_another(loop: str) -> str:
    """The ending of a clause on a baseline that has no figures."""
    return f"; name another loop to compare with: --baseline {plain(loop)}"


def loop_spec(loop: str, run: Run) -> str:
    """The loop as the option ``--loop`` names it."""
    return spec_of(loop, (case.loop for case in run.cases), run.plan.loops)


def spec_of(name: str, names: Iterable[str], specs: Sequence[str]) -> str:
    """The name as an option has it; ``names`` are those of all cases, in the order of the plan's ``specs``."""
    return dict(zip(dict.fromkeys(names), specs, strict=False)).get(name, name)


def doubt_of(row: Row, base: TrainedRow | None) -> str:
    """The reason why a loop is not praised at any speed; empty if there is none."""
    return "nothing of it was compiled" if row.compiled_nothing else doubt(row.trained, base)


def _winner(choice: Choice) -> str:
    row, steps = choice.long, choice.overtakes
    text = f"{short(row.case.label)} is {gain(row)}"
    if steps and choice.short:
        before = f"{short(choice.short.case.label)}, {show.ratio_range(choice.short.speedup)}"
        text += f" (from {show.count(steps.value)} steps on; before that {before})"
    elif row.compile_seconds and steps and math.isfinite(steps.value):
        text += f" (after {show.count(steps.value)} steps it has paid for its compilation)"
    return text


def gain(row: Row) -> str:
    """``1.21x faster than eager [1.19, 1.23]``."""
    ratio, _, ends = show.ratio_range(row.speedup).partition(" ")
    return f"{ratio} faster than {short(row.baseline)} {ends}"


def _no_winner(workload: WorkloadSummary, base: Row) -> str:
    judged, alike = [row for row in workload.rows if row.verdict is not None], _alike(workload)
    if not alike and base.step_seconds:
        time = f"{short(base.case.loop)} takes {show.seconds_of(base.step_seconds)} a step"
        return ", and ".join(filter(None, [time, hot_spot(base)]))
    if all(row.verdict == "inconclusive" for row in judged):
        unsettled = "is settled: every verdict is inconclusive, so measure longer or on an idle machine"
        return f"no difference from {short(base.case.loop)} {unsettled}"
    shown = "shown to be " if any(row.verdict == "inconclusive" for row in alike) else ""
    text = f"no loop is {shown}faster than {short(base.case.loop)}"
    if all(row.verdict == "slower" for row in alike) or workload.noise_floor is None:
        return text
    return f"{text} beyond the noise floor of {show.noise_floor(workload.noise_floor)}"


def hot_spot(baseline: Row | None) -> str:
    """The longest phase of the baseline's step, as a clause; empty without phases."""
    shares = cells.shares(baseline.phases) if baseline else {}
    if baseline is None or not shares:
        return ""
    phase = max(shares, key=lambda name: shares[name])
    return f"{short(phase)} is {show.percent(shares[phase])} of {short(baseline.case.loop)}'s step"


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
