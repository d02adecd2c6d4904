"""The named parts of a training step, each declared once, in their order."""

from typing import NamedTuple


class Phase(NamedTuple):
    """One phase, and what the clock, ``verify`` and the plots know of it."""

    name: str
    colour: str  # in plots; Okabe and Ito 2008, "Color Universal Design"
    yielded: bool = True  # a step yields it as it ends; False for ``data``, which is lapped before a step begins
    repeats: bool = False  # gradient accumulation does it again for each part of a batch
    optional: bool = False  # a step may lack it


ALL = (
    Phase("data", "#56B4E9", yielded=False),  # fetching the batch, or copying it to where a driver's graphs read it
    Phase("zero_grad", "#F0E442"),
    Phase("forward", "#0072B2", repeats=True),
    Phase("loss", "#CC79A7", repeats=True),
    Phase("backward", "#D55E00", repeats=True),
    Phase("optimizer", "#009E73"),
)

DATA = "data"
PHASES = tuple(phase.name for phase in ALL)
YIELDED = tuple(phase.name for phase in ALL if phase.yielded)
FOR_EACH_PART = tuple(phase.name for phase in ALL if phase.repeats)
OPTIONAL = tuple(phase.name for phase in ALL if phase.optional)


def in_order(names: set[str]) -> list[str]:
    """``names`` in the order of the step; unknown ones come last, by name."""
    return sorted(names, key=lambda name: (PHASES.index(name) if name in PHASES else len(PHASES), name))
