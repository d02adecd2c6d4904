"""Examine a step in this process, on a small and quick task."""

import textwrap
from collections.abc import Callable
from pathlib import Path

from loopmark.bench.measure.properties.examination import PROPERTIES, checked
from loopmark.bench.measure.properties.step_trace import LoopUnderTest
from loopmark.bench.records.checks import Outcome
from loopmark.loops.catalog import find_loop
from loopmark.loops.loop import Loop
from loopmark.loops.task import Task
from loopmark.loops.user_code import forget
from tests.support.tiny import make_tiny_task

CANONICAL = {
    "clear": "task.optimizer.zero_grad(set_to_none=True)",
    "cleared": 'yield "zero_grad"',
    "predict": "predictions = task.model(inputs)",
    "predicted": 'yield "forward"',
    "compare": "loss = task.loss_fn(predictions, targets)",
    "compared": 'yield "loss"',
    "differentiate": "loss.backward()",
    "differentiated": 'yield "backward"',
    "update": "task.optimizer.step()",
    "updated": 'yield "optimizer"',
    "leave": "task.last_loss = loss.detach()",
}
"""The canonical step, with a name for each line."""
BEFORE = "import copy\n\nimport torch\nimport torch.nn.functional as F\n\nCOUNT = []\n\n\n"


def planted(folder: Path, **instead: str) -> str:
    """Write a file with the canonical step, with some lines replaced, and return the spec of the step.

    A replacement may quote canonical lines by their names in braces, and may be empty.
    """
    assert instead.keys() <= CANONICAL.keys()
    lines = [instead.get(name, line).format(**CANONICAL) for name, line in CANONICAL.items()]
    path = folder / "planted.py"
    path.write_text(
        f"{BEFORE}def step(task, inputs, targets):\n" + textwrap.indent("\n".join(filter(None, lines)), "    ")
    )
    return f"{path}:step"


def tiny(seed: int) -> Task:
    return make_tiny_task(seed=seed)


def loop_under_test(spec: str, make_task: Callable[[int], Task] = tiny) -> LoopUnderTest:
    def make_loop() -> Loop:
        forget(spec)
        return find_loop(spec)

    return LoopUnderTest(make_task, make_loop)


def outcomes(examined: LoopUnderTest) -> dict[str, Outcome]:
    """Every property's outcome, as a worker and its parent compute it."""
    found: dict[str, Outcome] = {}
    for prop in PROPERTIES.values():
        answer = checked(examined, prop)
        assert answer.bad_input is None, answer.bad_input
        answer.add_to(found)
    return found


def broken(examined: LoopUnderTest) -> dict[str, str]:
    """The explanations of broken properties, by name."""
    return {name: outcome.explanation for name, outcome in outcomes(examined).items() if outcome.status == "broken"}
