"""The named parts of a training step, in their order."""

DATA = "data"
"""Fetching the batch; the driver laps it before the step begins, so a step never yields it. A driver does that copies
the batch to where its graphs read it."""

PHASES: tuple[str, ...] = (DATA, "zero_grad", "forward", "loss", "backward", "optimizer")
