"""Every technique, loop and workload by name; the user's own by file or module."""

import difflib
import functools
import inspect
import re
from collections.abc import Callable, Iterable
from pathlib import Path

from loopmark.loops import amp, compiled, cuda_graphs, model, optimizers, switches
from loopmark.loops.accumulate import accumulate
from loopmark.loops.loop import EAGER, Loop, of_function
from loopmark.loops.technique import Step, Technique
from loopmark.loops.user_code import BadSpec, defined_at, is_spec, load
from loopmark.loops.workload import Workload
from loopmark.loops.workloads import extras
from loopmark.loops.workloads.gpt import gpt
from loopmark.loops.workloads.regression import regression, regression_mlp
from loopmark.loops.workloads.resnet import resnet

# Every technique that these modules define, in their order.
TECHNIQUES: dict[str, Technique] = {
    found.name: found
    for module in (switches, amp, model, optimizers, compiled, cuda_graphs)
    for found in vars(module).values()
    if isinstance(found, Technique)
}
WORKLOADS: dict[str, Workload] = {w.name: w for w in (regression, regression_mlp, resnet, gpt)}

ASKED: list[Workload] = []  # of the extras, by this process

# Similarity of two names, by difflib's ratio, for one to be suggested for the other.
LIKE_ENOUGH = 0.5
SURELY_MEANT = 0.85  # from this similarity on, only close matches are suggested
ABOUT_AS_LIKE = 0.2  # largest difference in similarity from the closest name
_ACCUMULATE = re.compile(r"accumulate_([0-9]{1,4})")
_OWN = re.compile(r"(?P<spec>[^:]+:[A-Za-z_]\w*)(?:\+(?P<rest>.*))?")


def find_loop(name: str) -> Loop:
    """The loop ``name``: techniques joined by ``+`` in any order, the user's own step, or both joined by ``+``.

    Raises BadSpec for an unknown name, techniques that exclude each other, or code that is not a step.
    """
    own = _OWN.fullmatch(name.strip())
    base, label, first = _own_loop(own["spec"]) if own else (EAGER.base, "", [])
    rest = own["rest"] if own else name
    names = [part.strip() for part in rest.split("+")] if rest is not None else []
    named = [find_technique(part) for part in names if part != EAGER.name]
    techniques = sorted([*first, *named], key=lambda t: (t.rank, t.name))
    _refuse_clashes(name, techniques, own_step=bool(own) and not first)
    parts = ([label] if label else []) + [t.name for t in techniques if t not in first]
    return Loop("+".join(parts) or EAGER.name, base, tuple(techniques))


def find_technique(name: str) -> Technique:
    """The technique ``name``. Raises BadSpec with similar names for an unknown one."""
    if name in TECHNIQUES:
        return TECHNIQUES[name]
    parts = _ACCUMULATE.fullmatch(name)
    if parts and int(parts[1]) >= 2:
        return accumulate(int(parts[1]))
    if name.startswith("accumulate"):
        raise BadSpec(f"no loop named '{name}'; accumulate_K needs a whole K from 2 to 9999, as in accumulate_4")
    raise BadSpec(_unknown("loop", name, ["eager", *TECHNIQUES]))


def find_workload(name: str) -> Workload:
    """The workload ``name``, an extra's model, or the user's own ``make_task``. Raises BadSpec for an unknown one."""
    if name in WORKLOADS:
        return WORKLOADS[name]
    if name.partition(":")[0] in extras.EXTRAS:
        return _extra(name)
    if not is_spec(name):
        raise BadSpec(_unknown("workload", name, WORKLOADS))
    make_task = load(name, "workload")
    if isinstance(make_task, Workload):
        return make_task
    if not callable(make_task):
        raise BadSpec(f"{name} is a {type(make_task).__name__}; give a function of device, batch_size and seed")
    parameters = _parameters(name, make_task, "make_task", "device", "batch_size", "seed")
    batch = parameters[1].default if len(parameters) > 1 and isinstance(parameters[1].default, int) else 64
    return Workload(label_of(name), "your own", {"small": (make_task, batch), "large": (make_task, batch)})


@functools.cache
def _extra(name: str) -> Workload:
    found, names = extras.find(name)
    if found is None:
        prefix = name.partition(":")[0]
        raise BadSpec(_unknown("workload", name, [f"{prefix}:{other}" for other in names()]))
    ASKED.append(found)
    return found


def label_of(spec: str) -> str:
    """A short name for the user's own code: ``path/to/file.py:step`` is ``file:step``."""
    place, _, name = spec.rpartition(":")
    return f"{Path(place).stem if place.endswith('.py') else place}:{name}"


def _own_loop(spec: str) -> tuple[Step, str, list[Technique]]:
    found = load(spec, "loop")
    if isinstance(found, Technique):
        return EAGER.base, label_of(spec), [found]
    if not callable(found) or isinstance(found, type):
        kind = "a class" if isinstance(found, type) else f"a {type(found).__name__}"
        raise BadSpec(f"{spec} is {kind}; give a step, a function of task, inputs and targets: see loops/eager.py")
    _parameters(spec, found, "step", "task", "inputs", "targets")
    return found if inspect.isgeneratorfunction(found) else of_function(found), label_of(spec), []


def _parameters(spec: str, function: Callable[..., object], role: str, *given: str) -> list[inspect.Parameter]:
    """The parameters of the user's function. Raises BadSpec where it cannot be called with those ``given``."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # a callable written in C
        wanted = f"{', '.join(given[:-1])} and {given[-1]}"
        raise BadSpec(f"{spec} does not show its parameters; give a function of {wanted}") from None
    try:
        signature.bind(*given)
    except TypeError:
        called = f"{spec}{signature} cannot be called as {role}({', '.join(given)})"
        raise BadSpec(f"{defined_at(function)}: {called}") from None
    return [*signature.parameters.values()]


def _refuse_clashes(name: str, techniques: list[Technique], own_step: bool) -> None:
    seen: set[str] = set()
    for technique in techniques:
        if technique.name in seen:
            raise BadSpec(f"'{name}' names {technique.name} twice; name it once")
        seen.add(technique.name)
    accumulations = [t.name for t in techniques if t.name.startswith("accumulate_")]
    seen |= {"accumulate_K"} if accumulations else set()
    for technique in techniques:
        if clash := sorted(technique.excludes & seen):
            raise BadSpec(f"'{name}' cannot be: {technique.name} and {clash[0]} exclude each other; keep one")
        if own_step and technique.step and not technique.used:
            raise BadSpec(
                f"'{name}' cannot be: {technique.name} has its own step, which would replace yours; "
                "write its changes into your step"
            )
    if len(accumulations) > 1:
        raise BadSpec(f"'{name}' cannot be: {' and '.join(accumulations)} exclude each other; keep one")


def _unknown(what: str, name: str, known: Iterable[str]) -> str:
    likeness = {other: difflib.SequenceMatcher(None, other.lower(), name.lower()).ratio() for other in known}
    closest = max(likeness.values())
    least = closest if closest >= SURELY_MEANT else max(LIKE_ENOUGH, closest - ABOUT_AS_LIKE)
    best = sorted(likeness, key=lambda other: -likeness[other])[:3]
    alike = [f"'{other}'" for other in likeness if other in best and likeness[other] >= least]
    meant = f"; did you mean {' or '.join(alike)}?" if alike else ";"
    if name.endswith(".py"):
        return f"'{name}' is a file; add the function's name: {name}:{'step' if what == 'loop' else 'make_task'}"
    return f"no {what} named '{name}'{meant} see: loopmark list"
