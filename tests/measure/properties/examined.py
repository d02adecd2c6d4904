"""A step examined in this process, on a task that is small and quick."""

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
"""The canonical step, a name for each line."""
BEFORE = "import copy\n\nimport torch\nimport torch.nn.functional as F\n\nCOUNT = []\n\n\n"


def planted(folder: Path, **instead: str) -> str:
    """A file with the canonical step, some of its lines others, and what names the step in it.

    A line may quote the canonical ones by their names in braces, and be empty.
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
    """Every property's outcome, as a worker and its parent come to it."""
    found: dict[str, Outcome] = {}
    for prop in PROPERTIES.values():
        answer = checked(examined, prop)
        assert answer.bad_input is None, answer.bad_input
        answer.add_to(found)
    return found


def broken(examined: LoopUnderTest) -> dict[str, str]:
    """The explanations of the properties that are broken, by name."""
    return {name: outcome.explanation for name, outcome in outcomes(examined).items() if outcome.status == "broken"}
