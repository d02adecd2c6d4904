"""The remarks on a loader: how much of the step it takes, and what helps."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from loopmark.bench.judge.summary import Row
from loopmark.bench.records.run import Loading
from loopmark.bench.report import format as show
from loopmark.bench.report.text import plain
from loopmark.phases import DATA

COUNTS_FROM = 0.05  # the share of a step, or of an epoch's first batch in it, that is worth a remark
LEFT_OUT_FROM = 0.01  # the share of a step from which a first batch that its figure leaves out is worth one
HELPS_FROM = 1.1  # a loader has to be this much faster, since each is tried for a second only


def loading_record(row: Row) -> dict[str, Any] | None:
    """The loader's figures and remarks as JSON values; None for a row without."""
    found = row.case.loading
    return None if found is None else asdict(found) | {"remarks": list(loading_remarks(row))}


def loading_remarks(row: Row) -> Iterator[str]:
    """The remarks on the loader of a baseline's row; none where training does not wait for it."""
    found = row.case.loading
    if found is None or not found.step_seconds:
        return
    data, total = found.fetch_seconds + found.move_seconds, sum(row.phases.values())
    share = row.phases.get(DATA, 0.0) / total if total else data / found.step_seconds
    first, steps = found.first_fetch_seconds, found.epoch_steps
    if share >= COUNTS_FROM and data:
        yield f"data is {show.percent(share)} of the step: {_parts(found, share / data, row.device_phases)}"
        if found.whole_epochs and first and steps and first >= COUNTS_FROM * steps * found.step_seconds:
            yield f"the first batch of each epoch of {steps:,} steps takes {show.seconds(first)}"
    if not found.whole_epochs and first and (not steps or first / steps >= LEFT_OUT_FROM * found.step_seconds):
        each = f", {show.seconds(first / steps)} for each of its {steps:,} steps" if steps else ""
        yield f"an epoch's first batch takes {show.seconds(first)}, which the step's time leaves out{each}"
    if share >= COUNTS_FROM and data:
        yield from _tried(found)


def _parts(found: Loading, share_per_second: float, device_phases: Mapping[str, float] | None) -> str:
    if device_phases:  # the host may fetch while the device computes
        fetching, moving = map(show.seconds, (found.fetch_seconds, found.move_seconds))
        return f"on the host, {fetching} fetching a batch and {moving} moving it"
    fetching, moving = (show.percent(part * share_per_second) for part in (found.fetch_seconds, found.move_seconds))
    return f"fetching {fetching}, moving {moving}"


def _tried(found: Loading) -> Iterator[str]:
    if found.untried is not None:
        yield f"no other settings of the loader were tried: {plain(found.untried)}"
        return
    gains = {trial.change: found.step_seconds / trial.step_seconds for trial in found.trials if trial.step_seconds}
    helpful = sorted((change for change, gain in gains.items() if gain >= HELPS_FROM), key=lambda one: -gains[one])
    others = [change for change in gains if change not in helpful]
    if helpful:
        said = ", ".join(f"{change} makes a step {show.ratio(gains[change])} as fast" for change in helpful)
        yield f"tried: {said}"
    if others:
        yield f"tried without a gain: {' or '.join(others)}"
