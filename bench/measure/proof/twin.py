"""A twin: a copy of a task, made before any technique changes it, that takes the baseline's step from any state."""

import contextlib
import copy
import sys
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from loopmark.bench.measure.proof.precision import Switches
from loopmark.bench.measure.proof.steps import (
    Handed,
    Layers,
    Settings,
    State,
    Taken,
    Updated,
    buffers_of,
    copied,
    gradients_of,
    layers_of,
    parameters_of,
    settings_of,
    slots_of,
)
from loopmark.loops.batch import Batch, mapped, predict
from loopmark.loops.goal import double
from loopmark.loops.loop import EAGER, Loop
from loopmark.loops.task import Task
from loopmark.loops.technique import Driver
from loopmark.loops.user_code import BadSpec, defined_at, is_users

Nudge = Callable[[float], float]
DEEPEST = 5  # levels of the user's objects, in each other, that are searched for tensors


class Twin:
    """Takes the step of ``base``, without its techniques, from any given state.

    Of the canonical step it computes the gradients, and the update from any gradients. A step of the user's own is
    taken whole, since only it knows what it does; the state that it keeps on its task moves on with each step that is
    not rounded at random. An ``exact`` twin computes in float64, whose rounding is negligible beside float32's.
    """

    def __init__(self, task: Task, base: Loop = EAGER, *, exact: bool = False, is_own: bool = False) -> None:
        """A twin of ``task``; with ``is_own``, its model is the twin's own, and is not copied."""
        self.model = task.plain_model if is_own else copy.deepcopy(task.plain_model)
        self._task = copy.copy(task)
        self._task.model = self._task.plain_model = self.model
        self._task.loss_fn = copy.deepcopy(task.loss_fn) if isinstance(task.loss_fn, nn.Module) else task.loss_fn
        self._task.optimizer_options = {}
        pairs = zip(_parts(task.plain_model), _parts(self.model), strict=True)
        with contextlib.suppress(Exception):  # the user's own objects may raise anything
            vars(self._task).update(copy.deepcopy(_own_attributes(task), {id(one): other for one, other in pairs}))
        self._base, self._exact = replace(base, techniques=()), exact
        self.is_canonical = base.is_canonical
        self.keeps_state = not base.is_canonical or task.make_scheduler is not None  # besides the given state
        self._switches = Switches.now()  # no technique has changed them yet
        self._step: Any = None
        self.device = task.device
        self._own_before: dict[str, Any] | None = None
        if exact:
            for part in (self.model, self._task.loss_fn):
                if isinstance(part, nn.Module):
                    part.double()

    def take(
        self,
        state: State,
        batch: Batch,
        rounding: AbstractContextManager[Any] | None = None,
        nudge: Nudge | None = None,
    ) -> Taken:
        """The step from ``state``. ``nudge`` slightly changes the settings of a whole step's optimizers."""
        self._load(state)
        inputs, targets = (mapped(self._cast, part) for part in batch)
        with self._switches.restored():
            if not self.is_canonical:
                return self._take_own(state, inputs, targets, rounding, nudge)
            self.model.zero_grad(set_to_none=True)
            with rounding or contextlib.nullcontext():
                loss = self._task.loss_fn(predict(self.model, inputs, targets, self._task.call), targets)
                loss.backward()
        return Taken(loss.detach().clone(), gradients_of(self.model), buffers_of(self.model))

    def settings(self) -> Settings:
        """The settings of the optimizers at their next or last update."""
        if self._step is not None:
            return self._handed.settings
        return {name: settings_of(optimizer) for name, optimizer in self._task.new_optimizers().items()}

    def update(
        self,
        state: State,
        gradients: Layers,
        nudge: Nudge = lambda value: value,
        own: Settings | None = None,
    ) -> Updated:
        """The optimizers' update from ``state``. ``nudge`` slightly changes each setting (learning rate, betas, …).

        ``own`` has numbers to use instead of the settings.
        """
        self._load(state)
        if self._task.make_scheduler is not None:
            self._begin()  # a schedule that warms up has changed the settings before the first step
        settings = self._handed.settings if self._step is not None else {}
        with self._switches.restored():
            made = self._task.new_optimizers()
            ours = {id(parameter) for parameter in self.model.parameters()}
            for name, optimizer in made.items():
                if not all(id(parameter) in ours for group in optimizer.param_groups for parameter in group["params"]):
                    raise BadSpec(
                        f"{defined_at(self._task.make_optimizer)}: make_optimizer trains parameters that are not the "
                        "model's; make the module that has them, such as a loss, a part of the model"
                    )
                fresh = optimizer.state_dict()["param_groups"]
                optimizer.load_state_dict({"state": copied(state.optimizers[name]), "param_groups": fresh})
                for number, group in enumerate(optimizer.param_groups):
                    group.update(settings[name][number] if name in settings else {})
                    for key, value in own[name][number].items() if own else ():
                        if type(group.get(key)) in (int, float, tuple):
                            group[key] = float(value) if isinstance(value, Tensor) else value
                    group.update(tree_map_only(float, nudge, group))
            self._set_gradients(gradients)  # a function that makes optimizers may clear them
            for optimizer in made.values():
                optimizer.step()
        return Updated(parameters_of(self.model), slots_of(self.model, *made.values()))

    def advance(self) -> None:
        """Step the schedules of ``make_scheduler`` after an update; a step of the user's own has stepped them."""
        if not self.is_canonical or self._task.make_scheduler is None:
            return
        self._begin()
        with warnings.catch_warnings(action="ignore"):  # about a schedule that is stepped before its optimizer
            for schedule in self._task.schedules.values():
                schedule.step()
        self._handed.note_settings()

    def _begin(self) -> None:
        """Make the optimizers, and prepare the step; only the first call does anything."""
        if self._step is None:
            step = self._base.prepare(self._task)
            assert not isinstance(step, Driver)  # only a technique has a driver
            self._step, self._handed = step, Handed(self._task)
            self._handed.note_settings()

    def _take_own(self, state: State, inputs: Any, targets: Any, rounding: Any, nudge: Nudge | None) -> Taken:
        self._begin()
        task = self._task
        task.adapt(inputs)
        for name, optimizer in task.optimizers.items():
            groups = optimizer.state_dict()["param_groups"]
            optimizer.load_state_dict({"state": copied(state.optimizers[name]), "param_groups": groups})
        self._set_gradients(state.gradients)
        live = self._own_state()
        if rounding is None or self._own_before is None:
            self._own_before = self._copied(live)
        if rounding is not None and self._own_before is not None:
            self._put(self._copied(self._own_before) or live)
        for group in (group for optimizer in task.optimizers.values() for group in optimizer.param_groups):
            group.update(tree_map_only(float, nudge, group) if nudge else {})
        task.last_loss = None
        self._handed.forget()
        try:
            with rounding or contextlib.nullcontext():
                deque(self._step(task, inputs, targets), maxlen=0)
        finally:
            if rounding is not None:
                self._put(live)
        loss = torch.as_tensor(torch.nan if task.last_loss is None else task.last_loss).detach().clone()
        updated = Updated(parameters_of(self.model), slots_of(self.model, *task.optimizers.values()))
        return Taken(loss, self._handed.gradients(), buffers_of(self.model), updated)

    def kept_beside(self, task: Task) -> dict[str, tuple[float, float]]:
        """The norms of the tensors that a step of the user's own keeps, in ``task`` and here; see ``kept_by``."""
        own, its = (kept_by(task), kept_by(self._task)) if not self.is_canonical else ({}, {})
        return {place: (own[place], its[place]) for place in own if place in its}

    def _own_state(self) -> dict[str, Any]:
        """The attributes that a step has added to its task, and the settings of its optimizers."""
        groups = {name: [dict(group) for group in o.param_groups] for name, o in self._task.optimizers.items()}
        return {"": groups, "schedules": self._task.schedules, **_own_attributes(self._task)}

    def _copied(self, own: dict[str, Any]) -> dict[str, Any] | None:
        """A copy that shares the model and its optimizers; None where something in it cannot be copied."""
        task = self._task
        shared = (task, task.model, *self.model.modules(), *self.model.parameters(), *task.optimizers.values())
        try:
            return copy.deepcopy(own, {id(one): one for one in (*shared, task.optimizer)})
        except Exception:  # the user's own objects may raise anything
            return None

    def _put(self, own: dict[str, Any]) -> None:
        for name, groups in own[""].items():
            for group, settings in zip(self._task.optimizers[name].param_groups, groups, strict=True):
                group.update(settings)
        for name in self._own_state().keys() - own.keys():
            delattr(self._task, name)
        vars(self._task).update({name: value for name, value in own.items() if name})

    def _cast(self, tensor: Tensor) -> Tensor:
        return tensor.double() if self._exact and tensor.is_floating_point() else tensor

    def _set_gradients(self, gradients: Layers) -> None:
        for name, parameter in self.model.named_parameters():
            gradient = gradients.get(name)
            parameter.grad = None if gradient is None else gradient.to(parameter.dtype, copy=True)

    def _load(self, state: State) -> None:
        with torch.no_grad():
            for name, tensor in layers_of(self.model):
                tensor.copy_(state.layers[name])


def kept_by(task: Task) -> dict[str, float]:
    """The norm of each tensor that a step keeps on its task, such as an average; empty where an object there raises."""
    with contextlib.suppress(Exception):
        return {place: float(double(one).norm()) for place, one in _tensors_in(_own_attributes(task), ())}
    return {}


def _tensors_in(value: Any, place: tuple[str, ...]) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield ".".join(place), value.detach()
    if isinstance(value, nn.Module):
        value = value.state_dict()
    elif is_users(getattr(sys.modules.get(type(value).__module__), "__file__", None) or "<"):
        value = vars(value)
    items = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list | tuple) else ()
    for name, one in items if len(place) < DEEPEST else ():
        yield from _tensors_in(one, (*place, str(name)))


def _own_attributes(task: Task) -> dict[str, Any]:
    """The attributes that the user has added to a task."""
    known = {field.name for field in fields(Task)} | {"place", "_stream"}
    return {name: value for name, value in vars(task).items() if name not in known}


def _parts(model: nn.Module) -> list[Any]:
    return [*model.modules(), *model.parameters(), *model.buffers()]
