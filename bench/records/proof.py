"""What was seen when each step of a loop was compared with the canonical step from the same state."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["loss", "gradient", "update", "buffer"]


@dataclass(frozen=True)
class Deviation:
    """How far one layer was from the exact result in one step; relative, by norms.

    The order of a step's deviations is that in which they come about: the loss, the gradients from the last layer to
    the first, the buffers, the updates.
    """

    step: int
    kind: str
    """``loss``, ``gradient``, ``buffer``, or ``update``: what the optimizer added to a parameter, or keeps for it."""
    layer: str
    """The parameter's or buffer's name, ``momentum_buffer of`` it for what is kept; empty for the loss."""
    error: float
    """The loop's."""
    eager_error: float
    """Eager's, from the same state."""
    rounding_error: float
    """The most of those whose every operation rounds at random to the loop's precision, and of an update's those whose
    settings are rounded; NaN where none was drawn at this step."""
    coarse_error: float
    """The most of those whose every operation rounds at random more coarsely than that; NaN likewise."""
