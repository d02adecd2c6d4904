"""Rounds in which the loops were slow together: that was the machine's doing, whether anyone saw the cause or not."""

import pandas as pd

from loopmark.bench.judge.comparison import block_seconds
from loopmark.bench.report import format as show

SLOWER = 1.1
"""How many times as long as usual a round has to take to count."""
AGREEING = 0.25
"""The quantile over loops that has to be as slow, the lower of the two beside it: of up to four loops all, of nine all
but two. Any one loop has slow rounds of its own."""


def slowness(rounds: "pd.Series[float]") -> "pd.Series[float]":
    """How many times as long as usual the loops took, by (launch, round); 1 where not most of them, and two, were slow.

    Usual is each loop's own median over the run.

    Args:
        rounds: seconds a step, by (case, launch, round).
    """
    table = rounds.unstack("case")
    relative = table / table.median()
    together = relative.quantile(AGREEING, axis=1, interpolation="lower") > SLOWER
    together &= relative.notna().sum(axis=1) >= 2
    return relative.median(axis=1).where(together, 1.0)


def told(blocks: pd.DataFrame) -> str:
    """What there was of it in one workload's blocks, and what follows; empty where there was nothing."""
    plain = blocks[~blocks["lapped"]]
    if plain.empty:
        return ""
    slow = slowness(block_seconds(plain).groupby([plain[name] for name in ("case", "launch", "round")]).median())
    spell = slow[slow > SLOWER]
    if spell.empty:
        return ""
    return (
        f"Slow together: in {show.count(len(spell))} of {show.count(len(slow))} rounds the loops, or most of them, "
        f"took {show.ratio(float(spell.median()))} as long as usual: the machine was slower, whether or not a cause "
        "was seen. Ratios stand, since loops take turns within a round; a step's seconds are less sure for it."
    )
