"""A training job for one loop: a model, its loss function, its optimizer, and a stream of real batches."""

import functools
import hashlib
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from contextlib import AbstractContextManager, nullcontext
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from loopmark.loops import batch as batches_of
from loopmark.loops.batch import BadBatch, Batch, Called
from loopmark.loops.goal import Goal
from loopmark.loops.optimizer_set import OptimizerSet
from loopmark.loops.user_code import BadSpec, defined_at, place_among

WHAT_BATCHES = "give Batches, a list or a DataLoader"


class Batches:
    """A dataset in memory, read in shuffled batches, epoch after epoch.

    Every batch has ``batch_size`` rows. The remainder of an epoch is left out, since a changed shape makes
    ``torch.compile`` compile again and cannot be replayed by a CUDA graph. Each epoch has a new order; the same seed
    always gives the same sequence of orders.

    Args:
        inputs: (N, ...), on the device that the batches should be on.
        targets: (N, ...), on the same device.
        batch_size: rows a batch, from 1 to N; otherwise ValueError.
        seed: seed of the shuffling.
    """

    def __init__(self, inputs: Tensor, targets: Tensor, *, batch_size: int, seed: int) -> None:
        if len(inputs) != len(targets):
            raise ValueError(f"{len(inputs)} inputs but {len(targets)} targets; give one target for each input")
        if not 1 <= batch_size <= len(inputs):
            raise ValueError(f"a batch size of {batch_size} does not fit a dataset of {len(inputs)} rows")
        self.inputs, self.targets, self.batch_size = inputs, targets, batch_size
        self._shuffle = torch.Generator().manual_seed(seed)

    def __len__(self) -> int:
        """Batches in one epoch."""
        return len(self.inputs) // self.batch_size

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        order = torch.randperm(len(self.inputs), generator=self._shuffle)
        if self.inputs.is_cuda:
            order = order.pin_memory()  # else the copy would wait for the device in every epoch's first step
        order = order.to(self.inputs.device, non_blocking=True)
        for rows in order.split(self.batch_size)[: len(self)]:
            yield self.inputs[rows], self.targets[rows]

    def data_sha256(self) -> str:
        """SHA-256 of the inputs' and targets' bytes, shapes and types. It is the same on every device."""
        digest = hashlib.sha256()
        for tensor in (self.inputs, self.targets):
            digest.update(f"{tuple(tensor.shape)} {tensor.dtype}".encode())
            digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().data)
        return digest.hexdigest()


@dataclass
class Task:
    """One training job in one process. Techniques change it before its first step.

    Args:
        model: on the device that it trains on. ValueError if it has no parameters.
        loss_fn: predictions and targets to the loss, a scalar (): the mean over the batch. None where the model
            computes the loss: its output is then a scalar, has a ``loss``, or is a tuple with one scalar tensor.
        make_optimizer: a function of the parameters, such as ``functools.partial(torch.optim.AdamW, lr=1e-3)``; of the
            model, if its first parameter is named ``model``. It may return a dict of optimizers. It is no optimizer,
            because a technique may ask for ``fused=True`` or ``capturable=True`` before it is made.
        batches: ``Batches``, a list or a ``DataLoader``. One pass is one epoch. A batch is a pair, inputs and targets,
            or one mapping or object, which is inputs without targets. All tensors in it are moved to the device.
        call: (model, inputs, targets) to predictions. Without it, a mapping is passed to the model by keyword, a tuple
            or list by position, and anything else as the one argument.
        make_scheduler: a function of the optimizer that returns its learning rate schedule, stepped after each update.
        counts: units of throughput besides samples, each with a function of a batch as the loader gives it, such as
            ``{"tokens": lambda batch: batch["attention_mask"].sum()}``.
        goal: the quality that training is to reach; None if there is none.
        blocks: parts of the model that ``checkpoint`` may compute again, such as its layers.
    """

    model: nn.Module
    loss_fn: Any  # (predictions, targets) to a tensor (); None becomes the function that finds the model's own loss
    make_optimizer: Callable[..., Any]
    batches: Iterable[Any]
    _: KW_ONLY
    call: Callable[[nn.Module, Any, Any], Any] | None = None
    make_scheduler: Callable[[Optimizer], Any] | None = None
    counts: Mapping[str, Callable[[Any], Any]] | None = None
    goal: Goal | None = None
    blocks: tuple[nn.Module, ...] = ()

    plain_model: nn.Module = field(init=False, repr=False)  # the given `model`, whose quality is measured
    optimizer: Optimizer = field(init=False, repr=False)  # created by `build_optimizer`
    optimizers: dict[str, Optimizer] = field(init=False, repr=False)  # by the names that `make_optimizer` gives them
    schedules: dict[str, Any] = field(default_factory=dict, init=False, repr=False)  # by their optimizers' names
    optimizer_options: dict[str, Any] = field(default_factory=dict, init=False)
    autocast: AbstractContextManager[Any] = field(default_factory=nullcontext, init=False)
    scaler: torch.amp.GradScaler = field(default_factory=lambda: torch.amp.GradScaler(enabled=False), init=False)
    input_format: torch.memory_format = field(default=torch.contiguous_format, init=False)
    last_loss: Tensor | None = field(default=None, init=False)  # the loss of the last step, (), detached
    has_loss_fn: bool = field(default=True, init=False, repr=False)
    fetched: list[Any] | None = field(default=None, init=False, repr=False)  # keeps the loader's batches, if a list
    epochs: int = field(default=0, init=False)  # begun by `next_batch`

    def __post_init__(self) -> None:
        self.place = _caller()
        self.plain_model = self.model
        if self.loss_fn is None:
            self.has_loss_fn = False
            of_torch = type(self.model).__module__.startswith("torch.")
            place = self.place if of_torch else defined_at(type(self.model).forward)
            self.loss_fn = functools.partial(batches_of.loss_in, place=place)
        if not isinstance(self.batches, Iterable):
            raise BadSpec(f"{self.place}: batches is a {type(self.batches).__name__}; {WHAT_BATCHES}")
        self._stream = self._epochs()
        parameter = next(self.model.parameters(), None)
        if parameter is None:
            raise ValueError("the task's model has no parameters; there is nothing to train")
        self.device = parameter.device

    def next_batch(self) -> Batch:
        """The next batch of the endless sequence of epochs, on the model's device.

        Raises BadBatch, with the place that made it, where nothing in the batch is a tensor.
        """
        batch = next(self._stream)
        if self.fetched is not None:
            self.fetched.append(batch)
        if type(batch) in (tuple, list) and len(batch) == 2:  # the quick way for most tasks
            inputs, targets = batch
            is_plain = type(inputs) is type(targets) is Tensor and self.call is None
            if is_plain and self.input_format is torch.contiguous_format:
                return inputs.to(self.device, non_blocking=True), targets.to(self.device, non_blocking=True)
        try:
            inputs, targets = batches_of.inputs_and_targets(batch, self.has_loss_fn)
        except TypeError as error:
            raise BadBatch(f"{self.batches_place()}: {error}") from None
        inputs = batches_of.moved(inputs, self.device, self.input_format)
        targets = batches_of.moved(targets, self.device, torch.contiguous_format)
        self.adapt(inputs)
        return inputs, targets

    def adapt(self, inputs: Any) -> None:
        """Let ``model(inputs)`` pass ``inputs`` as the model takes them, or as ``call`` does."""
        if (self.call or not isinstance(inputs, Tensor)) and not isinstance(self.model, Called):
            self.model = Called(self.model, self.call)

    def epoch_length(self) -> int | None:
        """The batches of one epoch; None where it is unknown."""
        try:
            return len(self.batches) if isinstance(self.batches, Sized) else None
        except TypeError:  # the length of a DataLoader over an iterable is unknown
            return None

    def restart(self) -> None:
        """Begin a new epoch with the next batch."""
        self._stream = self._epochs()

    def bind(self, targets: Any) -> None:
        """Make ``targets`` those that ``call`` gets with the next call of ``model``."""
        if isinstance(self.model, Called):
            self.model.targets = targets

    def build_optimizer(self) -> None:
        """Create the optimizers and their schedules, with the options that the techniques have set."""
        self.optimizers = self.new_optimizers()
        several = len(self.optimizers) > 1
        self.optimizer = OptimizerSet(self.optimizers) if several else next(iter(self.optimizers.values()))
        self.schedules = {}
        if self.make_scheduler is not None:
            for name, optimizer in self.optimizers.items():
                self.schedules[name] = self.make_scheduler(optimizer)
                optimizer.register_step_post_hook(lambda *_, name=name: _advance(self.schedules[name]))

    def optimizer_takes(self, option: str) -> bool:
        """True if ``make_optimizer`` accepts the keyword ``option``, such as ``fused``."""
        parameters = inspect.signature(self.make_optimizer).parameters
        if option in parameters or not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            return option in parameters
        try:  # behind **options, only a call shows whether the option is accepted
            self._make_optimizer(**{option: True})
        except TypeError:
            return False
        return True

    def why_not(self, option: str) -> str:
        """The reason why ``make_optimizer`` does not take ``option``, as a sentence, with the line to change."""
        made = self._make_optimizer()
        kinds = [*map(type, made.values() if isinstance(made, Mapping) else [made])]
        if lacking := [kind.__name__ for kind in kinds if option not in inspect.signature(kind).parameters]:
            return f"{lacking[0]} does not"
        names = " and ".join(kind.__name__ for kind in kinds)
        first = next(iter(inspect.signature(self.make_optimizer).parameters), "parameters")
        return (
            f"{names} does, but {defined_at(self.make_optimizer)} makes it without the option: give the function "
            f"**options, as in make_optimizer({first}, **options), and pass them on to {names}"
        )

    def new_optimizers(self) -> dict[str, Optimizer]:
        """New optimizers of the model, by name, with the options that the techniques have set."""
        if not callable(self.make_optimizer):
            kind = type(self.make_optimizer).__name__
            raise BadSpec(f"{self.place}: make_optimizer is a {kind}; give a function that makes it of the parameters")
        made = self._make_optimizer(**self.optimizer_options)
        named = dict(made) if isinstance(made, Mapping) else {"optimizer": made}
        if not named or not all(isinstance(one, Optimizer) for one in named.values()):
            kinds = ", ".join(dict.fromkeys(type(one).__name__ for one in named.values())) or type(made).__name__
            what = f"returned a {kinds}; return an optimizer derived from torch.optim.Optimizer, or a dict of these"
            raise BadSpec(f"{defined_at(self.make_optimizer)}: make_optimizer {what}")
        return named

    def _make_optimizer(self, **options: Any) -> Any:
        parameters = [*inspect.signature(self.make_optimizer).parameters]
        wants_model = bool(parameters) and parameters[0] == "model"
        return self.make_optimizer(self.plain_model if wants_model else self.model.parameters(), **options)

    def batches_place(self) -> str:
        """The place that makes the batches: the loader's own code, else the task's."""
        dataset = getattr(self.batches, "dataset", None)
        makers = (getattr(self.batches, "collate_fn", None), getattr(type(dataset), "__getitem__", None),
                  getattr(type(dataset), "__iter__", None), getattr(type(self.batches), "__iter__", None))  # fmt: skip
        own = (m for m in makers if not (getattr(m, "__module__", None) or "torch").startswith(("torch", "loopmark.")))
        return next((place for maker in own if ".py:" in (place := defined_at(maker))), self.place)

    def _epochs(self) -> Iterator[Any]:
        while True:
            empty = True
            self.epochs += 1
            for batch in self.batches:
                empty = False
                yield batch
            if empty:
                once = f"a generator can be read only once: {WHAT_BATCHES}"
                raise BadBatch(f"{self.batches_place()}: the task's batches gave nothing; {once}")


def _caller() -> str:
    """The place outside Loopmark that makes a task, as ``file.py:12``."""
    frame, lines = sys._getframe(1), list[tuple[str, int]]()
    while frame is not None:
        lines.append((frame.f_code.co_filename, frame.f_lineno))
        frame = frame.f_back  # type: ignore[assignment]
    return place_among(lines[::-1])


def _advance(schedule: Any) -> None:
    """Step a schedule; one that has a number of steps, such as OneCycleLR, keeps its last learning rates after them."""
    if getattr(schedule, "last_epoch", 0) < (getattr(schedule, "total_steps", None) or float("inf")):
        schedule.step()
