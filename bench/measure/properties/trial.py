"""A task that a loop has prepared, ready to be driven and looked at."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import CodeType
from typing import Any

import torch
from torch import Tensor

from loopmark.bench.measure.clock import BadStep
from loopmark.bench.measure.properties.fault import Fault, OutOfTime, Stopped, early_fault_of, fault_of
from loopmark.bench.measure.properties.recorder import Recorder
from loopmark.bench.measure.properties.yields import Modes
from loopmark.loops.errors import Skip
from loopmark.loops.loop import Loop
from loopmark.loops.task import Batch, Task
from loopmark.loops.technique import Driver, Step


class Trial:
    """A task, its step, and who drives that.

    ``step`` is always the generator; ``driver`` is None where whoever calls it drives it.
    """

    def __init__(self, task: Task, step: Step | Driver) -> None:
        self.task = task
        self.driver = step if isinstance(step, Driver) else None
        self.step: Step = step.step if isinstance(step, Driver) else step
        self.recorder = Recorder(task)

    @classmethod
    def begin(cls, make_task: Callable[[int], Task], loop: Loop, seed: int) -> "Trial":
        """A fresh task for ``seed``, prepared as a worker does.

        Raises:
            Skip: the task is of the wrong kind.
            Stopped: preparing it failed.
        """
        task = make_task(seed)
        torch.manual_seed(seed)
        try:
            step = loop.prepare(task)
        except (Skip, OutOfTime):
            raise
        except BaseException as error:  # a technique of a person's own may raise whatever it likes
            raise Stopped(early_fault_of(error)) from error
        return cls(task, step)

    def take(self, batch: Batch | None = None, *, driven: bool = True) -> None:
        """One whole step, by the driver where there is one and ``driven``.

        Raises:
            Stopped: the step raised.
        """
        inputs, targets = batch if batch is not None else self.task.next_batch()
        phase = ""
        with self.guarded(Trial.take.__code__, lambda: phase):
            if driven and self.driver is not None:
                self.driver(self.task, inputs, targets)
            else:
                for phase in self.step(self.task, inputs, targets):  # noqa: B007 - where it was, should it raise
                    pass

    def loss(self, batch: Batch | None = None, *, driven: bool = True) -> float | None:
        """One whole step, and the loss that it leaves; None where that is no number.

        Raises:
            Stopped: the step raised.
        """
        if self.driver is None or not driven:
            self.task.last_loss = None
        self.take(batch, driven=driven)
        return number_of(self.task.last_loss)

    @contextmanager
    def guarded(self, outermost: CodeType, last_phase: Callable[[], str]) -> Iterator[None]:
        """Run a step of it, driven by ``outermost``: what it calls is recorded, what it leaves on is put back.

        Raises:
            Stopped: the step raised, whatever it was.
            Skip: it cannot run with this task.
            BadStep: it is no step.
        """
        before = Modes.now(self.task.device.type)
        fault: Fault | None = None
        try:
            with self.recorder.installed(outermost):
                yield
        except (Skip, BadStep):
            raise
        except BaseException as error:
            fault = fault_of(error, last_phase())
        finally:
            before.put_back()
        if fault is not None:
            raise Stopped(fault)


def number_of(loss: Any) -> float | None:
    """A loss as a number, whatever a step left for one; None where it is none."""
    if isinstance(loss, Tensor) and loss.numel():
        return float(loss.detach().double().mean())
    return float(loss) if isinstance(loss, int | float) else None
