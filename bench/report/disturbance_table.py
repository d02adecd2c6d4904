"""What disturbed a workload's blocks, as a table, and what to do about each kind of it."""

from collections.abc import Callable, Iterable, Mapping

from loopmark.bench.judge.summary import Summary, WorkloadSummary
from loopmark.bench.records.run import POWER_CAP, disturbs
from loopmark.bench.records.samples import ByCase, Samples
from loopmark.bench.report import format as show
from loopmark.bench.report.disturbance import Disturbance, disturbance
from loopmark.bench.report.table import Cell, Column, Table, figure

NOTHING = "0"
Seen = Mapping[str, Disturbance]
"""What was seen, by the label of each measured case."""


def seen_by_case(workload: WorkloadSummary, summary: Summary, samples: Samples) -> Seen:
    """Every case of a workload that has blocks; empty where nothing disturbed any of them."""
    measured = summary.places(workload)
    blocks = ByCase(samples.blocks[samples.blocks["case"].isin(measured.values())])
    seen = {label: disturbance(rows) for label, case in measured.items() if len(rows := blocks[case])}
    return seen if any(one.any for one in seen.values()) else {}


def disturbance_table(seen: Seen) -> Table[tuple[str, Disturbance]]:
    """A row a case, a column for each kind of disturbance that there was."""
    return Table(_COLUMNS, tuple(seen.items()), silent=NOTHING)


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


def _count(heading: str, count: Callable[[Disturbance], int]) -> Column[tuple[str, Disturbance]]:
    return Column(heading, lambda row: figure(show.count(count(row[1])), count(row[1])))


def _steal(row: tuple[str, Disturbance]) -> Cell:
    seconds = row[1].steal_seconds
    return figure(show.seconds(seconds) if seconds else NOTHING, seconds)


_COLUMNS: tuple[Column[tuple[str, Disturbance]], ...] = (
    Column("loop", lambda row: row[0]),
    _count("blocks", lambda seen: seen.blocks),
    _count("with the core taken away", lambda seen: seen.switched_blocks),
    Column("CPU steal", _steal),
    _count("throttled", lambda seen: seen.throttled_blocks),
    Column("throttle reasons", lambda row: ", ".join(row[1].throttle_reasons) or NOTHING),
    _count("with another process on the GPU", lambda seen: seen.foreign_blocks),
)
