"""A training job for one loop: a model, its loss function, its optimizer, and a stream of real batches."""

import hashlib
import inspect
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from loopmark.loops.goal import Goal

Batch = tuple[Tensor, Tensor]


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

    def __iter__(self) -> Iterator[Batch]:
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
        loss_fn: predictions and targets to the loss, a scalar (): the mean over the batch.
        make_optimizer: a function of the parameters, such as ``functools.partial(torch.optim.AdamW, lr=1e-3)``. It is
            no optimizer, because a technique may ask for ``fused=True`` or ``capturable=True`` before it is made.
        batches: pairs (inputs, targets) of tensors: ``Batches``, a list or a ``DataLoader``. One pass is one epoch.
        blocks: parts of the model that ``checkpoint`` may compute again, such as its layers.
        goal: the quality that training is to reach; None if there is none.
    """

    model: nn.Module
    loss_fn: Callable[[Any, Any], Tensor]
    make_optimizer: Callable[..., Optimizer]
    batches: Iterable[Batch]
    blocks: tuple[nn.Module, ...] = ()
    goal: Goal | None = None

    plain_model: nn.Module = field(init=False, repr=False)  # the given `model`, whose quality is measured
    optimizer: Optimizer = field(init=False, repr=False)  # created by `build_optimizer`
    optimizer_options: dict[str, Any] = field(default_factory=dict, init=False)
    autocast: AbstractContextManager[Any] = field(default_factory=nullcontext, init=False)
    scaler: torch.amp.GradScaler = field(default_factory=lambda: torch.amp.GradScaler(enabled=False), init=False)
    input_format: torch.memory_format = field(default=torch.contiguous_format, init=False)
    last_loss: Tensor | None = field(default=None, init=False)  # the loss of the last step, (), detached

    def __post_init__(self) -> None:
        self.plain_model = self.model
        self._stream = self._epochs()
        parameter = next(self.model.parameters(), None)
        if parameter is None:
            raise ValueError("the task's model has no parameters; there is nothing to train")
        self.device = parameter.device

    def next_batch(self) -> Batch:
        """The next batch of the endless sequence of epochs, on the model's device."""
        batch = next(self._stream)
        if not (isinstance(batch, tuple | list) and len(batch) == 2 and isinstance(batch[0], Tensor)):
            parts = ", ".join(type(part).__name__ for part in batch[:3]) if isinstance(batch, tuple | list) else ""
            kind = f"{type(batch).__name__}{f' of {parts}' if parts else ''}"
            raise TypeError(f"a batch must be a pair of tensors, inputs and targets; this one is a {kind}")
        inputs, targets = batch
        inputs = inputs.to(self.device, non_blocking=True)
        if self.input_format is not torch.contiguous_format:
            inputs = inputs.contiguous(memory_format=self.input_format)
        return inputs, targets.to(self.device, non_blocking=True)

    def build_optimizer(self) -> None:
        """Create the optimizer, with the options that the techniques have set."""
        self.optimizer = self.make_optimizer(self.model.parameters(), **self.optimizer_options)

    def optimizer_takes(self, option: str) -> bool:
        """True if ``make_optimizer`` accepts the keyword ``option``, such as ``fused``."""
        parameters = inspect.signature(self.make_optimizer).parameters
        if option in parameters or not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            return option in parameters
        try:  # behind **options, only a call shows whether the option is accepted
            self.make_optimizer([nn.Parameter(torch.zeros(1, device=self.device))], **{option: True})
        except TypeError:
            return False
        return True

    def _epochs(self) -> Iterator[Batch]:
        while True:
            empty = True
            for batch in self.batches:
                empty = False
                yield batch
            if empty:
                once = "a generator can be read only once: give Batches, a list or a DataLoader"
                raise ValueError(f"the task's batches gave nothing; {once}")
