"""What training is for: a figure of quality on data that is not trained on, and the value of it to reach."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from loopmark.loops.user_code import BadSpec, defined_at

ROWS_AT_ONCE = 256  # of the held-out data: enough to fill a device, few enough for its memory


@dataclass(frozen=True)
class Goal:
    """A target of quality on held-out data.

    Quality is measured in the same way for each loop: on the plain model, neither compiled nor under autocast, in
    evaluation mode and without gradients.

    Args:
        metric: the name of the quality, such as ``accuracy``.
        target: the quality to reach. ValueError if it is not finite.
        measure: a function of the model that returns its quality, a number or a tensor ().
        higher_is_better: False for a metric such as bits per byte.
    """

    metric: str
    target: float
    measure: Callable[[nn.Module], float | Tensor]
    higher_is_better: bool = True

    def __post_init__(self) -> None:
        if not math.isfinite(self.target):
            raise ValueError(f"a target of {self.target} cannot be reached; give a finite number")

    def quality(self, model: nn.Module) -> float:
        """The quality of ``model`` as it is now; every part of it is left in the mode that it was in.

        Raises BadSpec where ``measure`` gives no number, or changes the model that it is to look at.
        """
        modes = [(module, module.training) for module in model.modules()]
        versions = _versions(model)
        model.eval()
        try:
            with torch.no_grad():
                measured = self.measure(model)
        finally:
            for module, training in modes:  # one by one: some may be kept in evaluation mode while the others train
                module.training = training
        if changed := [name for name, version in _versions(model).items() if versions.get(name) != version]:
            raise BadSpec(f"{defined_at(self.measure)}: measuring {self.metric} changes the model: {changed[0]}")
        try:
            return float(measured)
        except (TypeError, ValueError, RuntimeError):  # the last from a tensor of several
            what = f"{type(measured).__name__}{list(measured.shape) if isinstance(measured, Tensor) else ''}"
            raise BadSpec(f"{defined_at(self.measure)}: {self.metric} is to be one number, not a {what}") from None


def double(tensor: Tensor) -> Tensor:
    """``tensor`` in float64, which Apple's GPUs lack: of one on them, a copy on the CPU."""
    return tensor.cpu().double() if tensor.device.type == "mps" else tensor.double()


def accuracy(inputs: Tensor, labels: Tensor, target: float) -> Goal:
    """The share of ``inputs`` (N, ...) whose highest logit is at their label (N,)."""

    def measure(model: nn.Module) -> Tensor:
        return double(_predictions(model, inputs).argmax(dim=1) == labels).mean()

    return Goal("accuracy", target, measure)


def r_squared(inputs: Tensor, values: Tensor, target: float) -> Goal:
    """The share of the variance of ``values`` (N, 1) that the predictions explain, the coefficient of determination."""

    def measure(model: nn.Module) -> Tensor:
        missed = double(_predictions(model, inputs) - values).square().sum()
        return 1 - missed / double(values - values.mean()).square().sum()

    return Goal("R²", target, measure)


def bits_per_byte(inputs: Tensor, following: Tensor, target: float) -> Goal:
    """The mean cross-entropy of each next byte (N, T), in bits: what a byte of the text costs to encode."""

    def measure(model: nn.Module) -> Tensor:
        nats = double(torch.zeros((), device=inputs.device))
        # Logits of all rows at once would not fit; those of a large vocabulary take the more room the longer the text.
        rows = 8 if sum(p.numel() for p in model.parameters()) > 10_000_000 else 64
        for some, next_bytes in zip(inputs.split(rows), following.split(rows), strict=True):
            nats += double(F.cross_entropy(model(some).flatten(0, 1), next_bytes.flatten(), reduction="sum"))
        return nats / following.numel() / torch.log(torch.tensor(2.0, dtype=torch.float64))

    return Goal("bits per byte", target, measure, higher_is_better=False)


def _versions(model: nn.Module) -> dict[str, tuple[int, int]]:
    """Which tensor each parameter and buffer is, and how often it was written to."""
    layers = [*model.named_parameters(), *model.named_buffers()]
    return {name: (id(tensor), tensor._version) for name, tensor in layers if not tensor.is_inference()}


def _predictions(model: nn.Module, inputs: Tensor) -> Tensor:
    return torch.cat([model(some) for some in inputs.split(ROWS_AT_ONCE)])
