"""A task prepared by a loop: it runs steps, describes their faults, and saves and restores their state."""

import ast
import inspect
import signal
import textwrap
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from types import CodeType
from typing import Any

import torch
from torch import Tensor

from loopmark.bench.measure.answers import Places, phase_of, told
from loopmark.bench.measure.clock import BadStep
from loopmark.bench.measure.properties.recorder import Recorder
from loopmark.loops.batch import Batch
from loopmark.loops.loop import Loop
from loopmark.loops.task import Task
from loopmark.loops.technique import Driver, Skip, Step
from loopmark.loops.user_code import BadSpec, place_of
from loopmark.phases import YIELDED


class PreparedLoop:
    """A task, its step (always the generator) and its driver; ``driver`` is None where the caller runs the step."""

    def __init__(self, task: Task, step: Step | Driver) -> None:
        self.task = task
        self.driver = step if isinstance(step, Driver) else None
        self.step: Step = step.step if isinstance(step, Driver) else step
        self.recorder = Recorder(task)

    @classmethod
    def begin(cls, make_task: Callable[[int], Task], loop: Loop, seed: int) -> "PreparedLoop":
        """A new task, prepared as in a worker. Raises Skip where the loop cannot run it, and Stopped on failure."""
        task = make_task(seed)
        torch.manual_seed(seed)
        try:
            step = loop.prepare(task)
        except (Skip, BadSpec, OutOfTime):
            raise
        except BaseException as error:  # a user's own technique may raise anything
            raise Stopped(Fault(_sentence(error, "while it prepares its task", task), early=True)) from error
        return cls(task, step)

    def take(self, batch: Batch | None = None, *, driven: bool = True) -> None:
        """Take one step, with the driver if there is one and ``driven``. Raises Stopped where the step raises."""
        inputs, targets = batch if batch is not None else self.task.next_batch()
        phase = ""
        with self.guarded(PreparedLoop.take.__code__, lambda: phase):
            if driven and self.driver is not None:
                self.driver(self.task, inputs, targets)
            else:
                for phase in self.step(self.task, inputs, targets):  # noqa: B007 - the last phase, if it raises
                    pass

    def loss(self, batch: Batch | None = None, *, driven: bool = True) -> float | None:
        """Take one step and return its loss; None where it is not a number. Raises Stopped as ``take`` does."""
        if self.driver is None or not driven:
            self.task.last_loss = None
        self.take(batch, driven=driven)
        return number_of(self.task.last_loss)

    @contextmanager
    def guarded(self, outermost: CodeType, last_phase: Callable[[], str]) -> Iterator[None]:
        """Run a step, called by ``outermost``: its calls are recorded, and torch's modes are restored after it.

        Raises Stopped for any error of the step except Skip and BadStep.
        """
        before = Modes.now(self.task.device.type)
        try:
            with self.recorder.installed(outermost):
                yield
        except (Skip, BadStep):
            raise
        except BaseException as error:
            raise Stopped(_fault_of(error, last_phase(), self.task)) from None
        finally:
            before.put_back()


def number_of(loss: Any) -> float | None:
    """A step's loss as a number; None where it is not a number."""
    if isinstance(loss, Tensor) and loss.numel():
        return float(loss.detach().double().mean())
    return float(loss) if isinstance(loss, int | float) else None


@dataclass(frozen=True)
class Fault:
    """The reason why a step did not end, with its phase, as a sentence without its full stop."""

    text: str
    hangs: bool = False
    early: bool = False  # before its first step


class Stopped(Exception):  # noqa: N818 - the fault of the step
    """A step stopped while it was checked."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.text)
        self.fault = fault


class OutOfTime(BaseException):
    """A check took longer than ``seconds``. It is no ``Exception``, since the loop may catch those."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"it took longer than {seconds:g} s")
        self.seconds = seconds


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Raise OutOfTime in the body after ``seconds``, between Python instructions.

    A process has only one such timer; its earlier setting is restored at the end.
    """

    def ring(*_: Any) -> None:
        raise OutOfTime(seconds)

    handler = signal.signal(signal.SIGALRM, ring)
    left, _ = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, left)
        signal.signal(signal.SIGALRM, handler)


def phase_name(phase: str) -> str:
    """A phase's name in a message; "" stands for the code after the last yield."""
    return f"`{phase}`" if phase else "the code after the last yield"


def _fault_of(error: BaseException, last_phase: str, task: Task) -> Fault:
    """The fault for ``error``, raised after ``last_phase`` was yielded; "" before the first yield."""
    if isinstance(error, Stopped):
        return error.fault
    order = ("", *YIELDED, "")
    known = last_phase in order
    phase = phase_name(order[order.index(last_phase) + 1]) if known else f"the phase after {phase_name(last_phase)}"
    if not last_phase and phase_of(error) is None:
        phase = "the step"  # an ordinary function's, or one with phases of its own
    if isinstance(error, OutOfTime):
        return Fault(f"hangs at {place_of(error)} in {phase}: it was still there after {error.seconds:g} s", hangs=True)
    return Fault(_sentence(error, f"in {phase}", task))


def _sentence(error: BaseException, when: str, task: Task) -> str:
    place, _, what = told(error, Places().with_task(task)).partition(": ")
    kind, _, said = what.partition(": ")
    return f"raises {kind} at {place} {when}: {said or 'no message'}"


@dataclass(frozen=True)
class Modes:
    """Torch's process-wide modes at one moment."""

    gradients: bool
    inference: bool
    autocast: bool
    anomaly: bool
    default_dtype: torch.dtype
    device_type: str

    @classmethod
    def now(cls, device_type: str) -> "Modes":
        return cls(
            gradients=torch.is_grad_enabled(),
            inference=torch.is_inference_mode_enabled(),
            autocast=torch.is_autocast_enabled(device_type),
            anomaly=torch.is_anomaly_enabled(),
            default_dtype=torch.get_default_dtype(),
            device_type=device_type,
        )

    def left_on(self, before: "Modes") -> tuple[str, ...]:
        """The modes that are on now and were not ``before``, by torch's names."""
        changed = {
            "autocast": self.autocast and not before.autocast,
            "inference_mode": self.inference and not before.inference,
            "no_grad": not self.gradients and before.gradients and not self.inference,
            "detect_anomaly": self.anomaly and not before.anomaly,
            f"a default dtype of {self.default_dtype}": self.default_dtype != before.default_dtype,
        }
        return tuple(name for name, is_on in changed.items() if is_on)

    def put_back(self) -> None:
        """Restore the modes after a step."""
        torch.set_grad_enabled(self.gradients)
        torch.set_autocast_enabled(self.device_type, self.autocast)
        torch.set_default_dtype(self.default_dtype)
        torch.autograd.set_detect_anomaly(self.anomaly)


def yields_inside_with(source: str) -> list[int]:
    """The lines of every ``yield`` inside a ``with`` of its own function."""
    return sorted(_held_yields(ast.parse(source), held=False))


@cache
def held_yields_of(code: CodeType) -> list[int]:
    """The lines, in its file, of every such ``yield`` of a function; empty where its source is unavailable."""
    try:
        lines, first = inspect.getsourcelines(code)
        found = yields_inside_with(textwrap.dedent("".join(lines)))
    except (OSError, TypeError, SyntaxError, ValueError):
        return []
    return [line + max(first, 1) - 1 for line in found]


def _held_yields(node: ast.AST, held: bool) -> Iterator[int]:
    for child in ast.iter_child_nodes(node):
        if held and isinstance(child, ast.Yield | ast.YieldFrom):
            yield child.lineno
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from _held_yields(child, held=False)
        else:
            yield from _held_yields(child, held or isinstance(child, ast.With | ast.AsyncWith))


class Snapshot:
    """A task's learnt state. It is restored in place, so that compiled code stays valid."""

    def __init__(self, task: Task) -> None:
        self._task = task
        parameters = (parameter.detach() for parameter in task.model.parameters())
        slots = (value for state in task.optimizer.state.values() for value in state.values())
        kept = (*parameters, *task.model.buffers(), *(slot for slot in slots if isinstance(slot, Tensor)))
        self._tensors = [(tensor, tensor.clone()) for tensor in kept]
        self._states = {parameter: dict(state) for parameter, state in task.optimizer.state.items()}
        self._options = [{k: v for k, v in group.items() if k != "params"} for group in task.optimizer.param_groups]
        self._scaler = task.scaler.state_dict()

    @torch.no_grad()
    def restore(self) -> None:
        """Restore the state; entries added to the optimizer's state since are removed."""
        for tensor, before in self._tensors:
            tensor.copy_(before)
        state = self._task.optimizer.state
        for parameter in state.keys() - self._states.keys():
            del state[parameter]
        for parameter, before_it in self._states.items():
            state[parameter].clear()
            state[parameter].update(before_it)
        for group, options in zip(self._task.optimizer.param_groups, self._options, strict=False):
            group.update(options)
        if self._scaler:
            self._task.scaler.load_state_dict(self._scaler)


def parameters_of(task: Task) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in task.model.parameters()]


def same_bits(a: Tensor, b: Tensor) -> bool:
    """True if both have the same shape, type and bits: NaN equals itself, and 0.0 differs from -0.0."""
    alike = a.shape == b.shape and a.dtype == b.dtype
    return alike and torch.equal(a.flatten().view(torch.uint8), b.flatten().view(torch.uint8))


def same(some: Iterable[Tensor], others: Iterable[Tensor]) -> bool:
    return all(same_bits(a, b) for a, b in zip(some, others, strict=True))


def largest_difference(some: Iterable[Tensor], others: Iterable[Tensor]) -> float:
    """The largest absolute difference over all pairs of tensors; NaN if any number is NaN."""
    differences = [(a.double() - b.double()).abs().max() for a, b in zip(some, others, strict=True) if a.numel()]
    return float(torch.stack(differences).max()) if differences else 0.0
