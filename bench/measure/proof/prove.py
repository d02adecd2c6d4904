"""The proof that a loop trains as eager does: each step is compared with the canonical step from the same state.

Two runs that round differently drift apart step by step, because training is chaotic, so runs are not compared.
Instead, the loop trains as usual, and before each of its steps the canonical step is taken from the loop's state: as
in eager, in float64, and with random rounding. Their differences therefore come from a single step.
"""

import itertools
import math
import time
from collections.abc import Callable
from contextlib import nullcontext, suppress

import torch
import torch._inductor.config

from loopmark.bench.measure.compilation import CompilationLog
from loopmark.bench.measure.proof.causes import causes_of
from loopmark.bench.measure.proof.comparison import Comparer, Proven, References, compare, drew
from loopmark.bench.measure.proof.steps import Own, State, WatchedLoop, digest_of, state_of, was_skipped
from loopmark.bench.measure.proof.twin import Twin
from loopmark.bench.records.training import Deviation
from loopmark.loops.batch import Batch, mapped
from loopmark.loops.loop import EAGER, Loop, refuse_closure
from loopmark.loops.task import Task
from loopmark.loops.technique import Skip
from loopmark.loops.user_code import described

BUDGET_SECONDS = 4.0
"""The time for comparisons. A GPU with few float64 units (1/64 of float32's rate) is slow at it."""
CAUSES_WITHIN_SECONDS = 60.0
"""Causes are looked for unless the comparisons took longer than this: each costs as much as one of them."""
MOST_STEPS = 4
"""Most steps, as a multiple of the steps to compare: a gradient scaler skips the first few to find its scale."""


def prove(
    task: Task,
    loop: Loop,
    steps: int,
    seed: int,
    now: Callable[[], float] = time.perf_counter,
    *,
    base: Loop = EAGER,
    make_task: Callable[[], Task] | None = None,
) -> Proven:
    """Train ``task`` with ``loop`` for ``steps`` steps, and compare each with the step of ``base`` from the same state.

    The step is compared without the techniques of ``base``: the canonical step or the user's own is what a loop should
    train as. ``make_task`` makes the same task again, for a model that cannot be copied.

    All ``steps`` are taken. If ``BUDGET_SECONDS`` is too short, fewer are compared, but at least two.

    The loss and gradients of three steps are measured against a step in float64: the loop's, the baseline's, and the
    baseline's with each operation rounded at random to the loop's precision, which shows the effect of rounding alone.
    The update is measured against the float64 update from the loop's own gradients, so that it shows only the
    optimizer's work; where a step of the user's own does more than that, against the whole step.

    Raises:
        Skip: the loop cannot train the task.
        BadStep: the step yields unknown phases, or none.
        Exception: any error of the loop.
    """
    seen, references = Proven(), References()
    eager, exact, seen.why_not = _twins(task, base, make_task)
    torch.manual_seed(seed)
    watched, log = WatchedLoop(task, loop), CompilationLog()
    last, beyond, began, kept = False, 0, 0.0, dict[str, tuple[float, float]]()

    def taken(number: int) -> tuple[State, Batch, Own]:
        before, batch = state_of(task), task.next_batch()
        given = mapped(_plain_copy, batch[0]), mapped(_plain_copy, batch[1])
        if number == 0 and eager is not None and _draws(eager, before, given, seed):
            # Compiled code draws other random numbers than eager's unless it leaves the drawing to eager's kernels.
            torch._inductor.config.fallback_random = True
        torch.manual_seed(seed + number)
        return before, given, watched.take(batch)

    with torch._inductor.config.patch(fallback_random=torch._inductor.config.fallback_random):  # as before, at its end
        for number in range(MOST_STEPS * steps):
            if seen.steps + beyond == steps or seen.lost_at_step is not None or seen.why_not is not None:
                break
            before, given, own = taken(number)
            seen.bits = watched.bits
            if own.told and not math.isfinite(own.loss):
                seen.lost_at_step = number
            elif was_skipped(before, own):
                seen.skipped_steps += 1
            elif last or eager is None:
                beyond += 1  # still taken, so that every loop's digest covers the same number of steps
            else:
                if not seen.steps:
                    began = now()  # only now, when the loop has finished compiling
                spent = now() - began if seen.steps else 0.0
                last = seen.steps == steps - 1 or spent + 2 * spent / max(1, seen.steps) > BUDGET_SECONDS
                comparer = Comparer(eager, exact, before, given, own, seed + number, number)
                try:
                    compare(comparer, seen, references, last=last)
                except Exception as error:  # a model may fail in another type or with rounding
                    seen.why_not = f"the baseline's step failed: {described(error)}"
                if seen.steps == 1:
                    kept = eager.kept_beside(task)
                for twin in filter(None, (eager, exact)):
                    twin.advance()
    seen.sha256, seen.compile_seconds, seen.compile_cache = digest_of(task), log.seconds(), log.cache_state()
    after = eager.kept_beside(task) if eager else {}
    still = [at for at, (mine, its) in kept.items() if at in after and after[at][0] == mine and after[at][1] != its]
    seen.deviations += tuple(Deviation(seen.steps - 1, "kept", place, 1.0, 0.0, 0.0, 0.0) for place in still)
    if eager is None or not (references.departed or still) or now() - began > CAUSES_WITHIN_SECONDS:
        return seen
    if watched.is_replayed or (beyond and eager.keeps_state):
        return seen
    numbers = itertools.count(MOST_STEPS * steps)
    with suppress(Exception):  # more steps show causes where they can; the proof has ended
        seen.causes = causes_of(
            task, lambda: Comparer(eager, exact, *taken(n := next(numbers)), seed + n, n), references, seen.bits, still
        )
    return seen


def _twins(task: Task, base: Loop, make_task: Callable[[], Task] | None) -> tuple[Twin | None, Twin | None, str | None]:
    """The baseline's twin and the exact one; or why there is none. A model that cannot be copied is made again."""
    again, sources = False, (task, task)
    try:
        eager = Twin(task, base)
    except Exception as error:  # copying runs the model's own code
        why, again = f"model not copied: {described(error)}", True
        if make_task is None:
            return None, None, why
        try:
            sources = make_task(), make_task()
        except Exception as second:  # the user's own function may work only once
            return None, None, f"{why}; nor can it be made again: {described(second)}"
        if len({id(next(one.plain_model.parameters())) for one in (task, *sources)}) < 3:
            return None, None, f"{why}; and its function gives the same model each time"
        eager = Twin(sources[0], base, is_own=True)
    try:
        if eager.is_canonical:
            refuse_closure(task.new_optimizers().values())
    except Skip as skip:
        return None, None, f"eager cannot run: {str(skip).partition(';')[0]}"
    exact = None
    with suppress(Exception):  # a model may refuse float64
        exact = Twin(sources[1], base, exact=True, is_own=again)
    return eager, exact, None


def _plain_copy(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().clone(memory_format=torch.contiguous_format)


def _draws(eager: Twin, before: State, batch: Batch, seed: int) -> bool:
    """True if the baseline's step draws random numbers; False if it cannot be taken, which `compare` tells."""
    torch.manual_seed(seed)
    with suppress(Exception):
        eager.take(before, batch, nullcontext())  # as if rounded, since the state that a step keeps moves on later
    return drew(seed, eager.device)
