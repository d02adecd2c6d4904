"""A step that did not come to its end, and a limit of time that says where it ran out."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from loopmark.bench.measure.properties.places import phase_name
from loopmark.loops.user_code import described, place_of
from loopmark.phases import YIELDED


@dataclass(frozen=True)
class Fault:
    """Why, as a sentence without its full stop, and in which phase."""

    text: str
    hangs: bool = False
    early: bool = False
    """Before its first step."""


class Stopped(Exception):  # noqa: N818 - the step's mistake, not ours
    """A step stopped while it was looked at."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.text)
        self.fault = fault


def fault_of(error: BaseException, last_phase: str) -> Fault:
    """What ``error`` says, and where: after ``last_phase`` was yielded, "" being none."""
    if isinstance(error, Stopped):
        return error.fault
    phase = _phase_after(last_phase)
    if isinstance(error, OutOfTime):
        return Fault(f"hangs at {place_of(error)} in {phase}: it was still there after {error.seconds:g} s", hangs=True)
    return Fault(_sentence(error, f"in {phase}"))


def early_fault_of(error: BaseException) -> Fault:
    """What ``error`` says, raised while the loop prepared its task."""
    return Fault(_sentence(error, "while it prepares its task"), early=True)


def _sentence(error: BaseException, when: str) -> str:
    place, _, what = described(error).partition(": ")
    kind, _, said = what.partition(": ")
    return f"raises {kind} at {place} {when}: {said or 'it says nothing'}"


def _phase_after(phase: str) -> str:
    order = ("", *YIELDED, "")
    return phase_name(order[order.index(phase) + 1]) if phase in order else f"the phase after {phase_name(phase)}"


class OutOfTime(BaseException):
    """It took longer than ``seconds``. No ``Exception``, since it is raised into a loop that may catch those."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"it took longer than {seconds:g} s")
        self.seconds = seconds


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Raise OutOfTime into what runs here, in Python's own code, once it has taken ``seconds``.

    The timer is the process's only one; what it was set to before, it is set to again.
    """

    def ring(*_: Any) -> None:
        raise OutOfTime(seconds)

    handler = signal.signal(signal.SIGALRM, ring)
    left, _ = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, left)
        signal.signal(signal.SIGALRM, handler)
