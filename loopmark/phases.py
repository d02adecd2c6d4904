"""The named parts of a training step, each known one declared once, in their order; ``phase`` names one."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple


class Phase(NamedTuple):
    """One phase, and what the clock, ``verify`` and the plots know of it."""

    name: str
    colour: str  # in plots: a light one, see bench/report/style.py
    yielded: bool = True  # a step yields it as it ends; False for ``data``, which is lapped before a step begins
    repeats: bool = False  # gradient accumulation does it again for each part of a batch


DATA = "data"
REST = "rest"
ALL = (
    Phase(DATA, "#8CE4FB", yielded=False),  # fetching the batch, or copying it to where a driver's graphs read it
    Phase("zero_grad", "#F6DE7E"),
    Phase("forward", "#8AAAE8", repeats=True),
    Phase("loss", "#D2939B", repeats=True),
    Phase("backward", "#F0A860", repeats=True),
    Phase("optimizer", "#8AF2BE"),
    Phase(REST, "#BEBEBE", yielded=False),  # what an ordinary function does outside every ``phase``
)

PHASES = tuple(phase.name for phase in ALL if phase.name != REST)  # those of a step that yields each
YIELDED = tuple(phase.name for phase in ALL if phase.yielded)
FOR_EACH_PART = tuple(phase.name for phase in ALL if phase.repeats)


def in_order(names: Iterable[str]) -> list[str]:
    """``names`` in the order of the step: the known phases, a step's own ones by name, and the rest of the step."""

    known = {name: number for number, name in enumerate(PHASES)} | {REST: len(PHASES) + 1}
    return sorted(names, key=lambda name: (known.get(name, len(PHASES)), name))


_lap: Callable[[str], object] | None = None  # called with a phase's name as it ends; None where nothing listens
_open: list[str] = []  # the phases around the running line, outermost first


class phase:  # noqa: N801 - it is used as a function
    """Name a part of a step that is an ordinary function: ``with phase("forward"): …``.

    The time within it is the phase's; within another ``phase`` it is the inner one's. Outside a measurement it does
    nothing. A generator step yields its phases instead. ValueError for ``data`` and ``rest``, which are not a step's to
    name.
    """

    def __init__(self, name: str) -> None:
        if name in (DATA, REST):
            raise ValueError(f"a step cannot name a phase '{name}', which is measured by itself; choose another name")
        self.name = name

    def __enter__(self) -> None:
        if _lap is not None:
            _lap(_open[-1] if _open else REST)
        _open.append(self.name)

    def __exit__(self, *_: object) -> None:
        _open.pop()
        if _lap is not None:
            _lap(self.name)


@contextmanager
def listening(lap: Callable[[str], object]) -> Iterator[None]:
    """Call ``lap`` with the name of each part of a function step as it ends."""
    global _lap
    before, _lap = _lap, lap
    _open.clear()  # a step that raised may have left some
    try:
        yield
    finally:
        _lap = before
