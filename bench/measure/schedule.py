"""Who goes when: random orders, so that no drift of the machine favours a loop."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")

LEAST_ROUNDS = 3
"""Rounds of a launch, however small its budget: a median needs more than one."""
MOST_STEPS_A_BLOCK = 1000
QUADS_A_TURN, QUADS_OF_SLOW_STEPS = 2, 1
"""Quads of a turn, four blocks each: two, so that its uncounted first step costs little; one where blocks are no longer
than the steps that they need before them."""


class Schedule:
    """The random choices of one run; the same seed makes the same ones."""

    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)

    def shuffled(self, items: Sequence[T]) -> list[T]:
        """All of ``items``, in random order."""
        return [items[i] for i in self._random.permutation(len(items))]

    def turn(self, quads: int = QUADS_A_TURN) -> tuple[bool, ...]:
        """The blocks of a turn, True with laps: quads of ABBA or BAAB, so that a steady drift within one cancels."""
        firsts = (bool(self._random.integers(2)) for _ in range(quads))
        return tuple(lapped for first in firsts for lapped in (first, not first, not first, first))


def steps_per_block(step_seconds: float, block_seconds: float) -> int:
    """As many steps as fill a block, at least one."""
    return max(1, min(MOST_STEPS_A_BLOCK, round(block_seconds / step_seconds)))


def quads_a_turn(steps: int, lead_in: int) -> int:
    """How many quads a turn has, whose blocks have so many steps, after so many that do not count."""
    return QUADS_OF_SLOW_STEPS if steps <= lead_in else QUADS_A_TURN
