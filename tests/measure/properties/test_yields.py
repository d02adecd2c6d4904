"""Yields inside a `with`, found in the syntax tree."""

import pytest

from loopmark.bench.measure.properties.prepared_loop import held_yields_of, yields_inside_with


@pytest.mark.parametrize(
    "source",
    [
        "def step(task):\n    with task.autocast:\n        yield 'forward'",
        "def step(task):\n    with task.autocast:\n        if task:\n            x = (yield 'forward')",
        "def step(task):\n    with a:\n        with b:\n            pass\n        yield from task",
        "async def step(task):\n    async with task:\n        yield 'forward'",
        "class C:\n    def step(self):\n        for _ in x:\n            with self:\n                yield 1",
    ],
)
def test_a_yield_inside_a_with_is_caught(source: str) -> None:
    assert len(yields_inside_with(source)) == 1


@pytest.mark.parametrize(
    "source",
    [
        "def step(task):\n    with task.autocast:\n        x = 1\n    yield 'forward'",
        "with torch.no_grad():\n    def step(task):\n        yield 'forward'",
        "def outer():\n    with a:\n        def inner():\n            yield 1\n        return inner",
    ],
)
def test_a_yield_after_a_with_is_let_pass(source: str) -> None:
    assert yields_inside_with(source) == []


def holds_a_yield(task):
    with task.autocast:
        task.model()
        yield "forward"
    yield "loss"


def test_the_line_of_a_held_yield_is_its_line_in_the_file() -> None:
    code = holds_a_yield.__code__
    assert held_yields_of(code) == [code.co_firstlineno + 3]


def test_a_function_without_source_holds_no_yield_that_can_be_seen() -> None:
    made: dict[str, object] = {}
    exec("def step(task):\n    with task:\n        yield 1", made)
    assert held_yields_of(made["step"].__code__) == []  # type: ignore[attr-defined]
