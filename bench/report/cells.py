"""The text of a case's row, cell by cell, before layout."""

from collections.abc import Iterable, Iterator

from loopmark.bench.judge.comparison import BASELINE
from loopmark.bench.judge.history import SeriesSubject
from loopmark.bench.judge.side_by_side import StepWork
from loopmark.bench.judge.summary import Row, WorkloadSummary, is_baseline
from loopmark.bench.report import format as show
from loopmark.bench.report.compilation_words import remarks
from loopmark.bench.report.loading import loading_remarks
from loopmark.bench.report.text import elide, plain
from loopmark.bench.report.training_words import evidence
from loopmark.phases import in_order

SAME = "~"  # printed for a ratio without a claim: within the noise floor, or inconclusive
MOST_LAP_COST, ALLOWED_FROM_SECONDS = 1.005, 0.001
"""Timing the phases may lengthen a step by this factor at most, if the step takes a millisecond or more."""
WIDE = 0.05  # a noise floor (log ratio) above which most techniques' effects are hidden
COUNTS_FROM = 0.05  # the share of a step from which a phase is worth a remark
SHARES = ("forward", "backward", "optimizer")  # the phases whose shares the narrow table has room for
KERNEL_LENGTH = 24
DIGEST = 6  # characters of a data set's hash that are printed


def speedup(row: Row) -> str:
    """``1.21x [1.19, 1.23]``, ``~ [0.99, 1.01]`` without a claim, ``baseline`` for the baseline."""
    if is_baseline(row.case):
        return "baseline"
    if row.speedup is None:
        return show.ABSENT
    if row.verdict in ("faster", "slower"):
        return show.ratio_range(row.speedup)
    return f"{SAME} {show.interval(row.speedup)}"


def verdict(row: Row) -> str:
    """The verdict; ``baseline`` and ``noise check`` for the rows that get none."""
    if row.case.repeat:
        return "noise check"
    return "baseline" if is_baseline(row.case) else row.verdict or show.ABSENT


def verdict_or_status(row: Row) -> str:
    """The verdict of a measured case, or the status of another."""
    return verdict(row) if row.step_seconds is not None else status(row)


def status(row: Row) -> str:
    """``ok``, ``timed out``, …; ``too few samples`` for a case that ended well but has no step time."""
    if row.case.status == "ok" and row.step_seconds is None:
        return "too few samples"
    return row.case.status.replace("_", " ")


def why(row: Row) -> str:
    """The status and the full reason of a case without figures, on one line."""
    return f"{status(row)}: {plain(row.case.reason)}" if row.case.reason else status(row)


def throughput(row: Row) -> float | None:
    """Training samples a second."""
    return row.samples_per_second.value if row.samples_per_second else None


def phase_names(rows: Iterable[Row]) -> list[str]:
    """The phases that any of ``rows`` has, in the order of the step."""
    rows = list(rows)
    present = {name for row in rows for name in (*(row.host_phases or {}), *(row.device_phases or {}))}
    return in_order(present & {name for row in rows for name in row.case.phases})


def shares(phases: dict[str, float]) -> dict[str, float]:
    """Each phase's share of the step, 0 to 1."""
    total = sum(phases.values())
    return {phase: value / total for phase, value in phases.items()} if total > 0 else {}


def phase(name: str, phases: dict[str, float]) -> str:
    """``4.31 ms (35 %)``: a phase of a step, and its share."""
    return f"{show.seconds(phases[name])} ({show.percent(shares(phases).get(name))})" if name in phases else show.ABSENT


def short_shares(row: Row) -> str:
    """``30/53/10``: the per cent of a step in each of ``SHARES``."""
    share = shares(row.phases)
    if not share:
        return show.ABSENT
    return "/".join(f"{share[phase] * 100:.0f}" if phase in share else show.ABSENT for phase in SHARES)


def compile_time(row: Row) -> str:
    """Seconds that torch spent compiling; ``nothing`` or absent where nothing was compiled."""
    return show.seconds(row.compile_seconds) if compiled(row) else "nothing" if row.compiled_nothing else show.ABSENT


def compile_cache(row: Row) -> str:
    """The state of torch's cache of compiled code; absent where nothing was compiled."""
    return row.compile_cache if row.compile_cache and compiled(row) else show.ABSENT


def compiled(row: Row) -> bool:
    """True if torch compiled anything for this case, or took it from its cache."""
    return row.compile_cache in ("cold", "warm")


def noise(workload: WorkloadSummary) -> str:
    """The noise floor, and what follows from it."""
    if workload.noise_floor is None:
        return f"noise floor not measured: it needs {BASELINE}, its repetition, and two launches of both"
    floor = f"noise floor {show.noise_floor(workload.noise_floor)}"
    wide = " (wide: use more --launches or an idle machine);" if workload.noise_floor > WIDE else ":"
    return f"{floor}{wide} smaller differences are printed as {SAME}"


def lap_cost(workload: WorkloadSummary) -> str:
    """The cost of timing the phases, over all loops together; empty where it was not measured."""
    cost, base = workload.instrumentation, workload.baseline
    if cost is None or not show.known(cost.value):
        return ""
    text = f"timing the phases costs {show.overhead_range(cost)}"
    allowed = base is None or base.step_seconds is None or base.step_seconds.value < ALLOWED_FROM_SECONDS
    if allowed or not cost.low > MOST_LAP_COST:
        return text
    return f"{text}, more than allowed: phase times are distorted, so rely on whole steps"


def attention(workload: WorkloadSummary) -> str:
    """The attention kernel of each loop; empty where all loops have the same one, or none is known."""
    loops: dict[str, list[str]] = {}
    for row in workload.rows:
        if kernels := [elide(kernel, KERNEL_LENGTH) for kernel in row.case.attention]:
            loops.setdefault(" and ".join(kernels), []).append(plain(row.case.label))
    if len(loops) < 2:
        return ""
    told = (f"{kernel} in {', '.join(of)}" for kernel, of in loops.items())
    return f"uncompiled attention runs as {'; '.join(told)}"


def notes(row: Row) -> str:
    """Remarks on a measured row beyond its figures; empty for most."""
    return "; ".join(_notes(row))


def _notes(row: Row) -> Iterator[str]:
    if row.lost_at_step is not None:
        yield f"its loss was not finite at step {row.lost_at_step:,}, so its speed is not judged"
    if row.trained and row.departs:
        yield f"departs from {BASELINE}: {evidence(row.trained.equivalence)}"
    if row.case.compilation is not None:
        yield from remarks(row.case.compilation, " in the first launch")
    if row.skipped_steps is not None:
        steps = sum(launch.steps for launch in row.case.launches)
        scale = "" if row.final_scale is None else f"; its scale ended at {row.final_scale:,.10g}"
        yield f"the gradient scaler skipped {row.skipped_steps:,} of {steps:,} steps{scale}"
    counting = [name for name, share in shares(row.phases).items() if share >= COUNTS_FROM]
    waiting = [name for name, bound in row.bounds.items() if bound.by == "launch-bound" and name in counting]
    if waiting:
        where = "" if len(waiting) == len(counting) else f" in {', '.join(waiting)}"
        yield f"launch-bound{where}: the device waits for the host"
    yield from loading_remarks(row)
    if row.roofline is None:
        return
    for name, rate in row.roofline.slow_types.items():
        yield f"multiplies in {plain(name)}, at {show.percent(rate)} of the rate of float32 here"
    if row.roofline.utilisation.low > 1:
        yield (
            "MFU above 100 %: the device was slowed while its ceiling was measured (run again to check), "
            "or the loop computes less than is counted"
        )


def work(one: StepWork | SeriesSubject) -> str:
    """``small, batch of 64, 77,200 parameters, data 0e117e``; unrecorded parts are left out."""
    parts = [one.size]
    if one.batch_size is not None:
        parts.append(f"batch of {one.batch_size:,}")
    if one.parameters is not None:
        parts.append(f"{one.parameters:,} parameters")
    if one.data_sha256:
        parts.append(f"data {one.data_sha256[:DIGEST]}")
    return plain(", ".join(parts))
