"""A task's loader, looked at after the timed turns: where its time goes, and what helps, found by trying it."""

import contextlib
import time
from collections.abc import Iterator, Sized
from dataclasses import replace
from itertools import zip_longest
from typing import Any, cast

import torch
from torch.utils.data import DataLoader, IterableDataset

from loopmark.bench.measure.clock import HostClock
from loopmark.bench.measure.cycle import Cycle
from loopmark.bench.records.run import Loading, LoadingTrial
from loopmark.loops.batch import inputs_and_targets, rows_of, tensors_in
from loopmark.loops.task import Batches, Task

LEAST_SHARE = 0.05  # of a step that the data takes, from which other settings are tried
TRIAL_SECONDS = 0.7  # of counted steps; as much again before them
SAME_ROWS = 1.5  # an epoch of this many times the rows that it has without workers has rows more than once


class _Timed:
    """Gives a loader's batches, and times each. An epoch's first one includes the end of the last epoch."""

    def __init__(self, loader: Any) -> None:
        self._loader, self._ending = loader, 0.0
        self.firsts: list[float] = []
        self.total = 0.0

    def __iter__(self) -> Iterator[Any]:
        start, is_first = time.perf_counter() - self._ending, True
        for batch in self._loader:
            seconds = time.perf_counter() - start
            self.total += seconds
            self.firsts += [seconds] if is_first else []
            is_first = False
            yield batch
            start = time.perf_counter()
        self._ending = time.perf_counter() - start


def examine(task: Task, clock: HostClock, cycle: Cycle | None) -> Loading | None:
    """The task's loader; None where it gives batches in memory. It needs some seconds, and trains the model on.

    ``cycle``: of the task's data, as a warm-up found it.
    """
    loader = task.batches
    if isinstance(loader, Batches | list | tuple):
        return None
    found = _observed(task, clock, loader, cycle)
    repeated = _repeated(task, loader) if isinstance(loader, DataLoader) else None
    trials, untried = list[LoadingTrial](), None
    if found.fetch_seconds + found.move_seconds >= LEAST_SHARE * found.step_seconds:
        untried = _why_not_rebuilt(loader)
        changes = _changes(loader, task.device, found) if isinstance(loader, DataLoader) and not untried else []
        for change in changes:
            with contextlib.suppress(Exception):  # the person's data may refuse it
                other = _observed(task, clock, _rebuilt(cast("DataLoader[Any]", loader), **change), cycle)
                trials.append(LoadingTrial(", ".join(f"{k}={v}" for k, v in change.items()), other.step_seconds))
        if trials:  # the machine may have become faster meanwhile
            again = _observed(task, clock, loader, cycle)
            found = min(found, again, key=lambda one: one.step_seconds)
    task.batches = loader
    task.restart()
    return replace(found, trials=tuple(trials), untried=untried, repeated=repeated)


def _observed(task: Task, clock: HostClock, loader: Any, cycle: Cycle | None) -> Loading:
    """Steps with ``loader``: whole epochs where they are short, after one that is not counted."""
    timed = _Timed(loader)
    waits = 0.0

    def next_batch() -> Any:
        nonlocal waits
        start = time.perf_counter()
        batch = Task.next_batch(task)
        waits += time.perf_counter() - start
        return batch

    def take(steps: int, seconds: float) -> int:
        end = time.perf_counter() + seconds
        for taken in range(steps):
            if time.perf_counter() > end:
                return taken
            clock.take_step()
        return steps

    whole = cycle is not None and cycle.is_epoch
    ahead = int(getattr(loader, "num_workers", 0) * (getattr(loader, "prefetch_factor", 0) or 0))
    chunk = cycle.steps if cycle else 1
    task.batches = timed
    task.restart()
    vars(task)["next_batch"] = next_batch
    try:
        # Batches that workers fetched while none was asked for come for nothing.
        take(chunk if whole else ahead + 1, TRIAL_SECONDS)
        clock.synchronise()
        start, fetched, waited = time.perf_counter(), timed.total, waits
        firsts = timed.firsts[:] if not whole else []
        timed.firsts.clear()
        steps = 0
        while time.perf_counter() - start < TRIAL_SECONDS:
            steps += take(chunk, 2 * TRIAL_SECONDS)
        clock.synchronise()
        seconds = time.perf_counter() - start
    finally:
        del vars(task)["next_batch"]
        task.restart()  # ends the workers of this loader
    fetching = (timed.total - fetched) / steps
    firsts = firsts or timed.firsts
    return Loading(
        step_seconds=seconds / steps,
        fetch_seconds=fetching,
        move_seconds=max(0.0, (waits - waited) / steps - fetching),
        first_fetch_seconds=sum(firsts) / len(firsts) if firsts else None,
        epoch_steps=cycle.steps if cycle is not None and cycle.is_epoch else _length(loader),
        whole_epochs=whole,
    )


def _length(loader: Any) -> int | None:
    try:
        return len(loader) if isinstance(loader, Sized) else None
    except TypeError:  # a DataLoader has a length only if its dataset has one
        return None


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
    names = ("num_workers", "collate_fn", "pin_memory", "worker_init_fn", "generator", "batch_size", "drop_last")
    options = {name: getattr(loader, name) for name in names}
    if not isinstance(loader.dataset, IterableDataset):
        options["sampler"] = loader.sampler
        if loader.batch_size is None and loader.batch_sampler is not None:
            options = {k: v for k, v in options.items() if k not in ("batch_size", "drop_last", "sampler")}
            options["batch_sampler"] = loader.batch_sampler
    options |= changes
    if options["num_workers"]:
        of_workers = ("timeout", "multiprocessing_context", "prefetch_factor", "persistent_workers", "in_order")
        kept = {name: getattr(loader, name) for name in of_workers if hasattr(loader, name)}
        options = kept | options
    return DataLoader(loader.dataset, **options)


def _repeated(task: Task, loader: "DataLoader[Any]") -> str | None:
    """A sentence if each worker gives the whole of an unsharded dataset, found by counting an epoch's rows."""
    workers, dataset = loader.num_workers, loader.dataset
    if workers < 2 or not isinstance(dataset, IterableDataset):
        return None
    rows, ended, firsts = _rows(task, loader)
    if type(loader) is DataLoader and not hasattr(dataset, "__next__"):
        alone, ended_alone, _ = _rows(task, _rebuilt(loader, num_workers=0))
        if ended_alone and (ended or rows >= SAME_ROWS * alone):
            at_least = "" if ended else "at least "
            said = f"an epoch has {at_least}{rows:,} rows, and {alone:,} without workers"
            return (
                f"{said}: each of its {workers} workers gives the whole dataset" if rows >= SAME_ROWS * alone else None
            )
    if len(firsts) == workers and all(map(_equal, firsts[1:], firsts)):
        return f"each of its {workers} workers gives the same first batch"
    return None


def _rows(task: Task, loader: Any) -> tuple[int, bool, list[Any]]:
    """The rows of an epoch, False if it was too long to be counted, and the first batch of each worker."""
    rows, firsts, start = 0, list[Any](), time.perf_counter()
    for batch in loader:
        rows += rows_of(*inputs_and_targets(batch, task.has_loss_fn)) or 0
        if len(firsts) < loader.num_workers:
            firsts.append(batch)
        elif time.perf_counter() - start > 2 * TRIAL_SECONDS:
            return rows, False, firsts
    return rows, True, firsts


def _equal(one: Any, other: Any) -> bool:
    pairs = list(zip_longest(tensors_in(one), tensors_in(other)))
    return bool(pairs) and all(a is not None and b is not None and torch.equal(a, b) for a, b in pairs)
