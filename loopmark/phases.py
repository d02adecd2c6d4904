"""The phases of a training step, in order. All other modules use this list.

To add a phase, name it here, and add its colour in ``bench/report/style.py`` and its work in
``bench/measure/properties/step_checks.py``.
"""

# Fetching the batch. The caller times it before the step begins, so a step never yields it. The exception is a driver
# that copies the batch into the tensors that its graphs read.
DATA = "data"

PHASES: tuple[str, ...] = (DATA, "zero_grad", "forward", "loss", "backward", "optimizer")

YIELDED = PHASES[1:]  # phases that a step yields at their end

FOR_EACH_PART = ("forward", "loss", "backward")  # phases that gradient accumulation repeats for each part of a batch
