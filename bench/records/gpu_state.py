"""A GPU as its driver describes it at one moment."""

from dataclasses import dataclass


@dataclass(frozen=True)
class GpuState:
    """None for what the driver does not say."""

    temperature_celsius: float | None = None
    power_watts: float | None = None
    """Of the whole board, just then; on newer boards over the last second."""
    power_limit_watts: float | None = None
    sm_clock_hertz: float | None = None
    memory_clock_hertz: float | None = None
    ecc: bool | None = None
    """Whether memory errors are corrected."""
    mig: bool | None = None
    """Whether the device is cut into instances."""
