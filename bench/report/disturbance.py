"""What could have disturbed a block: counted and shown. Only a throttled one that was measured again is left out."""

from dataclasses import dataclass

import pandas as pd

from loopmark.bench.judge.laps import throttled


@dataclass(frozen=True)
class Disturbance:
    """What happened during one case's blocks."""

    blocks: int
    switched_blocks: int
    """Blocks in which the scheduler took the core away at least once."""
    steal_seconds: float
    """What the hypervisor gave to others meanwhile."""
    throttle_reasons: tuple[str, ...]
    throttled_blocks: int
    foreign_blocks: int
    """Blocks during which another process used the GPU."""

    @property
    def any(self) -> bool:
        """Whether anything at all was seen."""
        return bool(self.switched_blocks or self.steal_seconds > 0 or self.throttled_blocks or self.foreign_blocks)


USUAL_SWITCHES = 0.9
"""The quantile of involuntary switches up to which a case's blocks count as usual: cores switch now and then."""


def disturbed(blocks: pd.DataFrame) -> "pd.Series[bool]":
    """For each block, whether something was seen that could have slowed it, beyond what its case is used to."""
    found = pd.Series(False, blocks.index)
    for seen in _seen(blocks).values():
        found |= seen
    return found


def causes(blocks: pd.DataFrame) -> str:
    """What there was of all that ``disturbed`` looks for, in words."""
    return ", ".join(cause for cause, seen in _seen(blocks).items() if seen.any())


def _seen(blocks: pd.DataFrame) -> "dict[str, pd.Series[bool]]":
    """For each cause, by its name, the blocks in which it was seen."""
    switches = blocks["involuntary_switches"]
    usual = switches.groupby(blocks["case"]).transform(lambda counts: counts.quantile(USUAL_SWITCHES))
    return {
        "the core taken away": switches > usual,
        "CPU steal": blocks["steal_seconds"] > 0,
        "a throttled clock": throttled(blocks),
        "others on the GPU": blocks["foreign_processes"] > 0,
    }


def disturbance(blocks: pd.DataFrame) -> Disturbance:
    """What was seen during the blocks of one case."""
    held = throttled(blocks)
    return Disturbance(
        blocks=len(blocks),
        switched_blocks=int((blocks["involuntary_switches"] > 0).sum()),
        steal_seconds=float(blocks["steal_seconds"].sum()),
        throttle_reasons=tuple(sorted(blocks.loc[held, "throttle_reasons"].unique())),
        throttled_blocks=int(held.sum()),
        foreign_blocks=int((blocks["foreign_processes"] > 0).sum()),
    )
