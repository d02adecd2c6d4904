"""Splits of a data set into training rows and held-out rows, which show whether the model has learnt."""

from typing import NamedTuple

import torch
from torch import Tensor

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
