"""How far a step is from the exact one, layer by layer."""

import math
from collections.abc import Iterable, Mapping

from torch import Tensor

from loopmark.bench.measure.proof.twin import Taken
from loopmark.loops.precise import double

Errors = dict[tuple[str, str], float]
"""By kind and layer."""


def errors_of(taken: Taken, truth: Taken) -> Errors:
    """In the order in which they come about: the loss, then the gradients from the last layer to the first."""
    found: Errors = {("loss", ""): relative({"": taken.loss}, {"": truth.loss})[""]}
    for kind, mine, its in (
        ("gradient", taken.gradients, dict(reversed(truth.gradients.items()))),
        ("buffer", taken.buffers, truth.buffers),
    ):
        found |= {(kind, name): error for name, error in relative(mine, its).items()}
    # A gradient where there should be none at all.
    found |= {("gradient", name): math.inf for name in taken.gradients.keys() - truth.gradients.keys()}
    return found


def relative(some: Mapping[str, Tensor], truth: Mapping[str, Tensor]) -> dict[str, float]:
    """The norm of each layer's difference over the norm of the truth; infinite where there should be nothing."""
    return {name: _distance(some.get(name), double(dense(tensor))) for name, tensor in truth.items()}


def _distance(some: Tensor | None, truth: Tensor) -> float:
    size = float(truth.norm())
    away = size if some is None else float((double(dense(some)) - truth).norm())
    if math.isnan(away):
        return math.inf
    return away / size if size else (math.inf if away else 0.0)


def dense(tensor: Tensor) -> Tensor:
    """An embedding's gradient may be sparse, and its optimizer may insist on that."""
    return tensor.to_dense() if tensor.is_sparse else tensor


def worst(several: Iterable[Errors]) -> Errors:
    """The largest of each."""
    found: Errors = {}
    for errors in several:
        found |= {key: max(error, found.get(key, 0.0)) for key, error in errors.items()}
    return found
