"""The cycle of a task's data: an epoch, or a step for each worker, and none where all steps are alike."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch

from loopmark.bench.measure.warmup import LONGEST_SECONDS, Cycle, CycleFinder
from loopmark.loops.task import Batches


class Warmed:
    """A warm-up over ``batches``: step i of an epoch takes the i-th of ``seconds``."""

    def __init__(self, batches: Any, seconds: list[float], steps: int) -> None:
        self.task, self._seconds, self.taken = SimpleNamespace(epochs=0, batches=batches), seconds, 0
        self.finder = CycleFinder(cast(Any, self.task))
        for _ in range(steps):
            self.take_step()

    def take_step(self) -> None:
        place = self.taken % len(self._seconds)
        self.task.epochs += place == 0
        self.taken += 1
        self.finder.note(self._seconds[place])

    def cycle(self) -> Cycle | None:
        return self.finder.find(self.take_step)


def loader(workers: int = 0) -> Any:
    return SimpleNamespace(num_workers=workers)


@pytest.mark.parametrize("steps", [2, 6, 13])
def test_a_short_epoch_is_a_cycle_with_its_slow_first_step_wherever_the_warm_up_ended(steps: int) -> None:
    warmed = Warmed(loader(2), [0.2, 0.01, 0.01, 0.01], steps)
    assert warmed.cycle() == Cycle(4, pytest.approx(0.23), is_epoch=True)
    assert warmed.taken <= max(steps, 12)


def test_of_a_long_epoch_a_cycle_is_one_batch_of_each_worker() -> None:
    warmed = Warmed(loader(4), [0.02] * 500, 20)
    assert warmed.cycle() == Cycle(4, pytest.approx(0.08), is_epoch=False)
    assert warmed.taken * 0.02 < 2 * LONGEST_SECONDS


@pytest.mark.parametrize("workers", [0, 1])
def test_a_long_epoch_without_several_workers_has_no_cycle(workers: int) -> None:
    assert Warmed(loader(workers), [0.02] * 500, 20).cycle() is None


def test_batches_that_are_alike_have_no_cycle_and_a_list_of_widths_has_one() -> None:
    alike, widths = ([(torch.zeros(2, width), torch.zeros(2)) for width in of] for of in ((3, 3, 3), (3, 4, 5)))
    in_memory = Batches(torch.zeros(8, 3), torch.zeros(8), batch_size=2, seed=0)

    assert Warmed(alike, [0.01] * 3, 12).cycle() is None
    assert Warmed(in_memory, [0.01] * 4, 12).cycle() is None
    assert Warmed(widths, [0.01] * 3, 12).cycle() == Cycle(3, pytest.approx(0.03), is_epoch=True)
