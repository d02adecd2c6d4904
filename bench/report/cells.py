"""The text of a case's row, cell by cell, before layout."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from typing import Any

from loopmark.bench.judge.history import SeriesSubject
from loopmark.bench.judge.side_by_side import StepWork
from loopmark.bench.judge.statistics import Estimate
from loopmark.bench.judge.summary import Row, WorkloadSummary
from loopmark.bench.records.run import Compilation, Loading
from loopmark.bench.report import show
from loopmark.bench.report.text import elide, grouped, plain, short
from loopmark.bench.report.training_words import unlike
from loopmark.phases import DATA, in_order

SAME = "~"  # printed for a ratio without a claim: within the noise floor, or inconclusive
MOST_LAP_COST, ALLOWED_FROM_SECONDS = 1.005, 0.001
"""Timing the phases may lengthen a step by this factor at most, if the step takes a millisecond or more."""
WIDE = 0.05  # a noise floor (log ratio) above which most techniques' effects are hidden
COUNTS_FROM = 0.05  # the share of a step, or an epoch, from which a phase or its loader is worth a remark
SHARES = ("forward", "backward", "optimizer")  # the phases whose shares the narrow table has room for
KERNEL_LENGTH = 24
MOST_BREAKS = 3  # in a remark; the run's file has all
REASON_LENGTH = 600
NO_BREAK = "torch names no graph break; see whether TORCH_COMPILE_DISABLE or torch.compiler.set_stance is in use"
LEFT_OUT_FROM, LONG_BATCH = 0.01, 10.0  # the least share of a step, else the least steps, of a first batch left out
HELPS_FROM = 1.1  # a loader has to make a step this much faster, since each is tried for a second only
DIGEST = 6  # characters of a data set's hash that are printed


def speedup(row: Row) -> str:
    """``1.21x [1.19, 1.23]``, ``~ [0.99, 1.01]`` without a claim, ``baseline`` for the baseline."""
    if row.is_baseline and not row.watched:
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
    return "baseline" if row.is_baseline else row.verdict or show.ABSENT


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


def phase_names(rows: Iterable[Row]) -> list[str]:
    """The phases that any of ``rows`` has, in the order of the step."""
    rows = list(rows)
    present = {name for row in rows for name in (*(row.host_phases or {}), *(row.device_phases or {}))}
    return in_order(present & {name for row in rows for name in row.case.phases})


def shares(phases: dict[str, float]) -> dict[str, float]:
    """Each phase's share of the step, 0 to 1."""
    total = sum(phases.values())
    return {phase: value / total for phase, value in phases.items()} if total > 0 else {}


def phase(name: str, phases: dict[str, float], estimates: Mapping[str, Estimate] | None = None) -> str:
    """``4.31 ms (35 %)``: a phase of a step, with its interval if there are ``estimates``, and its share."""
    if name not in (phases if estimates is None else estimates):
        return show.ABSENT
    seconds = show.seconds(phases[name]) if estimates is None else show.seconds_range(estimates[name])
    return f"{seconds} ({show.percent(shares(phases).get(name))})"


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


def graphs(per_step: float | None) -> str:
    """``2`` or ``0.4``: the graphs of a step, or their mean over steps; absent if unknown."""
    return show.ABSENT if per_step is None else f"{per_step:.2g}"


def compilation(one: Compilation, where: str = "") -> Iterator[str]:
    """The graphs, where they break, and what compiling cost ``where``; or why nothing was compiled."""
    breaks = [f"{plain(each.place)} ({elide(each.reason, REASON_LENGTH)})" for each in one.breaks[:MOST_BREAKS]]
    if more := len(one.breaks) - len(breaks):
        breaks.append(f"{more} more")
    places = ", ".join(breaks)
    if not one.compiled:
        yield f"nothing of it was compiled: {places or NO_BREAK}"
        return
    number = "an unknown number of" if one.graphs_per_step is None else graphs(one.graphs_per_step)
    step = f"{number} graph{'' if one.graphs_per_step == 1 else 's'} a step"
    yield f"{step}, broken at {places}" if breaks else step
    compiled = f"{show.count(one.compiled)} graph{'' if one.compiled == 1 else 's'} compiled"
    late = f", {show.count(one.late)} of them in timed steps" if one.late else ""
    share = f", {show.percent(one.share)} of its time" if one.share is not None else ""
    yield f"{compiled}{where}{late}: {show.seconds(one.seconds)}{share}"
    if one.again:
        because = f", the last because {elide(one.again_because, REASON_LENGTH)}" if one.again_because else ""
        yield f"{show.count(one.again)} of them compiled again: {show.seconds(one.again_seconds)}{because}"
    if one.limit_reached:
        yield f"torch's limit was reached ({plain(one.limit_reached)}): what would need another graph runs uncompiled"


def noise(workload: WorkloadSummary) -> str:
    """The noise floor, and what follows from it."""
    if any(row.watched for row in workload.rows):
        return "one launch: an interval is over ten stretches of it, and another launch may differ by more"
    if workload.noise_floor is None:
        return (
            f"noise floor not measured: it needs {short(workload.baseline)}, its repetition, and two launches of both"
        )
    floor = f"noise floor {show.noise_floor(workload.noise_floor)}"
    wide = " (wide: use more --launches or an idle machine);" if workload.noise_floor > WIDE else ":"
    return f"{floor}{wide} smaller differences are printed as {SAME}"


def lap_cost(workload: WorkloadSummary) -> str:
    """The cost of timing the phases, over all loops together; empty where it was not measured."""
    cost, base = workload.instrumentation, workload.base
    if base is not None and base.watched:
        return watching_cost(base)
    if cost is None or not show.known(cost.value):
        return ""
    text = f"timing the phases costs {show.overhead_range(cost)}"
    allowed = base is None or base.step_seconds is None or base.step_seconds.value < ALLOWED_FROM_SECONDS
    if allowed or not cost.low > MOST_LAP_COST:
        return text
    return f"{text}, more than allowed: phase times are distorted, so rely on whole steps"


def watching_cost(row: Row) -> str:
    """The time that the hooks cost a watched script; empty where it was not measured."""
    if row.course is None or row.course.lap_cost is None:
        return ""
    share, cost = row.course.lapped, row.course.lap_cost
    whole = cost.map(lambda ratio: 1 + share * (ratio - 1))
    return (
        f"watching cost {show.overhead_range(whole)} of the time: {show.percent(share)} of the steps were timed phase "
        f"by phase, which takes {show.overhead_range(cost)}"
    )


def attention(workload: WorkloadSummary) -> str:
    """The attention kernel of each loop; empty where all loops have the same one, or none is known."""
    cases = [row.case for row in workload.rows if row.case.attention]
    loops = grouped((" and ".join(elide(one, KERNEL_LENGTH) for one in case.attention), case.label) for case in cases)
    if len(loops) < 2:
        return ""
    told = (f"{kernel} in {', '.join(map(plain, of))}" for kernel, of in loops.items())
    return f"uncompiled attention runs as {'; '.join(told)}"


def notes(row: Row) -> str:
    """Remarks on a measured row beyond its figures; empty for most."""
    return "; ".join(_notes(row))


def _notes(row: Row) -> Iterator[str]:
    if row.lost_at_step is not None:
        yield f"its loss was not finite at step {row.lost_at_step:,}, so its speed is not judged"
    is_measured = row.step_seconds is not None and not row.case.repeat  # another row has the reason for the rest
    if row.trained and (row.departs or is_measured) and (text := unlike(row.trained)):
        yield text
    if row.case.compilation is not None:
        yield from compilation(row.case.compilation, " in the first launch")
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


def loading_record(row: Row) -> dict[str, Any] | None:
    """The loader's figures and remarks as JSON values; None for a row without."""
    found = row.case.loading
    return asdict(found) | {"remarks": list(loading_remarks(row))} if found else None


def loading_remarks(row: Row) -> Iterator[str]:
    """The remarks on the loader of a baseline's row; none where training does not wait for it."""
    found = row.case.loading
    if found is None:
        return
    data, total = found.fetch_seconds + found.move_seconds, sum(row.phases.values())
    share = row.phases.get(DATA, 0.0) / total if total else data / found.step_seconds
    waits = bool(data) and share >= COUNTS_FROM
    if waits:
        parts = {"fetching": found.fetch_seconds, "moving": found.move_seconds}
        shares = ", ".join(f"{part} {show.percent(share * own / data)}" for part, own in parts.items())
        if row.device_phases:  # the host may fetch while the device computes
            shares = ", ".join(f"{part} a batch {show.seconds(own)}" for part, own in parts.items()) + " on the host"
        yield f"data is {show.percent(share)} of the step: {shares}"
    first, steps = found.first_fetch_seconds or 0.0, found.epoch_steps
    if waits and found.whole_epochs and steps and first >= COUNTS_FROM * steps * found.step_seconds:
        yield f"the first batch of each epoch of {steps:,} steps takes {show.seconds(first)}"
    elif not found.whole_epochs and first > (LEFT_OUT_FROM * steps if steps else LONG_BATCH) * found.step_seconds:
        each = f", {show.seconds(first / steps)} for each of its {steps:,} steps" if steps else ""
        yield f"an epoch's first batch takes {show.seconds(first)}, which the step's time leaves out{each}"
    if waits and found.untried is not None:
        yield f"no other settings of the loader were tried: {plain(found.untried)}"
    elif waits:
        yield _tried(found)


def _tried(found: Loading) -> str:
    gains = {change: found.step_seconds / seconds for change, seconds in found.trials.items()}
    ordered = sorted(gains, key=lambda change: -gains[change])
    faster = [f"{show.ratio(gains[change])} as fast with {change}" for change in ordered if gains[change] >= HELPS_FROM]
    others = [change for change in ordered if gains[change] < HELPS_FROM]
    parts = [*faster, *([f"no faster with {' or '.join(others)}"] if others else [])]
    return f"tried: {', '.join(parts) or 'nothing that ended in time'}"
