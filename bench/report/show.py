"""Figures as text. Only this module scales them; values are in SI base units everywhere else."""

import math
from collections.abc import Callable, Sequence
from typing import TypeGuard

from loopmark.bench.judge.statistics import Estimate

ABSENT = "–"  # not measured, or a phase that the loop does not have; never 0, which is a measured value
UNKNOWN = "?"  # an end of an interval that the samples do not bound

_SECONDS = ((3600.0, "h"), (60.0, "min"), (1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))
_LONG_SECONDS = 100.0  # from this value on, the unit is minutes
_BYTES = ((2.0**40, "TiB"), (2.0**30, "GiB"), (2.0**20, "MiB"), (2.0**10, "KiB"), (1.0, "B"))
_JOULES = ((1e6, "MJ"), (1e3, "kJ"), (1.0, "J"), (1e-3, "mJ"), (1e-6, "µJ"))
_MOST_DECIMALS, _LEAST_RATIO_DECIMALS = 3, 2
_WIDEST_PLUS_MINUS = 0.5
_HUGE_RATIO = 100.0
_MILLION = 1e6  # from this value on, a rate is printed in millions


def seconds(value: float | None) -> str:
    """``4.31 ms``: seconds in a fitting unit, with three significant digits."""
    if not known(value):
        return ABSENT
    size, unit = seconds_unit(value)
    return f"{significant(value / size)} {unit}"


def round_seconds(value: float) -> str:
    """``6 ms``: ``seconds`` for a round value, without trailing zeros."""
    size, unit = seconds_unit(value)
    return f"{_rounded(value / size):g} {unit}"


def seconds_unit(value: float) -> tuple[float, str]:
    """The size in seconds and the symbol of the unit that fits ``value`` seconds."""
    value = abs(_rounded(value))
    for size, unit in _SECONDS:
        if value >= (_LONG_SECONDS if unit == "min" else size):
            return size, unit
    return (1.0, "s") if value == 0 else _SECONDS[-1]


def seconds_range(estimate: Estimate | None) -> str:
    """``4.31 ms [4.28, 4.34]``: seconds and their interval in one unit."""
    if estimate is None or not known(estimate.value):
        return ABSENT
    return " ".join(in_unit(estimate, *seconds_unit(estimate.value)))


def seconds_of(estimate: Estimate | None) -> str:
    """``4.31 ms``: the value of ``seconds_range``, with the same digits."""
    return seconds_range(estimate).partition(" [")[0]


def seconds_plus_minus(estimate: Estimate | None) -> str:
    """``4.31 ms ±1.2 %``: ``seconds_of`` and ``plus_minus``, for places without room for both ends."""
    if estimate is None or not known(estimate.value):
        return ABSENT
    return f"{seconds_of(estimate)} {plus_minus(estimate)}"


def joules(estimate: Estimate | None) -> str:
    """``1.82 J [1.79, 1.85]``: energy and its interval in one unit."""
    if estimate is None or not known(estimate.value):
        return ABSENT
    return " ".join(in_largest_unit(estimate, _JOULES))


def plus_minus(estimate: Estimate | None) -> str:
    """``±1.2 %``: the half width of the interval as a share of its value."""
    if estimate is None or not known(estimate.value) or not estimate.value:
        return ABSENT
    half = (estimate.high - estimate.low) / 2 / abs(estimate.value)
    # An interval wider than this is not symmetric: the report prints both ends instead.
    return f"±{percent(half)}" if half <= _WIDEST_PLUS_MINUS else f"±{UNKNOWN}"


def ratio(value: float | None) -> str:
    """``1.21x``."""
    return f"{significant(value)}x" if known(value) else ABSENT


def ratio_range(estimate: Estimate | None) -> str:
    """``1.21x [1.19, 1.23]``."""
    if estimate is None or not known(estimate.value):
        return ABSENT
    return "x ".join(_ratio_digits(estimate))


def interval(estimate: Estimate | None) -> str:
    """``[1.19, 1.23]``, in the value's own unit."""
    if estimate is None or not known(estimate.value):
        return ABSENT
    return _ratio_digits(estimate)[1]


def count(value: float | None) -> str:
    """``10,200``: three significant digits from 1,000 on, a whole number below."""
    if not known(value):
        return ABSENT
    return f"{round(_rounded(value) if abs(value) >= 1000 else value):,}"


def count_range(estimate: Estimate | None) -> str:
    """``10,200 [9,710, 10,700]``, with ``[9,710, ?]`` for an unbounded end; a plain ``0`` for zero."""
    if estimate is None or not known(estimate.value):
        return ABSENT
    return f"{count(estimate.value)} {_ends(estimate, count)}" if estimate.value else count(0)


def rate(value: float | None) -> str:
    """``6,400``, ``2.12 M`` or ``0.448`` a second: three significant digits."""
    if not known(value):
        return ABSENT
    if abs(_rounded(value)) >= _MILLION:
        return f"{significant(value / _MILLION)} M"
    return count(value) if abs(value) >= 1000 else significant(value)


def rate_range(estimate: Estimate | None) -> str:
    """``6,400 [6,210, 6,600]`` a second, ``2.12 M [1.98, 2.31]``."""
    if estimate is None or not known(estimate.value):
        return ABSENT
    size = _MILLION if abs(_rounded(estimate.value)) >= _MILLION else 1.0
    return f"{rate(estimate.value)} {_ends(estimate, lambda end: rate(end / size))}"


def percent(share: float | None) -> str:
    """``58 %`` for a share of 0.58; whole per cent from 100 % on."""
    if not known(share):
        return ABSENT
    return f"{significant(share * 100, 2)} %" if abs(share) < 1 else f"{share * 100:,.0f} %"


def percent_range(estimate: Estimate | None) -> str:
    """``21.4 % [18.2, 24.8]``: a share and its interval, with the decimals that the interval's half width needs."""
    if estimate is None or not known(estimate.value):
        return ABSENT
    scaled = estimate.map(lambda share: share * 100)
    if not 0 < scaled.high - scaled.low < math.inf:
        return percent(estimate.value)
    return " % ".join(_in_digits(scaled, least=0, digits=2))


def noise_floor(log_ratio: float | None) -> str:
    """``2.4 %`` for a floor of 0.024, which is a log ratio: 0.69 is 100 %, twice as fast."""
    return percent(math.expm1(log_ratio)) if known(log_ratio) else ABSENT


def overhead(estimate: Estimate | None) -> str:
    """``+0.1 %`` for a ratio of 1.001."""
    return f"{_signed(estimate.value)} %" if estimate and known(estimate.value) else ABSENT


def overhead_range(estimate: Estimate | None) -> str:
    """``+0.1 % [-0.3, +0.4]`` for a ratio of 1.001 and its interval."""
    if estimate is None or not known(estimate.value):
        return ABSENT
    return f"{overhead(estimate)} {_ends(_believable(estimate), _signed)}"


def data(value: float | None) -> str:
    """``482 MiB``: bytes, with three significant digits."""
    if not known(value):
        return ABSENT
    size, unit = data_unit(value)
    return f"{_in_data_unit(value, size)} {unit}"


def data_range(low: float, high: float) -> str:
    """``398 to 401 MiB``: the least and the most bytes in one unit; a single value where both print alike."""
    size, unit = data_unit(high)
    least, most = (_in_data_unit(value, size) for value in (low, high))
    return f"{most} {unit}" if least == most else f"{least} to {most} {unit}"


def _in_data_unit(value: float, size: float) -> str:
    # Values from 1000 to 1023 keep their binary unit and have four digits.
    return f"{value / size:.0f}" if size == 1 or value / size >= 1000 else significant(value / size)


def data_unit(value: float) -> tuple[float, str]:
    """The size in bytes and the symbol of the unit that fits ``value`` bytes."""
    return next(((size, unit) for size, unit in _BYTES if abs(_rounded(value / size)) >= 1), _BYTES[-1])


def known(value: float | None) -> TypeGuard[float]:
    """True if ``value`` is finite."""
    return value is not None and math.isfinite(value)


def significant(value: float, digits: int = 3) -> str:
    """``value`` with ``digits`` significant digits and no exponent."""
    value = _rounded(value, digits)
    return f"{value:,.{_decimals(value, digits)}f}"


def in_unit(estimate: Estimate, size: float, unit: str) -> tuple[str, str]:
    """The value with its unit, to at least three significant digits, and the interval."""
    scaled = estimate.map(lambda x: x / size)
    value, ends = _in_digits(scaled, _decimals(_rounded(scaled.value), 3))
    return f"{value} {unit}", ends


def in_largest_unit(estimate: Estimate, units: Sequence[tuple[float, str]]) -> tuple[str, str]:
    """The same in the first of ``units`` that the value reaches, else in the last one."""
    return in_unit(estimate, *next((unit for unit in units if abs(estimate.value) >= unit[0]), units[-1]))


def _in_digits(estimate: Estimate, least: int, digits: int = 1) -> tuple[str, str]:
    """Value and interval, with ``least`` decimals, or more for ``digits`` digits of the interval's half width."""
    half = (estimate.high - estimate.low) / 2
    if not math.isfinite(half) or half <= 0:
        return significant(estimate.value), _ends(estimate, significant)
    decimals = max(least, min(_MOST_DECIMALS, _decimals(_rounded(half, digits), digits)))
    return f"{estimate.value:,.{decimals}f}", _ends(estimate, lambda end: f"{end:,.{decimals}f}")


def _ratio_digits(estimate: Estimate) -> tuple[str, str]:
    return _in_digits(_believable(estimate), max(_LEAST_RATIO_DECIMALS, _decimals(estimate.value, 2)))


def _signed(value: float) -> str:
    # Adding zero turns a rounded -0.0 into 0.0.
    return f"{round((value - 1) * 100, 1) + 0.0:+.1f}"


def _rounded(value: float, digits: int = 3) -> float:
    # Round before choosing the unit: otherwise 999.9 ms would become 1,000 ms.
    return float(f"{value:.{digits}g}")


def _decimals(value: float, digits: int) -> int:
    return max(0, digits - 1 - math.floor(math.log10(abs(value)))) if value else 0


def _believable(ratio: Estimate) -> Estimate:
    """``ratio`` with an open end in place of one beyond ``_HUGE_RATIO`` or its inverse."""
    low = ratio.low if ratio.low >= 1 / _HUGE_RATIO else -math.inf
    return Estimate(ratio.value, low, ratio.high if ratio.high <= _HUGE_RATIO else math.inf)


def _ends(estimate: Estimate, text: Callable[[float], str]) -> str:
    # An unbounded log ratio maps to [0, infinity]: neither end is known.
    unbounded = not math.isfinite(estimate.high) and estimate.low <= 0
    low = UNKNOWN if unbounded or not math.isfinite(estimate.low) else text(estimate.low)
    high = text(estimate.high) if math.isfinite(estimate.high) else UNKNOWN
    return "[no interval]" if low == high == UNKNOWN else f"[{low}, {high}]"
