"""A task made of a training script's own statements."""

import ast
import re
from collections.abc import Iterable, Iterator
from textwrap import indent
from typing import TypeGuard

from loopmark.bench.cli.statements import (
    Body,
    NotPlain,
    Script,
    calls_in,
    changes_a_part,
    loads,
    method_of,
    needed,
    run_before,
    run_within,
    stores,
    storing,
    text_of,
)
from loopmark.bench.report.text import listed

GIVEN = {"device", "batch_size", "seed"}  # the parameters of `make_task`, whatever the script gives them
BATCH_SIZE = r"""(\bbatch_size(?:=|["']: *))([\w.]+)(?:\[[^\]]+\])?(?![\w.(\[])"""
PARAMETERS = r"\b%s(\.\w+)*\.(named_)?parameters\("
WRAPPERS = ("enumerate", "tqdm", "tqdm.tqdm")  # of a loader
MOVES = r"\.(to|cuda|float|long)\([^()]*\)"  # of a tensor
OPTIMIZER_CLASS = r"((torch\.)?optim\.\w+|[A-Z]\w+)"
MANY_DEVICES = r"DataParallel\(|DDP\(|\w+\.prepare\("
ACCUMULATION = "gradient accumulation (+accumulate_K)"
TASK = '''"""The training of {name}.py as a task: its own lines, without its {without}. Edit them as you like."""

{imports}

from loopmark import Task
{own}

def make_task(device, batch_size={batch_size}, seed=0):
{body}
'''


def task_of(script: Script, name: str) -> tuple[str, list[str]]:
    """The text of a task that trains as ``script``, the file ``name``.py, does, and what it leaves out.

    Raises NotPlain.
    """
    tree = script.tree
    backward, loop = _loop_of(tree)
    imports = [s for s in tree.body if isinstance(s, ast.Import | ast.ImportFrom)]
    theirs = tree.body if name.isidentifier() and _is_importable(tree) else imports
    before = [s for s in run_before(tree, loop) if s not in theirs and not _is_aside(s, stores(imports))]
    steps = [one for s in run_within(loop.body, backward) for one in (s.body if _casts(s) else [s])]
    target, loader = _unwrapped(loop.target, loop.iter, before) if _is_over_batches(loop) else _fetched(steps)

    stepped = [c.args[0] if c.args else c.func for c in calls_in(loop) if method_of(c) == "step"]
    stepping = loads(*stepped) & stores(before)
    schedules = {one for one in stepping if (stepping - {one}) & loads(*storing(before, one))}
    optimizer, loss = _one("optimizer", stepping - schedules), _one("loss", loads(backward) & stores(steps))
    forward, made = needed(steps, {loss}), needed(before, {optimizer})
    if not loads(*forward) & stores([target]):
        raise NotPlain("its loss does not depend on the batch")
    both = loads(*made) & loads(*forward) & stores(before) - GIVEN
    model = _one("model", {one for one in both if len(both) == 1 or re.search(PARAMETERS % one, script.source)})

    left_out = _left_out(script, loop, optimizer, _schedules_of(before, tree, optimizer) - schedules)
    if ACCUMULATION in left_out:
        forward = [_undivided(s, loss) for s in forward]
    loss_fn, call = _loss(script, forward, loss, model, target)
    fixed = needed(before, {model} | (loads(loader, *forward) - stores([target])))
    fixed, inner = _apart(before, fixed, made, model)
    functions = [_function(script, "make_optimizer", inner, model, optimizer)]
    arguments = [f"{model}.to(device)", loss_fn, "make_optimizer", ast.unparse(loader)]
    if call:
        functions, arguments = [*functions, call], [*arguments, "call=call"]
    for schedule in sorted(schedules)[:1]:
        more = [s for s in needed(before, {schedule}) if s not in made]
        fixed, inner = _apart(before, fixed, more, optimizer)
        functions.append(_function(script, "make_scheduler", inner, optimizer, schedule))
        arguments.append("make_scheduler=make_scheduler")
    # A script that trains when it is imported is copied: its functions and classes, with what they need, come first.
    copied = needed(before, stores(s for s in fixed if isinstance(s, ast.FunctionDef | ast.ClassDef)))
    lines, size = _with_batch_size(script, [s for s in fixed if s not in copied])
    if re.search(r"argv|parse_args|ArgumentParser", script.source):
        lines.insert(0, f"sys.argv[1:] = []  # each option of {name}.py has its default")
    lines += ["", *functions, "# Loopmark moves the model and the batches, and steps the schedule after each update."]
    body = indent("\n".join([*lines, f"return Task({', '.join(arguments)})"]), "    ")
    try:
        used = loads(*copied, ast.parse(f"def make_task():\n{body}"))
    except SyntaxError:
        raise NotPlain("its lines cannot be put together") from None
    imports = [s for s in imports if stores([s]) & used]
    own = sorted(stores(s for s in theirs if s not in imports and not isinstance(s, ast.If | ast.Expr)) & used)
    text = TASK.format(
        name=name,
        without=listed(["loop", *left_out]),
        imports="\n".join(["import sys"] * ("sys" in used) + [text_of(script, s) for s in imports]),
        own=f"from {name} import {', '.join(own)}\n" if own else "".join(_apart_text(script, s) for s in copied),
        batch_size=size,
        body=body,
    )
    return text, left_out


def _loop_of(tree: ast.Module) -> tuple[ast.Call, ast.For | ast.While]:
    """The first call of ``backward``, and the loop over batches around it. Raises NotPlain."""
    backward = next((c for c in calls_in(tree) if method_of(c) == "backward"), None)
    loops = [n for n in ast.walk(tree) if isinstance(n, ast.For | ast.While) and backward and backward in ast.walk(n)]
    if not backward or not loops:
        raise NotPlain("it has no loop with a call of backward")
    loop = ([n for n in loops if _is_over_batches(n)] or loops)[-1]
    if any(loop in ast.walk(n) for n in ast.walk(tree) if isinstance(n, ast.AsyncFunctionDef)):
        raise NotPlain("its training is asynchronous")
    return backward, loop


def _is_over_batches(loop: ast.For | ast.While) -> TypeGuard[ast.For]:
    return isinstance(loop, ast.For) and not ast.unparse(loop.iter).startswith("range(")


def _with_batch_size(script: Script, body: Body) -> tuple[list[str], str]:
    """The lines of ``body`` with the batch size of ``make_task``, and its default: the script's own, else 64."""
    lines = [text_of(script, s) for s in body if not stores([s]) <= GIVEN]
    size = next((found[2] for line in lines if (found := re.search(BATCH_SIZE, line))), "batch_size")
    size = size if size.isdigit() else script.number(size.rpartition(".")[2]) or script.number("batch_size")
    lines = [re.sub(BATCH_SIZE, r"\1batch_size", re.sub(r"\b\w+\.batch_size\b", "batch_size", line)) for line in lines]
    return lines, size if size.isdigit() else "64"


def _left_out(script: Script, loop: ast.For | ast.While, optimizer: str, late: set[str]) -> list[str]:
    """The parts of the training that the task does not have: techniques, and what is not done at each update."""
    ifs = (n for n in ast.walk(loop) if isinstance(n, ast.If) and isinstance(n.test, ast.Compare | ast.BoolOp))
    updates = [n for n in ifs if "%" in ast.unparse(n.test) and re.search(rf"\b{optimizer}\b", ast.unparse(n))]
    clips = "clip_grad_" in script.source and not script.clip()
    found = {
        ACCUMULATION: bool(updates),
        "mixed precision (+amp_bf16)": "autocast" in ast.unparse(loop),
        "torch.compile (+compile)": "torch.compile(" in script.source,
        "training on many devices": bool(re.search(MANY_DEVICES, script.source)),
        "schedule (not stepped after each update)": bool(late),
        "clipping (its limit is no number)": clips,
    }
    return [name for name, is_left_out in found.items() if is_left_out]


def _schedules_of(before: Body, tree: ast.Module, optimizer: str) -> set[str]:
    """The names of all that is made of the optimizer and stepped anywhere in the script."""
    stepped = {name for c in calls_in(tree) if method_of(c) == "step" for name in loads(c.func)}
    return {name for name in stepped - {optimizer} if optimizer in loads(*storing(before, name))}


def _undivided(s: ast.stmt, loss: str) -> ast.stmt:
    """``s``, with the loss of a part in place of its share of the whole."""
    is_share = isinstance(s, ast.Assign) and isinstance(s.value, ast.BinOp) and isinstance(s.value.op, ast.Div)
    if not is_share or stores([s]) != {loss}:
        return s
    return ast.increment_lineno(ast.parse(f"{loss} = {ast.unparse(s.value.left)}"), -1).body[0]  # type: ignore[attr-defined]


def _is_importable(tree: ast.Module) -> bool:
    """True if importing the script does not train: it only defines, and runs under ``if __name__ == "__main__"``."""
    own = {s.name for s in tree.body if isinstance(s, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef)}
    for s in tree.body:
        if isinstance(s, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
            continue
        is_main = isinstance(s, ast.If) and "__name__" in ast.unparse(s.test)
        runs = isinstance(s, ast.For | ast.While | ast.With | ast.If) or any(loads(c.func) & own for c in calls_in(s))
        if runs and not is_main:
            return False
    return True


def _is_aside(s: ast.stmt, imported: set[str]) -> bool:
    """True for a seed, which Loopmark sets, a setting, a wrapper, and a part of a step before the loop."""
    wraps = re.search(rf"torch\.compile\(|{MANY_DEVICES}", ast.unparse(s))
    clears = isinstance(s, ast.Expr) and isinstance(s.value, ast.Call) and method_of(s.value) in ("zero_grad", "step")
    return bool(wraps) or clears or (isinstance(s, ast.Expr) and stores([s]) <= imported)


def _casts(s: ast.stmt) -> TypeGuard[ast.With]:
    """True for a block of autocast, which is a technique."""
    return isinstance(s, ast.With) and "autocast" in ast.unparse(s.items[0])


def _one(what: str, names: set[str]) -> str:
    if len(names) != 1:
        raise NotPlain(f"its loop over batches shows {'more than one' if names else 'no'} {what}")
    return next(iter(names))


def _apart_text(script: Script, s: ast.stmt) -> str:
    return f"\n\n{text_of(script, s)}\n" if isinstance(s, ast.FunctionDef | ast.ClassDef) else f"{text_of(script, s)}\n"


def _unwrapped(target: ast.expr, loader: ast.expr, before: Body) -> tuple[ast.expr, ast.expr]:
    """The names of a batch, and the loader."""
    while True:
        made = storing(before, loader.id)[-1:] if isinstance(loader, ast.Name) else []
        value = made[0].value if made and isinstance(made[0], ast.Assign) else loader
        if not isinstance(value, ast.Call) or not value.args or ast.unparse(value.func) not in WRAPPERS:
            return target, loader
        if isinstance(target, ast.Tuple) and ast.unparse(value.func) == "enumerate":
            target = target.elts[-1]
        loader = value.args[0]


def _fetched(steps: Body) -> tuple[ast.expr, ast.expr]:
    """The names of a batch, and an iterator over those that a function gives. Its call is removed from ``steps``."""
    for s in steps:
        if isinstance(s, ast.Assign) and isinstance(s.value, ast.Call) and "batch" in ast.unparse(s.value.func):
            steps.remove(s)
            return s.targets[0], ast.parse(f"iter(lambda: {ast.unparse(s.value)}, None)", mode="eval").body
    raise NotPlain("its loop is over no batches")


def _loss(script: Script, forward: Body, loss: str, model: str, target: ast.expr) -> tuple[str, str]:
    """The loss function, and the text of the function ``call`` where that is more than ``model(inputs)``."""
    names = [ast.unparse(one) for one in target.elts] if isinstance(target, ast.Tuple) else []
    values: dict[str, str] = {}
    for s in forward:
        for left, value in _pairs(s):
            text = re.sub(MOVES, "", ast.unparse(value))
            values[left] = re.sub(r"(?<![\w.])[A-Za-z_]\w*(?![\w(])", lambda m: values.get(m[0], m[0]), text)
    is_plain = len(names) == 2 and all(isinstance(s, ast.Assign) and not changes_a_part(s) for s in forward)
    usual = rf"([\w.]+)\({model}\({names[0]}\), {names[1]}\)" if is_plain else "()"
    if found := re.fullmatch(usual, values.get(loss, "-")):
        return found[1], ""
    whole = "inputs if targets is None else (inputs, targets)"
    given = "(inputs, targets)" if len(names) == 2 else "inputs" if names else whole
    lines = [f"{ast.unparse(target).strip('()')} = {given}", *(text_of(script, s) for s in forward), f"return {loss}"]
    return "None", _def("call", f"{model}, inputs, targets", lines)


def _pairs(s: ast.stmt) -> Iterator[tuple[str, ast.expr]]:
    """The names that an assignment binds, each with its value."""
    if isinstance(s, ast.Assign) and len(s.targets) == 1:
        left, value = s.targets[0], s.value
        pairs: Iterable[tuple[ast.expr, ast.expr]] = [(left, value)]
        if isinstance(left, ast.Tuple) and isinstance(value, ast.Tuple):
            pairs = zip(left.elts, value.elts, strict=False)
        yield from ((ast.unparse(name), one) for name, one in pairs)


def _apart(before: Body, fixed: Body, made: Body, changed: str) -> tuple[Body, Body]:
    """``fixed`` with those statements of ``made`` that do not need ``changed``; and the others."""
    tainted, inner = {changed}, Body()
    for s in made:
        if s not in fixed and loads(s) & tainted:
            tainted |= stores([s])
            inner.append(s)
    return [s for s in before if s in fixed or (s in made and s not in inner)], inner


def _function(script: Script, name: str, body: Body, parameter: str, result: str) -> str:
    """A function of ``parameter`` that makes ``result`` as the script does."""
    if result not in stores(body):
        raise NotPlain(f"its {result} is not made of the {parameter} alone")
    lines, options = list[str](), ""
    for s in body:
        text = text_of(script, s)
        is_made = isinstance(s, ast.Assign) and re.match(rf"{result} = {OPTIMIZER_CLASS}\(", ast.unparse(s))
        if is_made and name == "make_optimizer":  # an optimizer's class takes its options by name
            options = ", **options"
            text = f"{ast.unparse(s) if '#' in text else text.rstrip()}"[:-1].rstrip().rstrip(",") + f"{options})"
        lines.append(text)
    first = "model" if name == "make_optimizer" else parameter
    lines = [f"{parameter} = {first}"] * (first != parameter) + [*lines, f"return {result}"]
    return _def(name, f"{first}{options}", lines)


def _def(name: str, parameters: str, lines: list[str]) -> str:
    return f"def {name}({parameters}):\n{indent(chr(10).join(lines), '    ')}\n"
