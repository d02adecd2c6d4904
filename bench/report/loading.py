"""The remarks on a loader: how much of the step it takes, and what helps."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from loopmark.bench.judge.summary import Row
from loopmark.bench.records.run import Loading
from loopmark.bench.report import show
from loopmark.bench.report.text import plain
from loopmark.phases import DATA

COUNTS_FROM = 0.05  # the share of a step, or an epoch, that is worth a remark
LEFT_OUT_FROM, LONG_BATCH = 0.01, 10.0  # the least share of a step, else the least steps, of a first batch left out
HELPS_FROM = 1.1  # a loader has to make a step this much faster, since each is tried for a second only


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
