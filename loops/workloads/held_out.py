"""The data cut in two: what is trained on, and what is held out to see whether anything was learnt."""

from typing import NamedTuple

import torch
from torch import Tensor

SPLIT_SEED = 0  # of every split at random, whatever the run's seed: all seeds are measured by the same held-out rows


class Split(NamedTuple):
    """Two parts of one data set, no row in both."""

    inputs: Tensor
    targets: Tensor
    held_inputs: Tensor
    held_targets: Tensor

    def to(self, device: torch.device) -> "Split":
        """The same on ``device``."""
        return Split(*(tensor.to(device) for tensor in self))


def at_random(inputs: Tensor, targets: Tensor, share: float) -> Split:
    """Hold out ``share`` of the rows, drawn at random, always the same ones."""
    order = torch.randperm(len(inputs), generator=torch.Generator().manual_seed(SPLIT_SEED))
    held = round(share * len(inputs))
    out, kept = order[:held].sort().values, order[held:].sort().values
    return Split(inputs[kept], targets[kept], inputs[out], targets[out])


def at_the_end(inputs: Tensor, targets: Tensor, share: float) -> Split:
    """Hold out the last ``share`` of the rows: of a text, whose neighbouring rows tell of one another."""
    kept = len(inputs) - round(share * len(inputs))
    return Split(inputs[:kept], targets[:kept], inputs[kept:], targets[kept:])
