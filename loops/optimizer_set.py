"""Several optimizers of one model that step as one."""

import inspect
from collections import ChainMap
from collections.abc import Callable, Mapping
from typing import Any

from torch.optim import Optimizer


def needs_closure(optimizer: Optimizer) -> bool:
    """True if ``optimizer`` computes the loss and the gradients itself, by a closure, as LBFGS does."""
    closure = inspect.signature(type(optimizer).step).parameters.get("closure")
    return closure is not None and closure.default is closure.empty


class OptimizerSet(Optimizer):
    """The optimizers that ``make_optimizer`` returned as a dict, for a step that knows only ``task.optimizer``.

    Its groups are the optimizers' own, so that a change of a learning rate reaches them.
    """

    def __init__(self, optimizers: Mapping[str, Optimizer]) -> None:
        self.optimizers = dict(optimizers)
        self._has_begun = False
        super().__init__(
            [{"params": group["params"]} for o in self.optimizers.values() for group in o.param_groups], {}
        )
        self._has_begun = True

    @property
    def param_groups(self) -> Any:
        """The groups of all optimizers."""
        if not self._has_begun:
            return self._own_groups  # of the base class, which checks that no parameter is in two groups
        return [group for optimizer in self.optimizers.values() for group in optimizer.param_groups]

    @param_groups.setter
    def param_groups(self, groups: Any) -> None:
        self._own_groups = groups

    @property
    def state(self) -> Any:
        """The state of each parameter, in whichever optimizer it is."""
        return ChainMap(*(optimizer.state for optimizer in self.optimizers.values()))

    @state.setter
    def state(self, _: Any) -> None:
        pass  # the base class sets an empty one

    def zero_grad(self, set_to_none: bool = True) -> None:
        for optimizer in self.optimizers.values():
            optimizer.zero_grad(set_to_none=set_to_none)

    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """Step each optimizer. ValueError for a closure: it would be evaluated once for each of them."""
        if closure is not None:
            raise ValueError("several optimizers cannot share a closure; step each of task.optimizers with its own")
        for optimizer in self.optimizers.values():
            optimizer.step()
