"""A run over its course as a Chrome trace, for https://ui.perfetto.dev: a process a workload, a thread a case.

Records hold how long each block took, and not when it began. So blocks are laid end to end: launch by launch, round by
round, case by case in the run's order, though within a round the cases took turns in random order. What lay between
blocks (starting, warm-up, steps that are not counted) is left out. In a lapped block the steps, and in a step the
phases, follow one another as they did. The trace says so itself, in ``otherData``.
"""

import json
from collections.abc import Hashable, Iterator
from typing import Any

import pandas as pd

from bench.judge.comparison import block_seconds
from bench.judge.summary import Summary
from bench.records.samples import Samples
from bench.report import cells
from bench.report import format as show
from bench.report.formats.entry import LOOP_LENGTH, Entry, distinct, entries
from bench.report.takeaway import takeaway
from bench.report.text import elide

MOST_BLOCKS, MOST_LAPS = 20_000, 100_000
"""In a trace. A viewer takes more, but not gladly; of a larger run each launch's first ones are shown."""
NANOSECONDS = 1e9
LONGEST_VALUE = 400
NAME_LENGTH = 40
"""In letters, of a workload or a loop: a viewer has a narrow column for its processes and threads."""
APPROXIMATE = (
    "blocks are laid end to end, since records hold how long each took and not when it began: launch by launch, round "
    "by round, the cases of a round in the order of the table, though they took turns in random order; starting, "
    "warm-up and the uncounted step of each turn are left out"
)

_PLACE = ["case", "launch"]
_BLOCK = ["case", "launch", "round", "block"]

Event = dict[str, Any]
Record = dict[Hashable, Any]
"""A row of a table."""


def export(summary: Summary, samples: Samples) -> str:
    """The blocks of every measured case, with the phases of the lapped ones; bounded, whatever the run's size."""
    measured = {entry.index: entry for entry in entries(summary)}
    all_blocks = samples.blocks[samples.blocks["case"].isin(measured)]
    all_laps = samples.phases[samples.phases["case"].isin(measured)]
    blocks = _first(all_blocks, MOST_BLOCKS)
    laps = _first(all_laps[_keys(all_laps).isin(_keys(blocks))], MOST_LAPS)
    events = [*_names(measured), *_events(measured, blocks, _by_block(laps))]
    about = {
        "run": summary.run.name,
        "machine": summary.run.machine.name,
        "device": summary.run.plan.device,
        "started": summary.run.started,
        "takeaway": takeaway(summary),
        "approximate": APPROXIMATE,
        "blocks": f"{len(blocks):,} of {len(all_blocks):,}",
        "phases": f"{len(laps):,} of {len(all_laps):,}",
    }
    if len(blocks) < len(all_blocks) or len(laps) < len(all_laps):
        about["left_out"] = "all but the first blocks and phases of each launch"
    kept = {key: elide(value, 4 * LONGEST_VALUE) for key, value in about.items()}
    trace = {"traceEvents": events, "displayTimeUnit": "ms", "otherData": kept}
    return json.dumps(trace, allow_nan=False, separators=(",", ":")) + "\n"


def _first(rows: pd.DataFrame, most: int) -> pd.DataFrame:
    """The first rows of each launch of each case, as many of each as there is room for."""
    if len(rows) <= most:
        return rows
    launches = rows.groupby(_PLACE)
    return rows[launches.cumcount() < most // launches.ngroups]


def _keys(rows: pd.DataFrame) -> pd.MultiIndex:
    return pd.MultiIndex.from_frame(rows[_BLOCK])


def _by_block(laps: pd.DataFrame) -> dict[tuple[Any, ...], list[Record]]:
    found: dict[tuple[Any, ...], list[Record]] = {}
    for lap in laps.to_dict("records"):
        found.setdefault(tuple(lap[key] for key in _BLOCK), []).append(lap)
    return found


def _names(measured: dict[int, Entry]) -> Iterator[Event]:
    """What the viewer calls each process and thread: workload and noise floor, loop and verdict."""
    workloads = _workloads(measured)
    short = distinct(((name, name) for name in workloads), NAME_LENGTH)
    for entry in {entry.workload: entry for entry in measured.values()}.values():
        pid, floor = workloads[entry.workload], entry.of.noise_floor
        noise = "" if floor is None else f" (noise floor {show.noise_floor(floor)})"
        yield _metadata("process_name", pid, 0, {"name": f"{short[entry.workload]}{noise}"})
        yield _metadata("process_sort_index", pid, 0, {"sort_index": pid})
    loops: dict[int, str] = {}
    for workload in workloads:
        within = ((index, entry.loop) for index, entry in measured.items() if entry.workload == workload)
        loops |= distinct(within, NAME_LENGTH)
    for index, entry in measured.items():
        pid, said = workloads[entry.workload], [cells.verdict(entry.row)]
        if entry.row.verdict is not None:
            said.append(cells.speedup(entry.row))
        yield _metadata("thread_name", pid, index + 1, {"name": f"{loops[index]} ({' '.join(said)})"})
        yield _metadata("thread_sort_index", pid, index + 1, {"sort_index": index + 1})


def _metadata(what: str, pid: int, tid: int, arguments: Event) -> Event:
    return {"name": what, "ph": "M", "pid": pid, "tid": tid, "args": arguments}


def _workloads(measured: dict[int, Entry]) -> dict[str, int]:
    return {name: number for number, name in enumerate(dict.fromkeys(e.workload for e in measured.values()), start=1)}


def _events(
    measured: dict[int, Entry], blocks: pd.DataFrame, laps: dict[tuple[Any, ...], list[Record]]
) -> Iterator[Event]:
    """Blocks in the order in which they may have run, each on its case's thread; begins and ends are whole ns."""
    workloads = _workloads(measured)
    order = blocks.assign(
        took=block_seconds(blocks) * blocks["steps"],
        workload=blocks["case"].map({index: workloads[entry.workload] for index, entry in measured.items()}),
    ).sort_values(["launch", "workload", "round", "case", "block"], kind="stable")
    phases = distinct(((name, name) for entry in measured.values() for name in entry.row.case.phases), LOOP_LENGTH)
    now = 0
    for block in order.to_dict("records"):
        thread = {"pid": block["workload"], "tid": block["case"] + 1}
        end = now + round(block["took"] * NANOSECONDS)
        yield _complete("lapped block" if block["lapped"] else "block", now, end, thread, _arguments(block))
        yield from _steps(laps.get(tuple(block[key] for key in _BLOCK), []), now, end, thread, phases)
        now = end


def _steps(laps: list[Record], start: int, limit: int, thread: Event, phases: dict[str, str]) -> Iterator[Event]:
    """The steps of one block and the phases of each, none of which reaches beyond the block."""
    steps: dict[int, list[Record]] = {}
    for lap in laps:
        steps.setdefault(lap["step"], []).append(lap)
    now = float(start)
    for number, parts in steps.items():
        begins, nested = now, []
        for lap in parts:
            seconds = lap["host_seconds"] if lap["device_seconds"] != lap["device_seconds"] else lap["device_seconds"]
            if seconds == seconds:  # NaN: nobody saw this phase
                end = now + seconds * NANOSECONDS
                name = phases.get(lap["phase"]) or elide(lap["phase"], LOOP_LENGTH)
                nested.append(_complete(name, min(round(now), limit), min(round(end), limit), thread, {}))
                now = end
        yield _complete(f"step {number}", min(round(begins), limit), min(round(now), limit), thread, {})
        yield from nested


def _complete(name: str, start: int, end: int, thread: Event, arguments: Event) -> Event:
    """A complete event; its microseconds have three decimals, since a viewer that rounds would see overlaps."""
    return {"name": name, "ph": "X", "ts": start / 1000, "dur": (end - start) / 1000, **thread, "args": arguments}


def _arguments(block: Record) -> Event:
    """What is known of a block, and what was seen that could have disturbed it."""
    known = {
        "launch": block["launch"],
        "round": block["round"],
        "first step": block["first_step"],
        "steps": block["steps"],
        "seconds a step": block["took"] / block["steps"],
    }
    seen = {
        "involuntary switches": block["involuntary_switches"],
        "seconds stolen": block["steal_seconds"],
        "throttled": elide(block["throttle_reasons"] or "", LONGEST_VALUE),
        "foreign processes": block["foreign_processes"],
    }
    return known | {what: value for what, value in seen.items() if value and value == value}
