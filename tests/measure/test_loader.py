"""A task's loader, looked at: where its time goes, other settings of it, and workers that give the same rows."""

import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    IterableDataset,
    SequentialSampler,
    TensorDataset,
    get_worker_info,
)

from loopmark.bench.measure import loader as module
from loopmark.bench.measure.clock import HostClock
from loopmark.bench.measure.warmup import Cycle
from loopmark.bench.records.run import Loading
from loopmark.loops import eager
from loopmark.loops.task import Batches, Task

ROWS = TensorDataset(torch.zeros(10, 3), torch.zeros(10, 1))
CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.fixture(autouse=True)
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TRIAL_SECONDS", 0.02)


class Slow:
    """Three batches an epoch, the first of which takes long."""

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for wait in (0.02, 0.001, 0.001):
            time.sleep(wait)
            yield torch.zeros(4, 3), torch.zeros(4, 1)


class Stream(IterableDataset[tuple[Tensor, Tensor]]):
    """Rows of which each worker gives its own, if they are ``sharded``."""

    def __init__(self, rows: int, sharded: bool) -> None:
        self.rows, self.sharded = rows, sharded

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        worker = get_worker_info()
        start, step = (worker.id, worker.num_workers) if worker and self.sharded else (0, 1)
        return ((torch.full((3,), float(i)), torch.zeros(1)) for i in range(start, self.rows, step))


class Once(Stream):
    """A dataset that is its own iterator."""

    def __next__(self) -> tuple[Tensor, Tensor]:
        return torch.zeros(3), torch.zeros(1)


def examined(batches: Any, cycle: Cycle | None = None) -> Loading | None:
    task = Task(nn.Linear(3, 1), nn.functional.mse_loss, partial(torch.optim.SGD, lr=0.0), batches)
    task.build_optimizer()
    found = module.examine(task, HostClock(task, eager.step), cycle)
    assert task.batches is batches
    return found


def test_the_first_batch_counts_in_the_mean_of_whole_epochs() -> None:
    found = examined(Slow(), Cycle(3, 0.022, is_epoch=True))
    assert found is not None
    assert (found.epoch_steps, found.whole_epochs) == (3, True)
    assert found.first_fetch_seconds is not None
    assert found.first_fetch_seconds >= 0.02
    assert found.step_seconds >= found.fetch_seconds >= 0.022 / 3
    assert (found.untried, found.trials) == ("Slow is not torch's DataLoader", {})


def test_of_a_long_epoch_the_first_batch_is_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_changes", lambda *_: [])
    found = examined(DataLoader(TensorDataset(torch.zeros(4000, 3), torch.zeros(4000, 1)), 4), Cycle(2, 1.0, False))
    assert found is not None
    assert (found.epoch_steps, found.whole_epochs) == (1000, False)
    assert found.first_fetch_seconds is not None


def test_batches_from_memory_are_not_looked_at() -> None:
    tables = torch.zeros(8, 3), torch.zeros(8, 1)
    assert examined(Batches(*tables, batch_size=2, seed=0)) is None
    assert examined([tables]) is None


def test_other_settings_are_tried_on_the_same_data(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[dict[str, Any]] = [{"prefetch_factor": 3, "num_workers": 1}, {"num_workers": -1}]
    monkeypatch.setattr(module, "_changes", lambda *_: tried)
    monkeypatch.setattr(module, "MOST_SECONDS", 60.0)  # a worker may start slowly
    found = examined(DataLoader(ROWS, batch_size=4), Cycle(3, 0.001, is_epoch=True))
    assert found is not None
    assert [*found.trials] == ["prefetch_factor=3 and num_workers=1"]  # the other one is refused


@pytest.mark.parametrize(
    ("options", "device", "names"),
    [
        ({}, CPU, [["num_workers", "persistent_workers"]] * 2),
        ({"num_workers": 2}, CPU, [["persistent_workers"], ["num_workers", "persistent_workers"], ["num_workers"]]),
        ({"num_workers": 2, "persistent_workers": True}, GPU,
         [["num_workers", "persistent_workers"], ["num_workers"], ["pin_memory"]]),
        ({"pin_memory": True}, GPU, [["num_workers", "persistent_workers"]] * 2),
    ],
)  # fmt: skip
def test_what_is_tried_depends_on_what_the_loader_has(
    options: dict[str, Any], device: torch.device, names: list[list[str]]
) -> None:
    waits = Loading(0.01, 0.004, 0.003, 0.1, 3, whole_epochs=True)
    assert [[*change] for change in module._changes(DataLoader(ROWS, **options), device, waits)] == names


def test_workers_are_not_added_to_a_dataset_that_may_not_be_sharded() -> None:
    waits = Loading(0.01, 0.004, 0.003, 0.1, 3, whole_epochs=True)
    assert module._changes(DataLoader(Stream(8, sharded=False), 2), CPU, waits) == []


def test_a_loader_is_rebuilt_with_all_its_settings() -> None:
    order = torch.Generator()
    first = DataLoader(
        ROWS, batch_size=4, shuffle=True, num_workers=2, drop_last=True, generator=order, timeout=30,
        prefetch_factor=4, collate_fn=torch.utils.data.default_collate, multiprocessing_context="spawn",
    )  # fmt: skip
    again = module._rebuilt(first, persistent_workers=True)
    alike = ("dataset", "batch_size", "sampler", "num_workers", "drop_last", "generator", "timeout", "prefetch_factor")
    assert [getattr(again, name) for name in alike] == [getattr(first, name) for name in alike]
    assert again.multiprocessing_context.get_start_method() == "spawn"
    assert again.persistent_workers
    assert module._rebuilt(first, num_workers=0).num_workers == 0


def test_a_sampler_of_batches_is_kept() -> None:
    batches = BatchSampler(SequentialSampler(ROWS), 3, drop_last=False)
    again = module._rebuilt(DataLoader(ROWS, batch_sampler=batches), num_workers=1)
    assert again.batch_sampler is batches
    assert module._rebuilt(DataLoader(ROWS, batch_size=None), num_workers=1).batch_size is None


@pytest.mark.parametrize(
    ("loader", "why"),
    [
        (DataLoader(ROWS), None),
        (type("Own", (DataLoader,), {})(ROWS), "Own is a subclass of torch's DataLoader"),
        (DataLoader(Once(4, sharded=False)), "Once is its own iterator, which another loader would use up"),
    ],
)
def test_what_cannot_be_rebuilt_says_why(loader: Any, why: str | None) -> None:
    assert module._why_not_rebuilt(loader) == why


@pytest.mark.parametrize(
    ("rows", "sharded", "seconds", "said"),
    [
        (12, False, 3.0, "each of its 2 workers gives the whole dataset: an epoch has 24 rows, not 12"),
        (12, True, 3.0, None),
        (12, False, 0.0, "its 2 workers give the same first batch, and perhaps all rows alike"),  # too long to count
        (12, True, 0.0, None),
    ],
)
def test_workers_that_give_the_same_rows_are_told(
    rows: int, sharded: bool, seconds: float, said: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_SECONDS", seconds and 1000.0)
    task = Task(nn.Linear(3, 1), nn.functional.mse_loss, torch.optim.SGD, [])
    found = module._repeated(task, DataLoader(Stream(rows, sharded), batch_size=2, num_workers=2))
    assert (found and found.partition(";")[0]) == said
