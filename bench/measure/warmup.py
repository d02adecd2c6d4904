"""Warm-up: steps taken until their times are steady, and the cycle of the data that they show."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, median

from loopmark.bench.records.run import Case
from loopmark.loops.batch import layout_of
from loopmark.loops.task import Batches, Task

WINDOW = 5  # steps in a window; the medians of two successive windows are compared
STILL_FASTER = 0.95  # steps are still getting faster where a median is below this share of the previous one
AT_LEAST_SECONDS = 0.2  # a few microsecond steps are too short: clocks still rise and pages are still loaded


@dataclass(frozen=True)
class WarmUp:
    """The warm-up steps, each timed to its end; ``steady`` is False where they never became steady."""

    seconds: tuple[float, ...]
    steady: bool

    @property
    def steady_step_seconds(self) -> float:
        return median(self.seconds[-WINDOW:])

    @property
    def excess_seconds(self) -> float:
        """Seconds beyond the same number of steady steps: compilation, autotuning, first memory accesses."""
        return max(0.0, sum(self.seconds) - len(self.seconds) * self.steady_step_seconds)


def is_steady(seconds: Sequence[float]) -> bool:
    """True if the last window's steps are no faster than the previous window's. The first step is ignored."""
    if len(seconds) < 2 * WINDOW + 1 or sum(seconds[1:]) < AT_LEAST_SECONDS:
        return False
    before, now = median(seconds[-2 * WINDOW : -WINDOW]), median(seconds[-WINDOW:])
    return now >= STILL_FASTER * before


def warm_up(take_step: Callable[[], float], ceiling_seconds: float) -> WarmUp:
    """Take steps until they are steady, or until ``ceiling_seconds`` after the end of the first step.

    ``take_step`` completes one step and returns its seconds. The first may compile for minutes.
    """
    seconds = [take_step()]
    while not (steady := is_steady(seconds)) and (len(seconds) <= WINDOW or sum(seconds[1:]) < ceiling_seconds):
        seconds.append(take_step())
    return WarmUp(tuple(seconds), steady)


def unsteady(cases: Iterable[Case], ceiling_seconds: float) -> list[str]:
    """A warning for each case whose steps were still getting faster at the end of a launch's warm-up."""
    # Without the number of launches, which the page has, the warning is the same for all cases, and is shown once.
    return [
        f"{case.workload}, {case.label}: launches were still getting faster when their warm-up reached "
        f"{ceiling_seconds:g} s; measure again on an idle machine, and not with --quick"
        for case in cases
        if any(launch.steady is False for launch in case.launches)
    ]


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
