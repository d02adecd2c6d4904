"""A batch: inputs and targets, each a tensor or any nesting of dicts, lists, tuples and objects that hold tensors."""

import copy
import inspect
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_map

from loopmark.loops.user_code import BadSpec, defined_at

Batch: TypeAlias = tuple[Any, Any]  # inputs and targets; the targets are None where the batch has none


def inputs_and_targets(batch: Any, has_loss_fn: bool) -> Batch:
    """The two parts of a loader's ``batch``.

    A pair is inputs and targets; where the task has a loss function, the last part of a longer tuple is the targets.
    Anything else, such as one mapping, is inputs without targets. Raises TypeError where nothing in it is a tensor.
    """
    parts = batch, None
    if isinstance(batch, tuple | list) and not _moves_itself(batch):
        if len(batch) == 2:
            parts = batch[0], batch[1]
        elif len(batch) > 2 and has_loss_fn:
            parts = tuple(batch[:-1]), batch[-1]
    if next(tensors_in(batch), None) is None:
        raise TypeError(f"a batch must hold tensors; this one is {_described(batch)}")
    return parts


def _described(batch: Any) -> str:
    kind = type(batch).__name__
    if isinstance(batch, tuple | list):
        parts = ", ".join(dict.fromkeys(type(part).__name__ for part in batch[:3]))
        return f"a {kind} of {parts}" if parts else f"an empty {kind}"
    return f"a {kind} of {', '.join(map(repr, [*batch][:3]))}" if isinstance(batch, Mapping) else f"a {kind}"


def moved(tree: Any, device: torch.device, image_format: torch.memory_format) -> Any:
    """``tree`` on ``device``; its images, tensors of four dimensions, in ``image_format``."""

    def move(tensor: Tensor) -> Tensor:
        tensor = tensor.to(device, non_blocking=True)
        if image_format is not torch.contiguous_format and tensor.dim() == 4:
            tensor = tensor.contiguous(memory_format=image_format)
        return tensor

    return mapped(move, tree, lambda part: part.to(device))


def mapped(change: Callable[[Tensor], Any], tree: Any, change_holder: Callable[[Any], Any] | None = None) -> Any:
    """A copy of ``tree`` with ``change`` applied to its tensors, and ``change_holder`` to its objects with ``.to``."""

    def at(part: Any) -> Any:
        if isinstance(part, Tensor):
            return change(part)
        if change_holder and _moves_itself(part):
            return change_holder(part)
        if isinstance(part, tuple):  # one with its own `.to`, such as a PackedSequence
            return type(part)(*(mapped(change, value, change_holder) for value in part))
        if isinstance(part, Mapping):
            return _replaced(part, {key: mapped(change, value, change_holder) for key, value in part.items()})
        if _holds_tensors(part):
            held = {name: mapped(change, value, change_holder) for name, value in vars(part).items()}
            return _holding(part, held)
        return part

    return tree_map(at, tree, is_leaf=_moves_itself)


def tensors_in(tree: Any) -> Iterator[Tensor]:
    """Each tensor in ``tree``."""
    for part in tree_flatten(tree, is_leaf=_moves_itself)[0]:
        if isinstance(part, Tensor):
            yield part
        elif isinstance(part, Mapping):
            for value in part.values():
                yield from tensors_in(value)
        elif isinstance(part, tuple | list):  # one with its own `.to`, such as a PackedSequence
            for value in part:
                yield from tensors_in(value)
        elif hasattr(part, "__dict__") and not isinstance(part, type | nn.Module):
            for value in vars(part).values():
                if isinstance(value, Tensor | Mapping | tuple | list):
                    yield from tensors_in(value)


def rows_of(inputs: Any, targets: Any = None) -> int | None:
    """The samples of a batch: the first size of its targets, else the most frequent first size of its tensors.

    An object that says its own ``num_graphs`` or ``batch_size``, such as a batch of graphs, is believed.
    """
    told = (getattr(inputs, name, None) for name in ("num_graphs", "batch_size"))
    if said := next((size for size in told if type(size) is int), None):
        return said
    if isinstance(targets, Tensor) and targets.dim():
        return len(targets)
    if isinstance(targets, list | tuple) and targets and not isinstance(targets[0], Tensor):
        return len(targets)  # one entry a sample, as in detection
    sizes = Counter[int]()
    for part in (*inputs.values(), targets) if isinstance(inputs, Mapping) else (inputs, targets):
        if isinstance(part, list | tuple) and part and isinstance(part[0], Mapping):
            sizes[len(part)] += 1  # the annotations of each image
        else:
            sizes.update(len(tensor) for tensor in tensors_in(part) if tensor.dim())
    return max(sizes, key=lambda size: sizes[size]) if sizes else None


def layout_of(tree: Any) -> tuple[Any, ...]:
    """The shape of each tensor in ``tree`` and its other values, in their order: what a captured step has fixed."""
    if isinstance(tree, Tensor):
        return (tuple(tree.shape),)
    parts = tree_flatten(tree, is_leaf=_moves_itself)[0]
    others = [part for part in parts if isinstance(part, str | int | float)]
    return (*(tuple(tensor.shape) for tensor in tensors_in(tree)), *others)


def copy_into(places: Any, values: Any) -> None:
    """Copy each tensor of ``values`` to the tensor at the same place in ``places``. Their shapes must agree."""
    for place, value in zip(tensors_in(places), tensors_in(values), strict=True):
        place.copy_(value)


def cut(tree: Any, rows: int, parts: int) -> list[Any]:
    """``tree`` in ``parts`` parts of its ``rows`` samples; what has no row a sample goes into each part whole.

    ValueError for an object with a tensor that has no row a sample, such as a graph: its parts are unknown.
    """
    if isinstance(tree, Tensor):
        return [*tree.chunk(parts)] if tree.dim() and len(tree) == rows else [tree] * parts
    if isinstance(tree, Mapping):
        pieces = {key: cut(value, rows, parts) for key, value in tree.items()}
        return [_replaced(tree, {key: found[i] for key, found in pieces.items()}) for i in range(parts)]
    in_rows = [tensor.dim() > 0 and len(tensor) == rows for tensor in tensors_in(tree)]
    if (
        isinstance(tree, list | tuple)
        and len(tree) == rows
        and not any(isinstance(one, Tensor) and rows_of(one) == rows for one in tree)
    ):
        size = len(torch.arange(rows).chunk(parts)[0])
        return [type(tree)(tree[i * size : (i + 1) * size]) for i in range(parts)]
    if isinstance(tree, list | tuple) and not _moves_itself(tree):
        columns = [cut(value, rows, parts) for value in tree]
        kind = type(tree)
        make = getattr(kind, "_make", kind)  # a named tuple takes its parts one by one
        return [make(column[i] for column in columns) for i in range(parts)]
    if not in_rows or isinstance(tree, nn.Module):
        return [tree] * parts
    if not all(in_rows) or not hasattr(tree, "__dict__"):
        raise ValueError(f"the tensors of a {type(tree).__name__} do not each have a row for each of {rows} samples")
    held_parts = {name: cut(value, rows, parts) for name, value in vars(tree).items()}
    return [_holding(tree, {name: found[i] for name, found in held_parts.items()}) for i in range(parts)]


class BadBatch(BadSpec):
    """A batch that the task's model cannot take. The text names the user's own file and line."""


class Called(nn.Module):
    """A model that is called with a batch's inputs: by keyword, by position, or by the task's ``call``.

    The inner model has the name that torch.compile gives its own, and attributes are found in it as they are there.
    """

    def __init__(self, model: nn.Module, call: Callable[[nn.Module, Any, Any], Any] | None) -> None:
        super().__init__()
        self._orig_mod, self._call = model, call
        self.training = model.training
        self.targets: Any = None  # of the batch of the running step, for `call`

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("_orig_mod"), name)

    def forward(self, *arguments: Any, **options: Any) -> Any:
        """The model's predictions for one argument, the inputs; any other call is passed on unchanged."""
        if len(arguments) != 1 or options:
            return self._orig_mod(*arguments, **options)
        return predict(self._orig_mod, arguments[0], self.targets, self._call)


def predict(model: Callable[..., Any], inputs: Any, targets: Any = None, call: Callable[..., Any] | None = None) -> Any:
    """The predictions of ``model``: by ``call``, else a mapping by keyword, a tuple or list by position.

    Raises BadBatch where the model or ``call`` does not take these arguments.
    """
    arguments: tuple[Any, ...] = (inputs,)
    options: Mapping[str, Any] = {}
    if call is not None:
        arguments = model, inputs, targets
    elif isinstance(inputs, Mapping):
        arguments, options = (), inputs
    elif isinstance(inputs, tuple | list) and not _moves_itself(inputs):
        arguments = tuple(inputs)
    try:
        return (call or model)(*arguments, **options)
    except TypeError as error:
        taker: Any = call or getattr(getattr(model, "_orig_mod", model), "forward", model)
        refusal = _refused(taker, arguments, {str(key): value for key, value in options.items()})
        if refusal is None:
            raise  # the model takes the arguments, and fails inside
        raise BadBatch(f"{defined_at(taker)}: {refusal}; give the task a `call` that takes them") from error


def _refused(function: Callable[..., Any], arguments: tuple[Any, ...], options: dict[str, Any]) -> str | None:
    try:
        inspect.signature(function).bind(*arguments, **options)
    except TypeError as error:
        what = f"a batch with the keys {', '.join(options)}" if options else f"{len(arguments)} arguments"
        return f"{getattr(function, '__name__', 'the model')} does not take {what}: {error}"
    except ValueError:  # it does not show its parameters
        return None
    return None


def loss_in(predictions: Any, _: Any = None, *, place: str = "") -> Tensor:
    """The loss () that a model computed: its output, the output's ``loss``, or the one scalar tensor in a tuple.

    Raises BadBatch, with the ``place`` where the model is defined, for an output without exactly one.
    """
    if isinstance(predictions, Tensor) and predictions.numel() == 1:
        return predictions.reshape(())
    held = predictions.get("loss") if isinstance(predictions, Mapping) else getattr(predictions, "loss", None)
    if isinstance(held, Tensor):
        return loss_in(held, place=place)
    if isinstance(predictions, tuple | list):
        scalars = [one for one in predictions if isinstance(one, Tensor) and one.dim() == 0]
        if len(scalars) == 1:
            return scalars[0]
    tensor = f"a tensor of shape {tuple(predictions.shape)}" if isinstance(predictions, Tensor) else None
    held = f"the model's output holds no loss: it is {tensor or _described(predictions)}"
    raise BadBatch(
        f"{place and f'{place}: '}loss_fn is None, and {held}; "
        "return a scalar, an output with a `loss`, or a tuple with one scalar tensor, or give the task a loss_fn"
    )


def _moves_itself(part: Any) -> bool:
    return not isinstance(part, Tensor | nn.Module | type) and callable(getattr(part, "to", None))


def _holds_tensors(part: Any) -> bool:
    return hasattr(part, "__dict__") and not isinstance(part, nn.Module) and next(tensors_in(part), None) is not None


def _holding(part: Any, held: dict[str, Any]) -> Any:
    """A copy of the object ``part`` with the attributes ``held``."""
    found = copy.copy(part)
    vars(found).update(held)  # a frozen dataclass forbids the ordinary way
    return found


def _replaced(mapping: Mapping[Any, Any], values: dict[Any, Any]) -> Any:
    """A copy of ``mapping`` with ``values``; a plain dict where its type cannot be copied so."""
    try:
        found = copy.copy(mapping)
        for key, value in values.items():
            found[key] = value  # type: ignore[index]
    except TypeError:
        return values
    return found
