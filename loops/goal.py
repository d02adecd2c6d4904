"""Goals of training: a quality metric on held-out data, its target value, and the splits that hold data out."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from loopmark.loops.user_code import BadSpec, defined_at

ROWS_AT_ONCE = 256  # rows of held-out data per call: enough to fill a device, few enough for its memory


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
        """The current quality of ``model``. The mode of each of its modules is restored.

        Raises BadSpec where ``measure`` returns no number, or changes the model.
        """
        modes = [(module, module.training) for module in model.modules()]
        versions = _versions(model)
        model.eval()
        try:
            with torch.no_grad():
                measured = self.measure(model)
        finally:
            for module, training in modes:  # one by one: some may stay in evaluation mode during training
                module.training = training
        if changed := [name for name, version in _versions(model).items() if versions.get(name) != version]:
            raise BadSpec(f"{defined_at(self.measure)}: measuring {self.metric} changes the model: {changed[0]}")
        try:
            return float(measured)
        except (TypeError, ValueError, RuntimeError):  # RuntimeError: a tensor of several numbers
            what = f"{type(measured).__name__}{list(measured.shape) if isinstance(measured, Tensor) else ''}"
            raise BadSpec(f"{defined_at(self.measure)}: {self.metric} must be one number, not a {what}") from None


def double(tensor: Tensor) -> Tensor:
    """``tensor`` in float64. Apple's GPUs have no float64, so there it is a copy on the CPU."""
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
    """The mean cross-entropy of each next byte (N, T), in bits: the cost of encoding a byte of the text."""

    def measure(model: nn.Module) -> Tensor:
        nats = double(torch.zeros((), device=inputs.device))
        # Logits of all rows at once would not fit in memory: they grow with the vocabulary and the length of the text.
        rows = 8 if sum(p.numel() for p in model.parameters()) > 10_000_000 else 64
        for some, next_bytes in zip(inputs.split(rows), following.split(rows), strict=True):
            nats += double(F.cross_entropy(model(some).flatten(0, 1), next_bytes.flatten(), reduction="sum"))
        return nats / following.numel() / torch.log(torch.tensor(2.0, dtype=torch.float64))

    return Goal("bits per byte", target, measure, higher_is_better=False)


def _versions(model: nn.Module) -> dict[str, tuple[int, int]]:
    """The identity of each parameter and buffer, and the number of writes to it."""
    layers = [*model.named_parameters(), *model.named_buffers()]
    return {name: (id(tensor), tensor._version) for name, tensor in layers if not tensor.is_inference()}


def _predictions(model: nn.Module, inputs: Tensor) -> Tensor:
    return torch.cat([model(some) for some in inputs.split(ROWS_AT_ONCE)])


SPLIT_SEED = 0  # seed of every random split, at any seed of the run: all seeds are measured on the same rows


class Split(NamedTuple):
    """Two disjoint parts of one data set."""

    inputs: Tensor
    targets: Tensor
    held_inputs: Tensor
    held_targets: Tensor

    def to(self, device: torch.device) -> "Split":
        """A copy on ``device``."""
        return Split(*(tensor.to(device) for tensor in self))


def at_random(inputs: Tensor, targets: Tensor, share: float) -> Split:
    """Hold out ``share`` of the rows: random, but always the same rows."""
    order = torch.randperm(len(inputs), generator=torch.Generator().manual_seed(SPLIT_SEED))
    held = round(share * len(inputs))
    out, kept = order[:held].sort().values, order[held:].sort().values
    return Split(inputs[kept], targets[kept], inputs[out], targets[out])


def at_the_end(inputs: Tensor, targets: Tensor, share: float) -> Split:
    """Hold out the last ``share`` of the rows. Use it for text, whose neighbouring rows are related."""
    kept = len(inputs) - round(share * len(inputs))
    return Split(inputs[:kept], targets[:kept], inputs[kept:], targets[kept:])
