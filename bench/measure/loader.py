"""A task's loader, looked at after the timed turns: where its time goes, and what helps, found by trying it."""

import contextlib
import copy
import math
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice, zip_longest
from statistics import fmean
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset

from loopmark.bench.measure.clock import HostClock
from loopmark.bench.measure.warmup import Cycle
from loopmark.bench.records.run import Loading
from loopmark.loops.batch import inputs_and_targets, rows_of, tensors_in
from loopmark.loops.task import Batches, Task

LEAST_SHARE = 0.05  # of a step that the data takes, from which other settings are tried
TRIAL_SECONDS, MOST_SECONDS = 0.7, 3.0  # of counted steps, and of one trial
REPEATED = 1.5  # an epoch of this many times the rows that it has without workers has rows more than once


SHARD = "shard it in its __iter__, by torch.utils.data.get_worker_info()"


class _Timed:
    """Gives a loader's batches, and times each. An epoch's first one includes the end of the last epoch."""

    def __init__(self, loader: Any, most_seconds: float) -> None:
        self.loader, self._ending, self._end = loader, 0.0, time.perf_counter() + most_seconds
        self.seconds: list[float] = []
        self.firsts: list[float] = []

    def __iter__(self) -> Iterator[Any]:
        start, times = time.perf_counter() - self._ending, self.firsts
        for batch in self.loader:
            times.append((now := time.perf_counter()) - start)
            if now > self._end:
                raise TimeoutError
            yield batch
            start, times = time.perf_counter(), self.seconds
        self._ending = time.perf_counter() - start


def examine(task: Task, clock: HostClock, cycle: Cycle | None) -> Loading | None:
    """The loader of a warm task; None where it gives batches from memory. It takes seconds, and trains the model on.

    ``cycle``: of the task's data, as the warm-up found it.
    """
    loader: Any = task.batches
    if isinstance(loader, Batches | list | tuple):
        return None

    def observed(loader: Any, most_seconds: float = math.inf) -> Loading:
        task.batches = timed = _Timed(loader, most_seconds)
        try:
            return replace(_observed(task, clock, cycle, timed), epoch_steps=length)
        finally:
            task.batches = []  # its workers end
            task.restart()

    length = cycle.steps if cycle and cycle.is_epoch else task.epoch_length()
    found, trials, untried = observed(loader), dict[str, float](), None
    if found.fetch_seconds + found.move_seconds >= LEAST_SHARE * found.step_seconds:
        untried = _why_not_rebuilt(loader)
        changes = [] if untried else _changes(loader, task.device, found)
        if not changes:
            untried = untried or "each worker would give all rows of a dataset that is not sharded"
        for change in changes:
            with contextlib.suppress(Exception):  # it takes too long, or the person's data refuses it
                name = " and ".join(f"{setting}={value}" for setting, value in change.items())
                trials[name] = observed(_rebuilt(loader, **change), MOST_SECONDS).step_seconds
        if trials:  # the machine may have become faster meanwhile
            found = min(found, observed(loader), key=lambda one: one.step_seconds)
    task.batches = loader
    return replace(found, trials=trials, untried=untried, repeated=_repeated(task, loader))


def _observed(task: Task, clock: HostClock, cycle: Cycle | None, timed: _Timed) -> Loading:
    """Steps with a loader: whole epochs where these are short, after one that is not counted."""
    whole, chunk = cycle is not None and cycle.is_epoch, cycle.steps if cycle else 1
    task.restart()
    # Workers fetch their first batches together.
    ahead = (getattr(timed.loader, "num_workers", 0) or 0) * (getattr(timed.loader, "prefetch_factor", 0) or 0)
    clock.plain(chunk if whole else 1 + ahead)
    if whole:
        timed.firsts.clear()
    timed.seconds.clear()
    blocks, start = [clock.lapped(chunk).block()], time.perf_counter()
    while time.perf_counter() - start < TRIAL_SECONDS:
        blocks.append(clock.lapped(chunk).block())
    steps = chunk * len(blocks)
    fetching = sum([*timed.seconds, *(timed.firsts if whole else ())]) / steps
    return Loading(
        step_seconds=sum(block.seconds for block in blocks) / steps,
        fetch_seconds=fetching,
        move_seconds=max(0.0, float(sum(np.nansum(block.host[:, 0]) for block in blocks)) / steps - fetching),
        first_fetch_seconds=fmean(timed.firsts) if timed.firsts else None,
        epoch_steps=None,
        whole_epochs=whole,
    )


def _why_not_rebuilt(loader: Any) -> str | None:
    """The reason why no loader with other settings can take this one's place; None if one can."""
    kind = type(loader)
    if kind is not DataLoader:
        return f"{kind.__name__} is {'a subclass of' if isinstance(loader, DataLoader) else 'not'} torch's DataLoader"
    if hasattr(loader.dataset, "__next__"):
        return f"{type(loader.dataset).__name__} is its own iterator, which another loader would use up"
    return None


def _changes(loader: "DataLoader[Any]", device: torch.device, found: Loading) -> list[dict[str, Any]]:
    """The settings to try, one after another."""
    workers = loader.num_workers
    persistent: dict[str, Any] = {"persistent_workers": True} if found.whole_epochs else {}
    counts = () if isinstance(loader.dataset, IterableDataset) else (2 * workers,) if workers else (1, 4)
    changes = [persistent] if workers and persistent and not loader.persistent_workers else []
    changes += [{"num_workers": count} | persistent for count in counts]
    changes += [{"num_workers": 0}] if workers else []
    if device.type != "cpu" and not loader.pin_memory and found.move_seconds >= LEAST_SHARE * found.step_seconds:
        changes.append({"pin_memory": True})
    return changes


def _rebuilt(loader: "DataLoader[Any]", **changes: Any) -> "DataLoader[Any]":
    """A loader as ``loader``, on the same dataset, with ``changes``."""
    found: DataLoader[Any] = copy.copy(loader)
    vars(found).update(_iterator=None, **changes)  # its `__setattr__` refuses some of them
    if found.num_workers:
        found.prefetch_factor = found.prefetch_factor or 2
    else:
        vars(found).update(prefetch_factor=None, timeout=0, persistent_workers=False)
    return found


def _repeated(task: Task, loader: Any) -> str | None:
    """A sentence if the workers of an unsharded dataset give the same rows: by an epoch's rows, or first batches."""
    workers = getattr(loader, "num_workers", 0)
    if not isinstance(loader, DataLoader) or workers < 2 or not isinstance(loader.dataset, IterableDataset):
        return None
    if _why_not_rebuilt(loader) is None:
        rows, alone = (_rows(task, one) for one in (loader, _rebuilt(loader, num_workers=0)))
        if rows and alone:
            each = f"each of its {workers} workers gives the whole dataset: an epoch has {rows:,} rows, not {alone:,}"
            return f"{each}; {SHARD}" if rows >= REPEATED * alone else None
    first, *others = (list(tensors_in(batch)) for batch in islice(loader, workers))
    same = (a is not None and b is not None and torch.equal(a, b) for one in others for a, b in zip_longest(first, one))
    return (
        f"its {workers} workers give the same first batch, and perhaps all rows alike; {SHARD}" if all(same) else None
    )


def _rows(task: Task, loader: "DataLoader[Any]") -> int | None:
    """The rows of an epoch; None if it takes too long to count them."""
    rows, end = 0, time.perf_counter() + MOST_SECONDS / 2
    for batch in loader:
        rows += rows_of(*inputs_and_targets(batch, task.has_loss_fn)) or 0
        if time.perf_counter() > end:
            return None
    return rows
