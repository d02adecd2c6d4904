"""Which batch size to try next: doubling, then halving what is left, from what was heard of those before.

The search knows nothing of processes and memory. It is told, size by size, whether one fits and how fast it is.
"""

FINENESS = 8
"""The largest batch that fits is found to within this part of itself, on round multiples."""


class BatchSearch:
    """Proposes batch sizes until the largest that fits is known, and the fastest one is not the smallest tried.

    Args:
        first: the size to begin with.
        most: the rows of the data, beyond which no batch can go; None where that is not known (yet).
    """

    def __init__(self, first: int, most: int | None = None) -> None:
        self.most = most
        self._first = first
        self._rates: dict[int, float] = {}
        self._too_large: set[int] = set()

    @property
    def largest(self) -> int | None:
        """The largest size that is known to fit."""
        return max(self._rates, default=None)

    @property
    def too_large(self) -> int | None:
        """The smallest size above ``largest`` that does not fit; None where no such size is known."""
        return min((size for size in self._too_large if size > (self.largest or 0)), default=None)

    def hear(self, batch_size: int, samples_per_second: float | None) -> None:
        """``batch_size`` was tried; None for one that does not fit."""
        if samples_per_second is None:
            self._too_large.add(batch_size)
        else:
            self._rates[batch_size] = samples_per_second

    def next(self) -> int | None:
        """The size to try now; None when there is no more to learn."""
        if not self._rates:
            return self._smaller()
        return self._half_of_the_fastest() or self._larger()

    def _smaller(self) -> int | None:
        """While nothing fits: half of what did not."""
        if not self._too_large:
            return self._first if self.most is None else min(self._first, self.most)
        return min(self._too_large) // 2 or None

    def _half_of_the_fastest(self) -> int | None:
        """Half of the smallest size tried, where that one is the fastest: what is smaller may be faster still."""
        smallest = min(self._rates)
        half = smallest // 2
        others = [rate for size, rate in self._rates.items() if size != smallest]
        fastest = bool(others) and self._rates[smallest] > max(others)
        return half if fastest and half and half not in self._too_large else None

    def _larger(self) -> int | None:
        largest, too_large = max(self._rates), self.too_large
        if too_large is not None:
            return between(largest, too_large)
        if self.most is None:
            return 2 * largest
        return min(2 * largest, self.most) if largest < self.most else None


def between(fits: int, too_large: int) -> int | None:
    """A round size about half way; None where the two are as close as they need to be.

    Round is a multiple of the power of two that divides ``fits`` into ``FINENESS`` parts or a few more: what hardware
    likes, and what a person would choose.
    """
    grain: int = 2 ** (max(1, fits // FINENESS).bit_length() - 1)
    middle = (fits + too_large) // 2 // grain * grain
    if middle <= fits:
        middle += grain
    return middle if middle < too_large else None
