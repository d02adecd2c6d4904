"""Ceilings that were never measured, for tests of keeping and showing them."""

from loopmark.bench.records.ceilings import Ceiling, Ceilings, LeftOut
from tests.support import synthetic

PRODUCT = Ceiling(
    kind="matrix product",
    dtype="float32",
    value=100e9,
    low=98e9,
    high=101e9,
    unit="flops per second",
    best_size=1024,
    samples=20,
)
COPY = Ceiling(
    kind="copy",
    dtype=None,
    value=20e9,
    low=19e9,
    high=21e9,
    unit="bytes per second",
    best_size=128 * 2**20,
    samples=20,
)
LAUNCH = Ceiling(
    kind="launch",
    dtype=None,
    value=0.7e-6,
    low=0.69e-6,
    high=0.72e-6,
    unit="seconds",
    best_size=1,
    samples=20,
    variant="host",
)


def make_ceilings(
    ceilings: tuple[Ceiling, ...] = (PRODUCT, COPY, LAUNCH),
    left_out: tuple[LeftOut, ...] = (),
    device: str = "cpu",
) -> Ceilings:
    """Ceilings of a plain machine."""
    return Ceilings(
        started="2026-01-01T00:00:00+00:00",
        seconds=15.2,
        budget_seconds=15.0,
        seed=0,
        machine=synthetic.machine(gpu=device != "cpu"),
        environment=synthetic.environment(),
        device=device,
        ceilings=ceilings,
        left_out=left_out,
    )
