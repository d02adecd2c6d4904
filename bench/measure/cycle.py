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
    """The steps of an epoch, with its short last batch and the start of its workers.

    Where an epoch is too long for a block, one step for each of the loader's workers: they give batches in turn.
    """

    steps: int
    seconds: float
    is_epoch: bool


class CycleFinder:
    """Watches the steps of a warm-up, and finds the cycle at its end."""

    def __init__(self, task: Task) -> None:
        self._task, self._epochs = task, task.epochs
        self._seconds: list[float] = []
        self._begins: list[int] = []  # the steps at which an epoch began

    def note(self, seconds: float) -> None:
        """Note one step that has ended."""
        if self._task.epochs != self._epochs:
            self._epochs = self._task.epochs
            self._begins.append(len(self._seconds))
        self._seconds.append(seconds)

    def find(self, take_step: Callable[[], object]) -> Cycle | None:
        """The cycle; None where all steps have equal work, and where it is too long. ``take_step`` notes its step."""
        batches = self._task.batches
        alike = isinstance(batches, list | tuple) and len({*map(layout_of, batches)}) <= 1
        if alike or isinstance(batches, Batches):
            return None
        workers = int(getattr(batches, "num_workers", 0) or 0)

        def lately() -> float:
            return fmean(self._seconds[-max(WINDOW, workers) :])

        # Of a whole epoch after the first one, which began cold.
        while len(begun := [step for step in self._begins if step > 0]) < 2:
            if (len(self._seconds) - (begun or [0])[-1]) * lately() > LONGEST_SECONDS:
                break
            take_step()
        else:
            epoch = Cycle(begun[-1] - begun[-2], sum(self._seconds[begun[-2] : begun[-1]]), is_epoch=True)
            if epoch.seconds <= LONGEST_SECONDS:
                return epoch
        turn = Cycle(workers, workers * lately(), is_epoch=False)
        return turn if workers > 1 and turn.seconds <= LONGEST_SECONDS else None
