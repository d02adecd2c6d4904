"""What a history says in words: of a subject, of a change, of what came with it."""

from loopmark.bench.judge.comparison import BASELINE
from loopmark.bench.judge.history import Change, Series, SeriesSubject, Suspicion
from loopmark.bench.report import format as show
from loopmark.bench.report.cells import work
from loopmark.bench.report.text import elide, plain

LONGEST = 400
"""Letters of what changed at a run; a machine that was set up anew changes it all."""


def where(subject: SeriesSubject) -> str:
    """``amd-epyc-2-core-749cb0: cpu, 2 threads, small, batch of 64, data 0e117e``: what its runs have in common."""
    threads = "" if subject.threads is None else f"{subject.threads} thread{'' if subject.threads == 1 else 's'}, "
    instructions = "" if subject.instructions is None else f"{subject.instructions}, "
    return plain(f"{subject.machine}: {subject.device}, {threads}{instructions}{work(subject)}")


def file_stem(subject: SeriesSubject) -> str:
    """What a plot's file is named by, before it is made safe: the workload and the machine's fingerprint."""
    return f"{subject.workload[:24]}-{subject.machine.rpartition('-')[2]}"


def span(series: tuple[Series, ...]) -> str:
    """``30 runs, 2026-11-01 to 2026-11-30``."""
    runs = {point.folder: point.started for one in series for point in one.points}
    first, last = (f"{day:%Y-%m-%d}" for day in (min(runs.values()), max(runs.values())))
    days = first if first == last else f"{first} to {last}"
    return f"{len(runs)} run{'' if len(runs) == 1 else 's'}, {days}"


def signed(change: Change) -> str:
    """``-8.0 %``: how much faster the loop became against the baseline, in per cent of its speed."""
    share = change.ratio.value - 1
    return f"{'+' if share > 0 else '-'}{show.percent(abs(share))}"


def happened(change: Change) -> str:
    """``slower by 8.0 % since 20261120-101010: 1.21x [1.20, 1.22] → 1.11x [1.10, 1.12]``."""
    direction = "faster" if change.is_improvement else "slower"
    size = show.percent(abs(change.ratio.value - 1))
    levels = f"{show.ratio_range(change.before)} → {show.ratio_range(change.after)}"
    return f"{direction} by {size} since {plain(change.point.run.name)}: {levels}"


def came_with(change: Change) -> str:
    """What of the surroundings changed at that run, or what the revision was where nothing did."""
    if change.differences:
        return elide("; ".join(change.differences), LONGEST)
    environment = change.point.run.environment
    revision = f"revision {environment.revision}" if environment.revision else "revision unknown"
    return plain(f"{revision} and torch {environment.torch}, as before")


def changes(series: Series) -> str:
    """``none``, ``2``, or why none could be seen."""
    if not series.is_long_enough:
        return "too few runs"
    return str(len(series.changes)) if series.changes else "none"


def suspected(suspicion: Suspicion) -> str:
    """Why not to take the change of many loops at one run at its word."""
    became, baseline = ("faster", "slower") if suspicion.is_improvement else ("slower", "faster")
    return (
        f"{suspicion.loops} of {suspicion.of} loops became {became} at {plain(suspicion.run)}: "
        f"{BASELINE} itself may have become {baseline}"
    )
