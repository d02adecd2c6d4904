"""How much of this machine's memory a process may take without harm to anyone else, and how it is held to that."""

import contextlib
import sys
from collections.abc import Mapping
from pathlib import Path

from loopmark.bench.measure.cgroup import free_host_bytes

SAFE_SHARE = 0.8
"""Of the memory that is free: the rest is for everyone else, and for what a forecast does not see."""


def safe_bytes() -> int:
    """What one process may take: a share of what the system, and every control group around us, has left."""
    return int(SAFE_SHARE * free_host_bytes())


def forecast_bytes(peaks: Mapping[int, int], batch_size: int) -> int | None:
    """The peak to expect of ``batch_size``, from those that were measured, by their batch size; None from none.

    A line through the two largest: the model and torch itself take the same whatever the batch. One alone is scaled
    whole, which errs on the safe side.
    """
    if not peaks:
        return None
    last = max(peaks)
    before = max((size for size in peaks if size < last), default=None)
    if before is None:
        return round(peaks[last] * max(1.0, batch_size / last))
    slope = max(0.0, (peaks[last] - peaks[before]) / (last - before))
    return round(peaks[last] + slope * max(0, batch_size - last))


def confine(pid: int, most_bytes: int) -> None:
    """Let the process ``pid`` allocate no more than ``most_bytes``, where the system can do that (Linux).

    A forecast may be wrong, and the first size has none: torch's allocation then fails, and no one else's. Should
    memory run out all the same, the system is to end this process and not another.
    """
    if sys.platform == "linux":
        import resource

        with contextlib.suppress(OSError, ValueError):  # it is gone already, or forbids it: the next question will show
            resource.prlimit(pid, resource.RLIMIT_DATA, (most_bytes, most_bytes))
        with contextlib.suppress(OSError):
            Path(f"/proc/{pid}/oom_score_adj").write_text("1000")
