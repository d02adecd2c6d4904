"""An estimate as columns of a spreadsheet, or keys of a JSON object: the value and both ends, as strict JSON values."""

import math

from loopmark.bench.judge.statistics import Estimate


def finite(value: float | None) -> float | None:
    """``value``, or None for one that JSON and a spreadsheet have no number for."""
    return value if value is not None and math.isfinite(value) else None


def ends(name: str, estimate: Estimate | None) -> dict[str, float | None]:
    """``name``, ``name_low`` and ``name_high``; of an interval that nothing bounds on one side, neither end."""
    bounded = estimate is not None and math.isfinite(estimate.high - estimate.low)
    return {
        name: finite(estimate.value) if estimate else None,
        f"{name}_low": estimate.low if estimate and bounded else None,
        f"{name}_high": estimate.high if estimate and bounded else None,
    }
