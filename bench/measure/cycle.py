"""The cycle of a task's data: the steps after which its work repeats, so that equal blocks hold equal work."""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import fmean

from loopmark.bench.measure.warmup import WINDOW
from loopmark.loops.batch import layout_of
from loopmark.loops.task import Batches, Task

LONGEST_SECONDS = 1.0
"""The longest cycle that is a block. Three rounds of two blocks then take 6 s of a case's launch. In a longer epoch,
its start is a smaller part, and a run with such blocks would take too long."""


@dataclass(frozen=True)
class Cycle:
    """An epoch; where it is too long for a block, one step for each of the loader's workers, which give in turn."""

    steps: int
    seconds: float
    is_epoch: bool


class CycleFinder:
    """Watches the steps of a warm-up, and finds the cycle at its end."""

    def __init__(self, task: Task) -> None:
        self._task, self._epochs = task, task.epochs
        self._seconds: list[float] = []
        self._begins: list[int] = []  # the steps at which an epoch began, but for the first, which began cold

    def note(self, seconds: float) -> None:
        """Note one step that has ended."""
        before, self._epochs = self._epochs, self._task.epochs
        if before != self._epochs and self._seconds:
            self._begins.append(len(self._seconds))
        self._seconds.append(seconds)

    def find(self, take_step: Callable[[], object]) -> Cycle | None:
        """The cycle; None where all steps have equal work, and where it is too long. ``take_step`` notes its step."""
        batches = self._task.batches
        if isinstance(batches, Batches) or (isinstance(batches, list | tuple) and len({*map(layout_of, batches)}) <= 1):
            return None
        workers = int(getattr(batches, "num_workers", 0) or 0)

        def lately(steps: int) -> float:
            return steps * fmean(self._seconds[-max(WINDOW, workers) :])

        while len(self._begins) < 2 and lately(len(self._seconds) - (self._begins or [0])[-1]) <= LONGEST_SECONDS:
            take_step()
        if len(self._begins) > 1:
            start, end = self._begins[-2:]
            if (seconds := sum(self._seconds[start:end])) <= LONGEST_SECONDS:
                return Cycle(end - start, seconds, is_epoch=True)
        of_workers = Cycle(workers, lately(workers), is_epoch=False)
        return of_workers if workers > 1 and of_workers.seconds <= LONGEST_SECONDS else None
