"""Where a series of figures, one a run, moves to another level and stays there."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from loopmark.bench.errors import BadInput

LEAST_RUNS = 2
"""Of a level. One run alone may be an outlier; the second one tells."""
LEAST_NOISE = 0.001
"""As a log ratio: what is steadier than 0.1 % is rounding, and no one asks for less."""
GAMMA, PENALTY = 0.1, 4.0
"""The kernel's width and the price of a change; chosen together by simulation, see ``change_points``."""
_NORMAL_QUARTILE = 0.6745


def noise(logs: ArrayLike, standard_errors: Sequence[float]) -> float:
    """The standard deviation of one run's log ratio while nothing changes.

    The larger of two robust estimates: from the differences of consecutive runs, few of which hold a change (Rice
    1984, with a median for the mean), and from what the runs say of themselves. The second is the smaller one as a
    rule, since it does not know how runs differ, but it does not fail where runs are few.
    """
    steps = np.abs(np.diff(np.asarray(logs, dtype=float)))
    between = float(np.median(steps)) / (_NORMAL_QUARTILE * math.sqrt(2)) if len(steps) else 0.0
    known = [error for error in standard_errors if math.isfinite(error)]
    within = float(np.median(known)) if known else 0.0
    return max(between, within, LEAST_NOISE)


def change_points(logs: ArrayLike, sigma: float) -> list[int]:
    """The places at which a new level begins, given what ``sigma`` a run's log ratio scatters by.

    The segmentation of least penalised cost, found exactly (PELT: Killick, Fearnhead and Eckley 2012) under a Gaussian
    kernel (Arlot, Celisse and Harchaoui 2019). Near its centre that cost is ``2 GAMMA`` times the squares in units of
    the noise; far from it, it is bounded, so that an outlier costs the same wherever it lies. A change
    costs ``PENALTY`` squares times the log of the number of runs, which is the usual information criterion's shape.

    Simulated with ``sigma`` from the differences alone: of series without a change, 3 % showed one at 4 to 8 runs, 1 %
    at 12 and 0.2 % from 20 on, be it normal noise, Student's t of 3 degrees, or every tenth run off at random by
    eight times as much; 4 % and 1.5 % where every tenth run was slower by eight ``sigma``. A step by three ``sigma``
    in the middle of 30 runs was found, to the run or its neighbour, in 95 % (74 % with the random outliers). Squares in
    place of the kernel found as many steps, and changes in most of the series with outliers.
    """
    scaled = np.asarray(logs, dtype=float)[:, None] / sigma  # (runs, 1)
    count = len(scaled)
    if count < 2 * LEAST_RUNS:
        return []
    try:  # not above: it takes a second to import, and nothing else needs it
        from ruptures import KernelCPD
    except ImportError:
        raise BadInput("changes are found by ruptures, which is not installed; pip install ruptures") from None
    search = KernelCPD(kernel="rbf", params={"gamma": GAMMA}, min_size=LEAST_RUNS).fit(scaled)
    return [int(end) for end in search.predict(pen=2 * GAMMA * PENALTY * math.log(count))[:-1]]
