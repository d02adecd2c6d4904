"""How explanations name things."""

from collections.abc import Iterable, Sequence

AFTER = "the code after the last yield"
STOPS = "the step does not come to its end"
"""Why a property cannot be told of it."""
SHOWN = 3


def phase_name(phase: str) -> str:
    """A phase as it is written; "" is what comes after the last yield."""
    return f"`{phase}`" if phase else AFTER


def listed(names: Iterable[str], shown: int = SHOWN) -> str:
    """The first few names, and how many more there are."""
    all_names = list(names)
    more = len(all_names) - shown
    return ", ".join(all_names[:shown]) + (f" and {more} more" if more > 0 else "")


def places(found: Sequence[str]) -> str:
    """Lines, each once, in their order."""
    return listed(dict.fromkeys(found))
