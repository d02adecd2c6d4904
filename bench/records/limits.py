"""What a figure can be at most: what is beyond was never measured, and a sum or a square of it is no float."""

LONGEST_SECONDS = 1e9
"""Thirty years; what was timed longer was not timed."""
LEAST_SECONDS = 1e-12
"""Of a block, which has a step at least: a thousandth of what a clock can tell. Ratios of smaller ones are no float."""
MOST_COUNTED = 2**53
"""Of a table's whole numbers, which are all counts and indices; beyond it a float would tell no more of them apart."""
_MOST = {"seconds": LONGEST_SECONDS, "hertz": 1e12, "joules": 1e15}
"""By the unit; none of them is ever below 0, but for one:"""
_SIGNED = "excess_seconds"
"""What is beyond another time, which the noise of both may bring below 0."""


def span_of(name: str) -> tuple[float, float] | None:
    """What a field or column of that name can hold, by its unit (of ``joules_per_step``, joules); None of others."""
    most = _MOST.get(name.partition("_per_")[0].rpartition("_")[2])
    return None if most is None else (-most if name == _SIGNED else 0, most)
