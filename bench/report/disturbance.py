"""Disturbances of blocks, rounds in which the whole machine was slow, and advice on both."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import pandas as pd

from loopmark.bench.judge.comparison import block_seconds
from loopmark.bench.judge.laps import throttled
from loopmark.bench.records.run import POWER_CAP, disturbs
from loopmark.bench.records.samples import ByCase
from loopmark.bench.report import show
from loopmark.bench.report.table import Column, Table, measured


@dataclass(frozen=True)
class CaseDisturbance:
    """The disturbances during one case's blocks."""

    blocks: int
    switched_blocks: int  # in which the scheduler took the core away at least once
    steal_seconds: float  # core time that the hypervisor gave to other guests
    throttle_reasons: tuple[str, ...]
    throttled_blocks: int
    foreign_blocks: int  # during which another process used the GPU

    def __bool__(self) -> bool:
        return bool(self.switched_blocks or self.steal_seconds > 0 or self.throttled_blocks or self.foreign_blocks)


USUAL_SWITCHES = 0.9  # blocks of a case up to this quantile of involuntary switches are usual: some always occur


def disturbed(blocks: pd.DataFrame) -> "pd.Series[bool]":
    """True for each block with a possible cause of slowness, beyond what is usual for its case."""
    return pd.DataFrame(_seen(blocks)).any(axis=1)


def causes(blocks: pd.DataFrame) -> str:
    """The causes that ``disturbed`` found in the blocks, in words."""
    return ", ".join(cause for cause, seen in _seen(blocks).items() if seen.any())


def _seen(blocks: pd.DataFrame) -> "dict[str, pd.Series[bool]]":
    """The blocks in which each cause was seen, by the name of the cause."""
    switches = blocks["involuntary_switches"]
    usual = switches.groupby(blocks["case"]).transform(lambda counts: counts.quantile(USUAL_SWITCHES))
    return {
        "the core taken away": switches > usual,
        "CPU steal": blocks["steal_seconds"] > 0,
        "a throttled clock": throttled(blocks),
        "other processes on the GPU": blocks["foreign_processes"] > 0,
    }


def disturbance(blocks: pd.DataFrame) -> CaseDisturbance:
    """The disturbances seen during the blocks of one case."""
    held = throttled(blocks)
    return CaseDisturbance(
        blocks=len(blocks),
        switched_blocks=int((blocks["involuntary_switches"] > 0).sum()),
        steal_seconds=float(blocks["steal_seconds"].sum()),
        throttle_reasons=tuple(sorted(blocks.loc[held, "throttle_reasons"].unique())),
        throttled_blocks=int(held.sum()),
        foreign_blocks=int((blocks["foreign_processes"] > 0).sum()),
    )


NOTHING = "0"
Seen = Mapping[str, CaseDisturbance]  # by the label of each measured case


def seen_by_case(cases: Mapping[str, int], blocks: pd.DataFrame) -> Seen:
    """The disturbances of every case that has blocks; empty where there were none."""
    by_case = ByCase(blocks)
    seen = {label: disturbance(rows) for label, case in cases.items() if len(rows := by_case[case])}
    return seen if any(seen.values()) else {}


def disturbance_table(seen: Seen) -> Table[tuple[str, CaseDisturbance]]:
    """A row for each case, a column for each kind of disturbance that occurred."""
    return Table(_COLUMNS, tuple(seen.items()), silent=NOTHING)


def advice(seen: Iterable[CaseDisturbance]) -> list[str]:
    """Advice, one line for each kind of disturbance in any case; text between backticks is code."""
    seen = list(seen)
    reasons = {reason for one in seen for reason in one.throttle_reasons}
    found = {
        "Core taken away: end other programs, or use fewer `--threads` than there are cores; `loopmark doctor` "
        "names them.": any(one.switched_blocks for one in seen),
        "CPU steal: other guests of this host had the cores; measure on a dedicated machine, or at a quieter time with "
        "more `--launches`.": any(one.steal_seconds > 0 for one in seen),
        "Throttled: check cooling and power supply, let the GPU cool down, and measure again; `loopmark doctor` shows "
        "temperature and limits.": any(map(disturbs, reasons)),
        "Power cap: nothing to do; a loop that keeps the board busy reaches the limit. To compare runs, keep the "
        "limit the same.": any(POWER_CAP in reason.split(", ") for reason in reasons),
        "Another process on the GPU: end it, or choose another GPU with `--device`; `nvidia-smi` lists them.": any(
            one.foreign_blocks for one in seen
        ),
    }
    return [line for line, there in found.items() if there]


_COLUMNS: tuple[Column[tuple[str, CaseDisturbance]], ...] = (
    Column("loop", lambda row: row[0]),
    measured("blocks", lambda row: row[1].blocks, show.count),
    measured("with the core taken away", lambda row: row[1].switched_blocks, show.count),
    measured("CPU steal", lambda row: row[1].steal_seconds, lambda stolen: show.seconds(stolen) if stolen else NOTHING),
    measured("throttled", lambda row: row[1].throttled_blocks, show.count),
    Column("throttle reasons", lambda row: ", ".join(row[1].throttle_reasons) or NOTHING),
    measured("with another process on the GPU", lambda row: row[1].foreign_blocks, show.count),
)


SLOWER = 1.1  # a round longer than this multiple of its usual time counts as slow
AGREEING = 0.25
"""The quantile over loops that must be slow, rounded down to a loop: all of up to four loops, all but two of nine. A
single loop has slow rounds of its own."""


def slowness(rounds: "pd.Series[float]") -> "pd.Series[float]":
    """Time relative to the run's median, by (launch, round); 1 unless most loops, at least two, were slow.

    Args:
        rounds: seconds a step, by (case, launch, round).
    """
    table = rounds.unstack("case")
    relative = table / table.median()
    together = relative.quantile(AGREEING, axis=1, interpolation="lower") > SLOWER
    together &= relative.notna().sum(axis=1) >= 2
    return relative.median(axis=1).where(together, 1.0)


def slow_together(blocks: pd.DataFrame) -> str:
    """The slow rounds of one workload's blocks, and what follows, in words; empty where there were none."""
    plain = blocks[~blocks["lapped"]]
    if plain.empty:
        return ""
    slow = slowness(block_seconds(plain).groupby([plain[name] for name in ("case", "launch", "round")]).median())
    spell = slow[slow > SLOWER]
    if spell.empty:
        return ""
    return (
        f"Slow together: in {show.count(len(spell))} of {show.count(len(slow))} rounds most loops "
        f"took {show.ratio(float(spell.median()))} as long as usual: the machine itself was slower, even if no cause "
        "was seen. Ratios stay valid, since loops take turns within a round; seconds a step are less sure."
    )
