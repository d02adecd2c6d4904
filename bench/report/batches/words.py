"""A search for a batch size in words: what keeps a batch from being larger, and what to use."""

from loopmark.bench.judge.batches import BatchFinding, BatchRow
from loopmark.bench.records.batch_sizes import Attempt
from loopmark.bench.report import format as show
from loopmark.bench.report.text import elide

NAME_WIDTH, LONGEST = 60, 300
WIDE = 0.05
"""From here on, what processes of one size differ by hides what people search for."""


def conclusion(finding: BatchFinding) -> str:
    """What it comes to, in a few sentences on one line."""
    case, best, largest, use = finding.case, finding.best, finding.largest, finding.recommended
    who = f"{elide(case.workload, NAME_WIDTH)}, {elide(case.loop, NAME_WIDTH)}"
    if best is None or largest is None:
        return f"{who}: {case.status.replace('_', ' ')}: {elide(case.reason or 'interrupted', LONGEST)}."
    known = "that fits" if is_known(finding) else "that was tried and fits"
    text = (
        f"{who}: the largest batch {known} is {size(largest)} ({stop(finding)}); the most samples a second came at "
        f"{size(best)}, {show.rate_range(best.samples_per_second)}"
    )
    if use is None:
        differ = f"processes of one size differ by {show.percent(finding.noise)}"
        return f"{text}. Which one to use cannot be told here: {differ}; measure again on an idle machine."
    if len(finding.equals) == 1:
        return f"{text}: use {size(best)}."
    others = ", ".join(size(row) for row in finding.equals if row is not best)
    less = "" if use is best else f", which needs {memory(use)} of memory instead of {memory(best)}"
    return f"{text}, and not shown to be slower: {others}. Use {size(use)}{less}."


def is_known(finding: BatchFinding) -> bool:
    """Whether the largest that was seen to fit is the largest that does."""
    return finding.case.stop not in (None, "time")


def stop(finding: BatchFinding) -> str:
    """What keeps the largest batch that fits from being larger."""
    case = finding.case
    above = next((row for row in finding.rows if _is_above(row, finding)), None)
    if case.stop is None:
        return "the search was interrupted"
    if case.stop == "time":
        return "the search's time was up; --budget allows more"
    if case.stop == "data" and above is None:
        return "the data has no more rows"
    assert above is not None
    return f"{size(above)} does not: {why_not(above.attempt)}"


def why_not(attempt: Attempt) -> str:
    """Why a batch does not fit; empty for one that does."""
    if attempt.fits:
        return ""
    if attempt.tried:
        held = "" if attempt.limit != "host memory" else f"held to {show.data(attempt.allowed_bytes)}, it "
        return elide(f"{held}{attempt.reason or attempt.limit}", LONGEST)
    if attempt.limit == "time":
        return "not tried: it would take longer than what is left of --budget"
    forecast, allowed = show.data(attempt.forecast_bytes), show.data(attempt.allowed_bytes)
    return f"not tried: it is expected to take {forecast}, and {allowed} is what a process may safely take here now"


def noise(finding: BatchFinding) -> str:
    """How far processes of one size differ, on one line; empty where nothing fits."""
    best = finding.best
    if best is None:
        return ""
    if finding.noise is None:
        return "each size was timed in one process: there was no time to see how far another differs"
    wide = " (wide: an idle machine would tell more apart)" if finding.noise > WIDE else ""
    return (
        f"{size(best)} was timed in {len(best.processes)} processes, which differ by {show.percent(finding.noise)}"
        f"{wide}: sizes no further apart, or whose intervals overlap with its own, count as good"
    )


def size(row: BatchRow) -> str:
    """A batch size."""
    return f"{row.attempt.batch_size:,}"


def memory(row: BatchRow) -> str:
    """Its peak."""
    return show.data(row.attempt.peak_memory_bytes)


def _is_above(row: BatchRow, finding: BatchFinding) -> bool:
    largest = finding.largest
    return largest is not None and row.attempt.batch_size > largest.attempt.batch_size
