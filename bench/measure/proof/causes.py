"""The causes for which a loop departs, as far as the numbers and the trail of one more step show them.

The step is taken uncompiled. A cause is told only if undoing it makes the step the baseline's, within rounding.
"""

import functools
import itertools
import linecache
import math
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm
from torch.overrides import TorchFunctionMode
from torch.utils.hooks import RemovableHandle

from loopmark.bench.measure.proof.comparison import Comparer, References, update_errors
from loopmark.bench.measure.proof.steps import (
    Errors,
    Layers,
    Settings,
    Taken,
    changes,
    dense,
    gradients_of,
    parameters_of,
    relative,
    settings_of,
    was_skipped,
    worst,
)
from loopmark.bench.measure.proof.twin import kept_by
from loopmark.loops.goal import double
from loopmark.loops.task import Task
from loopmark.loops.user_code import is_users, place_among

ALIKE = 0.02  # two figures of one cause agree if they differ by at most this share
FREE = 8  # a fit of weights shows something if each weight has this many gradients
MOST_SECONDS = 2.0  # for following lines, each of which is checked for changes


def causes_of(
    task: Task, take: Callable[[], Comparer], references: References, bits: int, still: Sequence[str]
) -> tuple[str, ...]:
    """The causes for which a loop departs, as clauses; ``take`` takes another step of it, which rounds to ``bits``.

    ``still`` has the places of the step's own tensors that the baseline moves and the loop does not.
    """
    with torch.compiler.set_stance("force_eager"):
        with Trail(task) as trail:
            this = take()
        if was_skipped(this.before, this.own):
            return ()
        return Causes(task, take, references, bits, still, trail, this).found()


@dataclass(frozen=True)
class Change:
    """A line of the user's that changed the gradients, the parameters or the optimizers' settings."""

    what: str
    line: tuple[str, int]  # file and number
    gradients: Layers  # after it, if it changed them

    def __str__(self) -> str:
        return f"{place_among([self.line])} `{linecache.getline(*self.line).strip()}`"


class Trail(TorchFunctionMode):
    """Follows the step that is taken while it is active."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        self._task, self._model = task, task.plain_model
        self.backwards: list[Layers] = []  # the gradients after each backward pass
        self.targets = [0]  # those that the cross-entropy counted before each backward pass, and after the last
        self.changes: list[Change] = []
        self.scale = 1.0  # of the gradient scaler that called the optimizer
        self.updates = 0
        self.updated: Layers | None = None  # the parameters after the first update
        self._line: tuple[str, int] | None = None  # that ran last
        self._hooks: list[RemovableHandle] = []
        self._in_optimizer, self._end = False, time.perf_counter() + MOST_SECONDS

    def __enter__(self) -> "Trail":
        for one in self._task.optimizers.values():
            self._hooks += [one.register_step_pre_hook(self._before_update)]
            self._hooks += [one.register_step_post_hook(self._after_update)]
        self._marks, self._tracer = self._marked(), sys.gettrace()
        sys.settrace(self._trace)
        return super().__enter__()  # type: ignore[no-any-return, no-untyped-call]

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)  # type: ignore[no-untyped-call]
        sys.settrace(self._tracer)
        self._note()
        for hook in self._hooks:
            hook.remove()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func is F.cross_entropy:
            self.targets[-1] += _counted(*args, **(kwargs or {}))
        elif func is Tensor.backward:
            self.backwards.append(gradients_of(self._model))
            self.targets.append(0)
            self._marks = self._marked()  # no line after it made this change
        return result

    def _trace(self, frame: Any, *_: Any) -> Any:
        if self._in_optimizer or not is_users(frame.f_code.co_filename):
            return None
        self._note()
        self._line = (frame.f_code.co_filename, frame.f_lineno) if time.perf_counter() < self._end else None
        return self._trace if self._line else None

    def _marked(self) -> dict[str, Any]:
        return {
            "gradients": _norms([dense(p.grad) for p in self._model.parameters() if p.grad is not None]),
            "parameters": _norms([p for p in self._model.parameters() if p.is_floating_point() or p.is_complex()]),
            "settings": [settings_of(one) for one in self._task.optimizers.values()],
        }

    def _note(self) -> None:
        """Note what the last line has changed."""
        before, self._marks = self._marks, self._marked()
        for what, mark in self._marks.items():
            zeroes = what == "gradients" and (self.updates > 0 or not self.backwards)
            if self._line is None or mark == before[what] or zeroes:
                continue
            if self.changes and (self.changes[-1].what, self.changes[-1].line) == (what, self._line):
                del self.changes[-1]  # a line in a loop
            gradients = gradients_of(self._model) if what == "gradients" else {}
            self.changes.append(Change(what, self._line, gradients))

    def _before_update(self, *_: Any) -> None:
        self._note()
        self._in_optimizer, frame = True, sys._getframe().f_back
        while frame is not None:
            if isinstance(scaler := frame.f_locals.get("self"), torch.amp.GradScaler):
                self.scale = float(scaler.get_scale())
            frame = frame.f_back

    def _after_update(self, *_: Any) -> None:
        self._marks, self._in_optimizer, self.updates = self._marked(), False, self.updates + 1
        self.updated = self.updated or parameters_of(self._model)


@dataclass(frozen=True)
class Causes:
    """One step of a loop that departs, and the search for its causes."""

    task: Task
    take: Callable[[], Comparer]
    references: References
    bits: int
    still: Sequence[str]  # places of the step's own tensors that the loop does not move
    trail: Trail
    this: Comparer

    @functools.cached_property
    def truth(self) -> Taken:
        return self._truth_of(self.this)

    def _truth_of(self, this: Comparer) -> Taken:
        eager = this.taken(this.eager)
        truth = this.truth(eager)
        self.references.known = worst([self.references.known, this.errors(eager, truth)])
        self.references.learn(this, truth, self.bits)
        return truth

    @property
    def base(self) -> str:
        return "eager" if self.this.eager.is_canonical else "the baseline"

    def found(self) -> tuple[str, ...]:
        off = {kind for kind, _ in self._off(self.this, self.truth)}
        if "gradient" in off:
            said = self._of_lines() or self._of_parts() or self._of_normalisation()
        else:
            said = self._of_statistics() if "buffer" in off else None
        return tuple(filter(None, (said, self._of_update(), self._of_names())))

    def _off(self, this: Comparer, truth: Taken) -> list[tuple[str, str]]:
        """Kind and layer of each error that rounding does not explain."""
        errors = this.errors(this.own, truth)
        if not this.own.told:
            del errors["loss", ""]
        return [key for key, error in errors.items() if not self.references.explain({key: error})]

    def _is_truth(self, gradients: Layers) -> bool:
        this = replace(self.this, own=replace(self.this.own, gradients=gradients))
        return all(kind != "gradient" for kind, _ in self._off(this, self.truth))

    def _factor(self, gradients: Layers) -> float | None:
        """The factor by which ``gradients`` are the baseline's; None if there is none."""
        truth = self.truth.gradients
        if gradients.keys() != truth.keys():
            return None
        factor = _product(gradients, truth) / (_product(truth, truth) or math.inf)
        return factor if factor and self._is_truth(_scaled(gradients, 1 / factor)) else None

    def _of_lines(self) -> str | None:
        """Lines of the user's between the backward pass and the update, or one factor of all gradients."""
        now = self._factor(self.trail.backwards[-1]) if self.trail.backwards else None
        scale, said, changed = self.trail.scale, list[str](), (c for c in self.trail.changes if c.what == "gradients")
        while now is not None and (change := next(changed, None)) is not None:
            before, now = now, self._factor(change.gradients)
            ratio = math.nan if now is None else now / before
            if math.isclose(ratio, 1, rel_tol=1e-5) or (scale != 1 and math.isclose(ratio * scale, 1, rel_tol=1e-3)):
                continue  # it left them as they were, or unscaled them
            how = "changes them" if now is None else f"scales them by {ratio:.2g}"
            scaled = scale != 1 and math.isclose(before, scale, rel_tol=ALIKE)
            said.append(f"{change} {how}{f' before they are unscaled by {scale:,.6g}' if scaled else ''}")
        if said:
            return f"its gradients are {self.base}'s until {_listed(said)}"
        factor = self._factor(self.this.own.gradients)
        return f"its gradients are {self.base}'s times {factor:.4g}" if factor else None

    def _of_parts(self) -> str | None:
        """Parts of a batch that weigh alike, though their losses are means over different numbers of targets."""
        sums, truth, counts = self.trail.backwards, self.truth.gradients, self.trail.targets[:-1]
        most = sum(tensor.numel() for tensor in truth.values()) / FREE
        if not 1 < len(sums) <= most or any(one.keys() != truth.keys() for one in sums):
            return None
        parts = [sums[0], *(changes(one, other) for one, other in itertools.pairwise(sums))]
        products = torch.tensor([[_product(one, other) for other in (*parts, truth)] for one in parts])
        solution = torch.linalg.lstsq(products[:, :-1], products[:, -1:]).solution.flatten()
        weighted = [_scaled(part, weight) for part, weight in zip(parts, solution.tolist(), strict=True)]
        if not self._is_truth({name: functools.reduce(torch.add, (part[name] for part in weighted)) for name in truth}):
            return None
        weights, shares = solution / solution.mean(), torch.tensor(counts) / (sum(counts) / len(counts) or 1)
        if torch.allclose(weights, shares, rtol=ALIKE):
            means = f"each part's loss is a mean over its own targets ({_listed(counts)})"
            return f"{means}: weighted by them, its gradients are {self.base}'s"
        return f"with its parts weighted by {_listed(f'{w:.2g}' for w in weights)}, its gradients are {self.base}'s"

    def _of_normalisation(self) -> str | None:
        """Batch normalisation, if the step is the baseline's by its running statistics."""
        models = [self.task.plain_model, *(twin.model for twin in (self.this.eager, self.this.exact) if twin)]
        layers = [layer for model in models for layer in model.modules() if isinstance(layer, _BatchNorm)]
        if not layers:
            return None
        for layer in layers:
            layer.register_forward_pre_hook(lambda layer, _: layer.eval() and None)  # again, as a step may undo it
        this = self.take()
        off = self._off(this, self._truth_of(this))
        if any(kind in ("loss", "gradient") for kind, _ in off):
            return None
        apart = f"; it normalises {len(self.trail.backwards)} parts apart" if len(self.trail.backwards) > 1 else ""
        return f"by batch norm's running statistics its gradients are {self.base}'s{apart}"

    def _of_statistics(self) -> str | None:
        """Running statistics that one batch has updated twice."""
        layers, twice = dict(self.this.eager.model.named_modules()), dict[str, Tensor]()
        for kind, name in self._off(self.this, self.truth):
            norm = layers.get(name.rpartition(".")[0])
            if kind == "buffer" and isinstance(norm, _BatchNorm):
                once = double(self.truth.buffers[name])
                twice[name] = once + (1 - (norm.momentum or 0)) * (once - double(self.this.before.layers[name]))
        left = self._off(self.this, replace(self.truth, buffers={**self.truth.buffers, **twice}))
        if not twice or any(kind == "buffer" for kind, _ in left):
            return None
        return "batch norm's running statistics are updated twice a step"

    def _of_update(self) -> str | None:
        """Settings of the optimizers, or lines of the user's that change the parameters after the update."""
        this, before, gradients = self.this, self.this.before, self.this.own.gradients
        exact, updated = this.exact or this.eager, self.trail.updated
        own, rounding = _update_errors(this)
        if updated is None or rounding.explain(own):
            return None
        told = dict.fromkeys(
            f"{key} {_shown(group[key])} ({self.base}'s {_shown(value)})"
            for name, others in this.eager.settings().items()
            for group, other in zip(this.own.settings[name], others, strict=True)
            for key, value in other.items()
            if type(value) in (int, float, tuple) and _shown(group[key]) != _shown(value)
        )
        as_set, rounding_as_set = _update_errors(this, this.own.settings)
        if told and rounding_as_set.explain(as_set):
            lines = "".join(f", set by {change}" for change in self.trail.changes if change.what == "settings")
            return f"its update has {_listed(told)}{lines}"
        whole = exact.update(before, gradients).since(before)
        first = relative("update", changes(before.layers, updated), {name: whole[name] for name in updated})
        after = [f"{change} changes the parameters" for change in self.trail.changes if change.what == "parameters"]
        after += ["its optimizer steps again"] * (self.trail.updates > len(this.own.settings))
        return f"its update is {self.base}'s until {_listed(after)}" if after and rounding.explain(first) else None

    def _of_names(self) -> str | None:
        """A wrapper of the model whose prefix hides its parameters from the step, if the step is right without it."""
        wrapped, before = self.task.model, kept_by(self.task)
        names = [next(iter(dict(model.named_parameters()))) for model in (wrapped, self.task.plain_model)]
        if not self.still or names[0] == names[1]:
            return None
        self.task.model = self.task.plain_model
        self.take()
        self.task.model, after = wrapped, kept_by(self.task)
        if any(before[place] == after[place] for place in self.still):
            return None
        prefix = names[0].removesuffix(names[1])
        return f"{self.still[0]} moves only if the names of the model's parameters have no prefix `{prefix}`"


def _update_errors(this: Comparer, settings: Settings | None = None) -> tuple[Errors, References]:
    own, eager, nudged = update_errors(this, settings)
    return own, References(known=worst([eager, *nudged]))


def _shown(setting: Any) -> str:
    return f"({', '.join(map(_shown, setting))})" if isinstance(setting, tuple) else f"{float(setting):.4g}"


def _scaled(layers: Layers, factor: float) -> Layers:
    return {name: double(dense(tensor)) * factor for name, tensor in layers.items()}


def _product(one: Layers, other: Layers) -> float:
    return sum(float((double(dense(tensor)) * double(dense(other[name]))).sum()) for name, tensor in one.items())


def _listed(several: Iterable[object]) -> str:
    *most, last = map(str, several)
    return f"{', '.join(most)} and {last}" if most else last


def _norms(tensors: list[Tensor]) -> list[float]:
    with torch.no_grad():
        return [float(norm) for norm in torch._foreach_norm(tensors)] if tensors else []


def _counted(_: Tensor, targets: Tensor, *__: Any, ignore_index: int = -100, **___: Any) -> int:
    return len(targets) if targets.is_floating_point() else int((targets != ignore_index).sum())
