"""Searches for a batch size that were never made, with a known truth."""

from loopmark.bench.records.batch_sizes import Attempt, BatchCase, BatchSizes, Limit
from tests.support import synthetic

MIB = 2**20


def attempt(size: int, step_seconds: float = 0.01, spread: float = 0.01) -> Attempt:
    """An attempt that fits; its blocks differ by at most ``spread`` of their middle."""
    blocks = tuple(step_seconds * (1 + spread * (i - 10) / 10) for i in range(21))
    return Attempt(size, float(size), None, None, True, 2.0, blocks, 300 * MIB + size * MIB, None, None)


def refused(size: int, limit: Limit = "host memory", reason: str | None = None) -> Attempt:
    """An attempt that does not fit; without a reason it was never tried."""
    return Attempt(size, None, limit, reason, reason is not None, 0.1, (), None, 20 * 2**30, 16 * 2**30)


def case(*attempts: Attempt, again: tuple[Attempt, ...] = (), stop: Limit | None = "data", **told: object) -> BatchCase:
    """One (workload, loop)."""
    given = {"workload": "resnet", "loop": "eager", "status": "ok", "reason": None, "data_rows": 1438, **told}
    return BatchCase(memory_kind="resident set", attempts=attempts, again=again, stop=stop, **given)  # type: ignore[arg-type]


def search(*cases: BatchCase) -> BatchSizes:
    """A whole search."""
    return BatchSizes(
        name="20260101-000000", started="2026-01-01T00:00:00+00:00", seconds=12.5, interrupted=False,
        plan=synthetic.plan(("resnet",), ("eager",)), machine=synthetic.machine(),
        environment=synthetic.environment(), cases=cases,
    )  # fmt: skip
