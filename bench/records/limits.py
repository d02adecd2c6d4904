"""What a figure can be at most: what is beyond was never measured, and a sum or a square of it is no float."""

LONGEST_SECONDS = 1e9
"""Thirty years; what was timed longer was not timed."""
MOST_COUNTED = 2**53
"""Of whole numbers, which are all counts and indices; beyond it a float would tell no more of them apart."""
_MOST = {"seconds": LONGEST_SECONDS, "hertz": 1e12, "joules": 1e15}
"""By the unit that ends a name; none of them is ever below 0."""
_SIGNED = "excess_seconds"
"""What is beyond another time, and may be below 0 by the noise of both."""


def span_of(name: str) -> tuple[float, float] | None:
    """Least and most that a field or column of that name can hold, by the unit that ends it; None of others."""
    most = _MOST.get(name.rpartition("_")[2])
    return None if most is None else (-most if name == _SIGNED else 0, most)
