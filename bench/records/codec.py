"""Frozen dataclasses to JSON and back, by their own type hints, with errors that name the place."""

import dataclasses
import sys
import types
import typing
from functools import cache
from typing import Any, TypeVar

T = TypeVar("T")


class Mismatch(ValueError):  # noqa: N818 - it names what is wrong, as KeyError does not
    """A value that is not of the type its record declares; the text names the path to it."""


def encode(record: Any) -> Any:
    """Plain JSON values of a dataclass: objects, arrays, numbers, strings."""
    return dataclasses.asdict(record)


def decode(kind: type[T], value: Any, path: str = "run") -> T:
    """The record of type ``kind`` that ``encode`` made ``value`` from.

    Keys that ``kind`` does not know are passed over; a missing one takes its default or raises ``Mismatch``.
    """
    return typing.cast(T, _decode(kind, value, path))


def _decode(kind: Any, value: Any, path: str) -> Any:
    if dataclasses.is_dataclass(kind):
        return _record(kind, value, path)
    origin, arguments = _parts(kind)
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in arguments:
            return None
        return _decode(next(a for a in arguments if a is not type(None)), value, path)
    if origin is tuple:
        _expect(isinstance(value, list | tuple), "a list", value, path)
        return tuple(_decode(arguments[0], item, f"{path}[{i}]") for i, item in enumerate(value))
    if origin is dict:
        _expect(isinstance(value, dict), "an object", value, path)
        return {str(key): _decode(arguments[1], item, f"{path}.{key}") for key, item in value.items()}
    if origin is typing.Literal:
        _expect(value in arguments, f"one of {', '.join(map(repr, arguments))}", value, path)
        return value
    if kind is float:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        # Python's JSON reads NaN, 1e999 and integers beyond any float; none of them was ever measured.
        _expect(number and abs(value) <= sys.float_info.max, "a finite number", value, path)
        return float(value)
    _expect(type(value) is kind, f"a {kind.__name__}", value, path)
    _expect(kind is not int or abs(value) < 2**63, "a whole number of 64 bits", value, path)
    return value


def _record(kind: Any, value: Any, path: str) -> Any:
    _expect(isinstance(value, dict), "an object", value, path)
    given = {}
    for name, hint, needed in _fields(kind):
        if name in value:
            given[name] = _decode(hint, value[name], f"{path}.{name}")
        elif needed:
            raise Mismatch(f"{path}.{name} is missing")
    return kind(**given)


@cache  # a history reads hundreds of runs of thousands of values each
def _parts(kind: Any) -> tuple[Any, tuple[Any, ...]]:
    return typing.get_origin(kind), typing.get_args(kind)


@cache
def _fields(kind: Any) -> tuple[tuple[str, Any, bool], ...]:
    """Of a record: the name and type of each field, and whether it has to be given."""
    hints = typing.get_type_hints(kind)
    fields = dataclasses.fields(kind)
    return tuple((field.name, hints[field.name], field.default is dataclasses.MISSING) for field in fields)


def _expect(true: bool, expected: str, value: Any, path: str) -> None:
    if not true:
        shown = repr(value)
        raise Mismatch(f"{path} should be {expected}, not {shown[:60]}{'…' if len(shown) > 60 else ''}")
