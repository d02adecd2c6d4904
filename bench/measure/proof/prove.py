"""Whether a loop trains the model that eager trains: each of its steps beside the canonical step from the same state.

Two runs of one loop that round differently drift apart, step by step, as chaos has it, until nothing can be said of
them. So no two runs are compared. The loop trains as it always does, and at each step the canonical step is taken from
the state that the loop had come to: what the two differ by is one step's doing alone.
"""

import hashlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from loopmark.bench.measure.proof.compare import Comparer, Tally, compare
from loopmark.bench.measure.proof.own_step import Handed, Watched, take, was_skipped
from loopmark.bench.measure.proof.twin import Twin, buffers_of, parameters_of, state_of
from loopmark.bench.measure.warmup import CompilationLog
from loopmark.bench.records.proof import Deviation
from loopmark.bench.records.run import CacheState
from loopmark.loops.loop import Loop
from loopmark.loops.task import Task
from loopmark.loops.user_code import described

BUDGET_SECONDS = 4.0
"""The time for comparing. A GPU with few float64 units (1/64 of float32's rate) is slow at it."""
LEAST_STEPS = 2
"""That are compared however long they take."""
MOST_STEPS = 4
"""Times as many steps as are to be compared: a gradient scaler skips the first few until it has found its scale."""


@dataclass(frozen=True)
class Proven:
    """What a worker saw of the loop's steps."""

    steps: int
    """That were compared."""
    same_steps: int
    """Of those, the first so many gave eager's loss, gradients, update and buffers to the last bit."""
    skipped_steps: int
    """That a gradient scaler skipped, and that were not compared."""
    bits: int
    """Significant bits that the loop's arithmetic keeps."""
    draws_at_random: bool
    """Whether the model draws random numbers (dropout), of which a loop may draw others."""
    lost_at_step: int | None
    """The first step whose loss was NaN or infinite; nothing is compared from there on."""
    sha256: str
    """Of parameters and buffers at the end."""
    compile_seconds: float
    compile_cache: CacheState
    deviations: tuple[Deviation, ...]
    why_not: str | None = None
    """Why the canonical step could not be taken beside the loop's, which is no fault of the loop."""


def prove(task: Task, loop: Loop, steps: int, seed: int, now: Callable[[], float] = time.perf_counter) -> Proven:
    """Train ``task`` by ``loop`` for some steps and compare each with the canonical step from the same state.

    All ``steps`` are taken; where ``BUDGET_SECONDS`` do not suffice, fewer of them are compared (``Proven.steps``).

    Gradients and the loss are measured against a step in float64, and so are those of eager and of eager with each
    operation rounded at random to the loop's precision: how far rounding alone can move them. The update is measured
    against the one in float64 by the loop's own gradients, so that it shows what the optimizer did.

    Raises:
        Skip: the loop cannot train such a task.
        BadStep: it names phases that there are none of.
        Exception: whatever the loop raises.
    """
    twins = _twins(task)
    watched = Watched(task)
    torch.manual_seed(seed)
    step = loop.prepare(task)
    handed = Handed(task)
    tally, number, log = Tally(), 0, CompilationLog()
    why_not = twins if isinstance(twins, str) else None
    budget, last, beyond = _Budget(now), False, 0
    while tally.compared + beyond < steps and number < MOST_STEPS * steps and tally.lost is None and why_not is None:
        before, batch = state_of(task), task.next_batch()
        canonical = tuple(tensor.detach().clone(memory_format=torch.contiguous_format) for tensor in batch)
        torch.manual_seed(seed + number)
        own = take(task, step, batch, handed)
        if own.told and not math.isfinite(own.loss):
            tally.lost = number
        elif was_skipped(before, own):
            tally.skipped += 1
        elif last:
            beyond += 1  # taken all the same: every loop's digest is of as many steps
        elif not isinstance(twins, str):
            comparer = Comparer(*twins, before, (canonical[0], canonical[1]), own, seed + number, number)
            last = budget.holds_no_more_than_one(tally.compared) or tally.compared == steps - 1
            try:
                compare(comparer, tally, watched.bits(), last=last)
            except Exception as error:  # a model may hold what no other type or rounding can
                why_not = f"the canonical step could not be taken beside it: {described(error)}"
        number += 1
    return Proven(
        steps=tally.compared,
        same_steps=tally.same,
        skipped_steps=tally.skipped,
        bits=watched.bits(),
        draws_at_random=tally.draws,
        lost_at_step=tally.lost,
        sha256=_digest(task),
        compile_seconds=log.seconds(),
        compile_cache=log.cache_state(),
        deviations=tuple(tally.rows),
        why_not=why_not,
    )


class _Budget:
    """``BUDGET_SECONDS``, counted from the first comparison on: what the loop compiles is compiled by then."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now

    def holds_no_more_than_one(self, compared: int) -> bool:
        """Whether, after so many compared steps, the next is the last that fits."""
        if not compared:
            self._began = self._now()
            return False
        spent = self._now() - self._began
        return compared + 1 >= LEAST_STEPS and spent + 2 * spent / compared > BUDGET_SECONDS


def _twins(task: Task) -> tuple[Twin, Twin | None] | str:
    """Eager, and eager in float64 where the model can be that; or why there can be none."""
    try:
        eager = Twin(task)
    except Exception as error:  # copying runs the model's own code
        return f"its model cannot be copied: {described(error)}"
    try:
        return eager, Twin(task, exact=True)
    except Exception:
        return eager, None


def _digest(task: Task) -> str:
    digest = hashlib.sha256()
    for layers in (parameters_of(task.plain_model), buffers_of(task.plain_model)):
        for name, tensor in layers.items():
            digest.update(name.encode())
            digest.update(tensor.cpu().flatten().contiguous().view(torch.uint8).numpy().data)
    return digest.hexdigest()
