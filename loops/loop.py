"""One version of the training step: the canonical step or the user's own, changed by techniques."""

import functools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from loopmark.loops import eager
from loopmark.loops.optimizer_set import needs_closure
from loopmark.loops.task import Task
from loopmark.loops.technique import Driver, Skip, Step, Technique
from loopmark.loops.user_code import BadSpec, defined_at
from loopmark.phases import REST


@dataclass(frozen=True)
class Loop:
    """A step and the techniques that change it, in the order in which they apply."""

    name: str
    base: Step
    techniques: tuple[Technique, ...] = ()

    def lacks(self, device: torch.device) -> str | None:
        """The requirement that this machine lacks, as a sentence; None if the loop can run."""
        return next((reason for t in self.techniques if (reason := t.lacks(device))), None)

    def prepare(self, task: Task) -> Step | Driver:
        """Apply the techniques to ``task``, create its optimizer, and return the step or its driver.

        Raises ``Skip`` where a technique cannot be applied to the task, or the canonical step to its optimizer.
        """
        for technique in self.techniques:
            if technique.prepare:
                technique.prepare(task)
        task.build_optimizer()
        if self.is_canonical:
            step = next((t.step for t in reversed(self.techniques) if t.step), self.base)
            refuse_closure(task.optimizers.values())
        else:
            step = self._checked(self.base) if any(t.used for t in self.techniques) else self.base
        merges_loss = self.is_canonical and not task.has_loss_fn
        if merges_loss or task.call is not None:
            step = _adapted(step, merges_loss)
        driver = next((t.driver for t in reversed(self.techniques) if t.driver), None)
        return driver(step) if driver else step

    def _checked(self, step: Step) -> Step:
        """The user's own ``step``, with Skip raised after its first run if it ignores a technique."""
        checked = False

        @functools.wraps(step)
        def run(task: Task, inputs: Any, targets: Any) -> Iterator[str]:
            nonlocal checked
            yield from step(task, inputs, targets)
            if not checked:
                checked = True
                for technique in self.techniques:
                    if technique.used and (lines := technique.used(task)):
                        raise Skip(f"{technique.name} has no effect in {defined_at(step)}: {lines}")

        return run

    @property
    def is_canonical(self) -> bool:
        """True if its step is the canonical one, or a technique's change of it; False for the user's own."""
        return self.base is eager.step


@functools.cache  # two loops of it have the same base
def of_function(function: Callable[..., Any]) -> Step:
    """An ordinary function that takes a whole step and returns its loss, as a step with the one phase ``rest``.

    Parts that it names by ``with phase(…)`` are reported to a listener as they end.
    """

    @functools.wraps(function)
    def step(task: Task, inputs: Any, targets: Any) -> Iterator[str]:
        loss = function(task, inputs, targets)
        if isinstance(loss, Iterator):  # a generator behind a decorator or a partial
            yield from loss
            return
        if isinstance(loss, Tensor):
            task.last_loss = loss.detach()
        elif isinstance(loss, int | float):
            task.last_loss = torch.as_tensor(loss)
        elif loss is not None:
            returned = f"the step returned a {type(loss).__name__}; return its loss, a scalar tensor"
            raise BadSpec(f"{defined_at(function)}: {returned}, or yield its phases")
        yield REST

    return step


def _adapted(step: Step, merges_loss: bool) -> Step:
    """``step``, in which the task's ``call`` gets the targets of the running step.

    ``merges_loss``: for a model that computes its loss, finding it in the model's output belongs to ``forward``.
    """

    @functools.wraps(step)
    def adapted(task: Task, inputs: Any, targets: Any) -> Iterator[str]:
        task.bind(targets)
        if not merges_loss:
            yield from step(task, inputs, targets)
            return
        for phase in step(task, inputs, targets):
            if phase != "forward":
                yield "forward" if phase == "loss" else phase

    return adapted


def refuse_closure(optimizers: Iterable[Optimizer]) -> None:
    """Raise Skip for an optimizer whose step needs a closure."""
    for optimizer in optimizers:
        if needs_closure(optimizer):
            raise Skip(
                f"{type(optimizer).__name__} needs a closure, which the canonical step does not pass; write a step "
                "that calls task.optimizer.step(closure), and compare with it: "
                "--loop FILE.py:step --baseline FILE.py:step"
            )


EAGER = Loop("eager", eager.step)
