"""All that a task has learnt, to be put back, and tensors compared bit for bit: NaN equals itself, 0.0 is not -0.0."""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from loopmark.loops.task import Task

_WHOLE = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def same_bits(a: Tensor, b: Tensor) -> bool:
    """Whether the two have the same shape, type and bits."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    if a.is_floating_point() and a.element_size() in _WHOLE:
        a, b = a.view(_WHOLE[a.element_size()]), b.view(_WHOLE[b.element_size()])
    return torch.equal(a, b)


def same(some: Iterable[Tensor], others: Iterable[Tensor]) -> bool:
    """Whether all of them have, pair by pair."""
    return all(same_bits(a, b) for a, b in zip(some, others, strict=True))


def largest_difference(some: Iterable[Tensor], others: Iterable[Tensor]) -> float:
    """The largest difference between any two numbers of a pair; NaN where there is one among them."""
    differences = [(a.double() - b.double()).abs().max() for a, b in zip(some, others, strict=True) if a.numel()]
    return float(torch.stack(differences).max()) if differences else 0.0


def parameters_of(task: Task) -> list[Tensor]:
    """A copy of each parameter."""
    return [parameter.detach().clone() for parameter in task.model.parameters()]


def tensors_of(task: Task) -> Iterator[Tensor]:
    """Every tensor that a step may change: parameters, buffers, the optimizer's state."""
    yield from (p.detach() for p in task.model.parameters())
    yield from task.model.buffers()
    for state in task.optimizer.state.values():
        yield from (value for value in state.values() if isinstance(value, Tensor))


class Snapshot:
    """All that a task has learnt, to be put back in place, so that compiled code stays valid."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._tensors = [(tensor, tensor.clone()) for tensor in tensors_of(task)]
        self._states = {parameter: dict(state) for parameter, state in task.optimizer.state.items()}
        self._options = [{k: v for k, v in group.items() if k != "params"} for group in task.optimizer.param_groups]
        self._scaler = task.scaler.state_dict()

    @torch.no_grad()
    def restore(self) -> None:
        """Put it all back; what has been added to the optimizer's state since goes."""
        for tensor, before in self._tensors:
            tensor.copy_(before)
        state = self._task.optimizer.state
        for parameter in list(state):
            if parameter not in self._states:
                del state[parameter]
        for parameter, before_it in self._states.items():
            state[parameter].clear()
            state[parameter].update(before_it)
        for group, options in zip(self._task.optimizer.param_groups, self._options, strict=False):
            group.update(options)
        if self._scaler:
            self._task.scaler.load_state_dict(self._scaler)
