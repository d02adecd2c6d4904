"""Why a GPU's clock was held down, as a run keeps it: reasons joined by ``, ``."""

POWER_CAP = "power cap"
"""The board is at its limit of power. That is where a loop that keeps it busy belongs: to leave such blocks out would
flatter exactly the hungriest loops."""


def disturbs(reasons: str) -> bool:
    """Whether any of ``reasons`` is a disturbance (heat, a brake, a fault of the hardware) and not the loop's own."""
    return any(reason and reason != POWER_CAP for reason in reasons.split(", "))
