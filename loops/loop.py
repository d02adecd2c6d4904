"""One version of the training step: the canonical step or the user's own, changed by techniques."""

from dataclasses import dataclass

import torch

from loopmark.loops import eager
from loopmark.loops.task import Task
from loopmark.loops.technique import Driver, Step, Technique


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

        Raises ``Skip`` where a technique cannot be applied to the task.
        """
        for technique in self.techniques:
            if technique.prepare:
                technique.prepare(task)
        task.build_optimizer()
        step = next((t.step for t in reversed(self.techniques) if t.step), self.base)
        driver = next((t.driver for t in reversed(self.techniques) if t.driver), None)
        return driver(step) if driver else step


EAGER = Loop("eager", eager.step)
