"""Several optimizers of one model that step as one."""

from collections import ChainMap
from collections.abc import Callable, Mapping
from typing import Any

from torch.optim import Optimizer


class OptimizerSet(Optimizer):
    """The optimizers that ``make_optimizer`` returned as a dict, for a step that knows only ``task.optimizer``.

    Its groups are the optimizers' own, so that a change of a learning rate reaches them.
    """

    def __init__(self, optimizers: Mapping[str, Optimizer]) -> None:
        self.optimizers = dict(optimizers)
        groups = [group for optimizer in self.optimizers.values() for group in optimizer.param_groups]
        super().__init__([{"params": group["params"]} for group in groups], {})
        self.param_groups = groups

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
