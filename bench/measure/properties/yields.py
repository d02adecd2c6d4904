"""Every ``yield`` inside a ``with``, from the syntax tree: the context would stay on in whoever drives the step."""

import ast
import inspect
import textwrap
from collections.abc import Iterator
from functools import cache
from types import CodeType


def yields_inside_with(source: str) -> list[int]:
    """The lines of every ``yield`` that stands inside a ``with`` of its own function."""
    return sorted(_held_yields(ast.parse(source), held=False))


@cache
def held_yields_of(code: CodeType) -> list[int]:
    """The lines, in its file, of every such ``yield`` of a function; none where its source cannot be had."""
    try:
        lines, first = inspect.getsourcelines(code)
        found = yields_inside_with(textwrap.dedent("".join(lines)))
    except (OSError, TypeError, SyntaxError, ValueError):
        return []
    return [line + max(first, 1) - 1 for line in found]


def _held_yields(node: ast.AST, held: bool) -> Iterator[int]:
    for child in ast.iter_child_nodes(node):
        if held and isinstance(child, ast.Yield | ast.YieldFrom):
            yield child.lineno
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from _held_yields(child, held=False)
        else:
            yield from _held_yields(child, held or isinstance(child, ast.With | ast.AsyncWith))
