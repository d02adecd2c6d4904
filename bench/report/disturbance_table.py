"""What disturbed a workload's blocks, as a table, and what to do about each kind of it."""

from collections.abc import Iterable, Mapping

from loopmark.bench.judge.summary import Summary, WorkloadSummary
from loopmark.bench.records.run import POWER_CAP, disturbs
from loopmark.bench.records.samples import ByCase, Samples
from loopmark.bench.report import format as show
from loopmark.bench.report.disturbance import Disturbance, disturbance
from loopmark.bench.report.grid import Cell, Grid, figure, grid, grid_of_columns

NOTHING = "0"
Seen = Mapping[str, Disturbance]
"""What was seen, by the label of each measured case."""


def seen_by_case(workload: WorkloadSummary, summary: Summary, samples: Samples) -> Seen:
    """Every case of a workload that has blocks; empty where nothing disturbed any of them."""
    measured = summary.places(workload)
    blocks = ByCase(samples.blocks[samples.blocks["case"].isin(measured.values())])
    seen = {label: disturbance(rows) for label, case in measured.items() if len(rows := blocks[case])}
    return seen if any(one.any for one in seen.values()) else {}


def disturbance_table(seen: Seen) -> Grid:
    """A row a case, a column for each kind of disturbance that there was."""
    if not seen:
        return grid((), ())
    cases = seen.values()
    columns = {
        "loop": [Cell(label) for label in seen],
        "blocks": [_count(one.blocks) for one in cases],
        "with the core taken away": [_count(one.switched_blocks) for one in cases],
        "CPU steal": [
            figure(show.seconds(one.steal_seconds) if one.steal_seconds else NOTHING, one.steal_seconds)
            for one in cases
        ],
        "throttled": [_count(one.throttled_blocks) for one in cases],
        "throttle reasons": [Cell(", ".join(one.throttle_reasons) or NOTHING) for one in cases],
        "with another process on the GPU": [_count(one.foreign_blocks) for one in cases],
    }
    return grid_of_columns(columns, NOTHING)


def advice(seen: Iterable[Disturbance]) -> list[str]:
    """What to do, a line for each kind of disturbance that any case saw; what stands between backticks is code."""
    seen = list(seen)
    reasons = {reason for one in seen for reason in one.throttle_reasons}
    found = {
        "Core taken away: end other programs, or give fewer `--threads` than there are cores; `loopmark doctor` names "
        "who else runs.": any(one.switched_blocks for one in seen),
        "CPU steal: other guests of this host had the cores; measure on a dedicated machine, or at a quieter time with "
        "more `--launches`.": any(one.steal_seconds > 0 for one in seen),
        "Throttled: see to cooling and power supply, let the GPU cool down, and measure again; `loopmark doctor` shows "
        "temperature and limits.": any(map(disturbs, reasons)),
        "Power cap: nothing to do; that is where a loop that keeps the board busy belongs. To compare runs, keep the "
        "limit the same.": any(POWER_CAP in reason.split(", ") for reason in reasons),
        "Another process on the GPU: end it, or choose another GPU with `--device`; `nvidia-smi` lists them.": any(
            one.foreign_blocks for one in seen
        ),
    }
    return [line for line, there in found.items() if there]


def _count(number: int) -> Cell:
    return figure(show.count(number), number)
