"""The statements of a training script: its text, and what each statement binds, needs and changes."""

import ast
import importlib.util
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from textwrap import dedent

Body = list[ast.stmt]
CLIP = r"\b(clip_grad_(?:norm|value)_)\([^,]+, *(?:\w+=)?([\w.]+(?:(?<=\de)-\d+)?)"


class Script:
    """The text of a script. Raises SyntaxError or ValueError for a file that is not Python."""

    def __init__(self, path: Path) -> None:
        content = path.read_bytes()
        self.tree, self.source = ast.parse(content), importlib.util.decode_source(content)

    def clip(self) -> str:
        """The call that clips the gradients of ``task.model``; empty if the script has none."""
        for name, limit in re.findall(CLIP, ast.unparse(self.tree))[:1]:  # without comments
            limit = limit if limit[:1].isdigit() else self.number(limit.rpartition(".")[2])
            return f"{name}(task.model.parameters(), {limit})" if float(limit or 0) else ""
        return ""

    def number(self, name: str) -> str:
        """The first number that the script gives a name, as its value or as the default of its option."""
        given = r"\b(?:[^\n=]*=|.*?default=|[\"']:) *(\d[\d_]*\.?\d*(?:e[+-]?\d+)?)"
        option = rf"(?<![\w-])(?:--)?{re.escape(name).replace('_', '[-_]')}"
        return next(iter(re.findall(option + given, self.source)), "")


class NotPlain(Exception):  # noqa: N818 - it names the script
    """The script is no plain loop over batches with one model and one optimizer. The text says what is not."""


def text_of(script: Script, s: ast.stmt) -> str:
    """The script's own text of a statement; Python's, where indenting would change a string or miss a decorator."""
    strings = (n for n in ast.walk(s) if isinstance(n, ast.JoinedStr | ast.Constant) and n.lineno != n.end_lineno)
    if not s.lineno or next(strings, None) or getattr(s, "decorator_list", []):
        return ast.unparse(s)
    return dedent(ast.get_source_segment(script.source, s, padded=True) or "")


def calls_in(node: ast.AST) -> Iterator[ast.Call]:
    return (n for n in ast.walk(node) if isinstance(n, ast.Call))


def method_of(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else ""


def loads(*nodes: ast.AST) -> set[str]:
    names = (n for node in nodes for n in ast.walk(node) if isinstance(n, ast.Name))
    return {n.id for n in names if isinstance(n.ctx, ast.Load)}


def stores(nodes: Iterable[ast.AST]) -> set[str]:
    """The names that nodes bind, and those of the objects that they change, also through a loop over their parts."""
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found |= {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
        else:
            for n in ast.walk(node):
                is_stored = isinstance(getattr(n, "ctx", None), ast.Store)
                if isinstance(n, ast.Name | ast.Attribute | ast.Subscript) and is_stored:
                    found.add(root_of(n))
                elif isinstance(n, ast.For):
                    found.add(root_of(n.iter))
                elif isinstance(n, ast.Expr) and isinstance(n.value, ast.Call) and method_of(n.value):
                    found.add(root_of(n.value))
    return found


def root_of(node: ast.AST) -> str:
    """The name with which an expression begins, such as ``model`` of ``model.fc.weight[0]``."""
    return re.split(r"\W", ast.unparse(node))[0]


def changes_a_part(s: ast.stmt) -> bool:
    """True for a statement that changes a part of an object."""
    parts = (n for n in ast.walk(s) if isinstance(n, ast.Attribute | ast.Subscript))
    return any(isinstance(n.ctx, ast.Store) for n in parts)


def storing(body: Body, name: str) -> Body:
    return [s for s in body if name in stores([s])]


def needed(body: Body, names: set[str]) -> Body:
    """The statements of ``body`` that ``names`` depend on, in order."""
    wanted, found = set(names), Body()
    for s in reversed(body):
        if stores([s]) & wanted:
            wanted |= loads(s)
            found.insert(0, s)
    return found


def run_within(body: Body, end: ast.AST) -> Iterator[ast.stmt]:
    """The statements of ``body``, and of the blocks around ``end``, that run before it."""
    for s in body:
        if end in ast.walk(s):
            blocks = [getattr(s, key, None) for key in ("body", "orelse")] if s is not end else []
            for block in blocks:
                if isinstance(block, list) and any(end in ast.walk(one) for one in block):
                    yield from run_within(block, end)
            return
        yield s


def run_before(tree: ast.Module, end: ast.AST) -> Body:
    """The statements that run before ``end``, those of the functions that lead to it included."""
    around = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and end in ast.walk(n)]
    if not around:
        return [*run_within(tree.body, end)]
    function = around[-1]
    calls = [c for c in calls_in(tree) if ast.unparse(c.func) == function.name and c not in ast.walk(function)]
    names = [parameter.arg for parameter in function.args.args]
    given = dict(zip(names[::-1], function.args.defaults[::-1], strict=False))
    for call in calls[:1]:
        given |= dict(zip(names, call.args, strict=False)) | {
            word.arg: word.value for word in call.keywords if word.arg
        }
    if missing := [name for name in names if name not in given]:
        is_method, unknown = "self" in missing, f"it does not show the {missing[0]} of {function.name}"
        raise NotPlain("its training is a method" if is_method else unknown)
    bound = [f"{name} = {ast.unparse(value)}" for name, value in given.items() if ast.unparse(value) != name]
    outer = run_before(tree, calls[0]) if calls else Body()
    return [
        *outer,
        *(ast.increment_lineno(ast.parse(text), -1).body[0] for text in bound),
        *run_within(function.body, end),
    ]
