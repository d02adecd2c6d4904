"""The named parts of a training step, in their order: the one list of them that every room reads.

A new phase is named here, gets its colour in ``bench/report/style.py``, and its work in
``bench/measure/properties/step_checks.py``.
"""

# Fetching the batch. Who drives the step laps it before it begins, so a step never yields it; a driver does that copies
# the batch to where its graphs read it.
DATA = "data"

PHASES: tuple[str, ...] = (DATA, "zero_grad", "forward", "loss", "backward", "optimizer")

YIELDED = PHASES[1:]  # those that a step yields as they end

FOR_EACH_PART = ("forward", "loss", "backward")  # those that gradient accumulation does again for each part of a batch
