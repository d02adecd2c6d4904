"""A limit of time that says where the time ran out."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


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
