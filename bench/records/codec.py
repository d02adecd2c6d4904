"""Frozen dataclasses to JSON and back, by their own type hints, with errors that name the place."""

import dataclasses
import sys
import types
import typing
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

from loopmark.bench.records.limits import span_of

T = TypeVar("T")


class Mismatch(ValueError):  # noqa: N818 - it names what is wrong, as KeyError does not
    """A value that is not of the type its record declares; the text names the path to it."""


def encode(record: Any) -> Any:
    """Plain JSON values of a dataclass: objects, arrays, numbers, strings."""
    return dataclasses.asdict(record)


def decode(kind: type[T], value: Any, path: str = "run") -> T:
    """The record of type ``kind`` that ``encode`` made ``value`` from.

    Keys that ``kind`` does not know are passed over; a missing one takes its default or raises ``Mismatch``, as does a
    number that is not what its name's unit can be.
    """
    try:
        return typing.cast(T, _reader(typing.cast(Any, kind))(value))
    except _Wrong as wrong:
        raise Mismatch(f"{path}{wrong}") from None


Span = tuple[float, float]
Reader = Callable[[Any], Any]
"""What makes a value of one type out of JSON's. Raises _Wrong."""


class _Wrong(ValueError):  # noqa: N818 - it says what is wrong
    """What is wrong with a value, and where within it. The place is put together only now, on the way out."""

    def within(self, place: str) -> "_Wrong":
        """The same, seen from the value that has it at ``place``."""
        return _Wrong(f"{place}{self}")


@cache  # a history reads hundreds of runs of thousands of values each
def _reader(kind: Any, span: Span | None = None) -> Reader:
    if dataclasses.is_dataclass(kind):
        return _record(kind)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        inner = _reader(next(a for a in arguments if a is not type(None)), span)
        return (lambda value: None if value is None else inner(value)) if type(None) in arguments else inner
    if origin is tuple:
        return _tuple(_reader(arguments[0], span))
    if origin is dict:
        return _dict(_reader(arguments[1], span))
    if origin is typing.Literal:
        return _literal(arguments)
    if kind is float:
        return _number if span is None else _between(*span)
    return _whole if kind is int else _exactly(kind)


def _record(kind: Any) -> Reader:
    fields: list[tuple[str, Reader, bool]] = []

    def read(value: Any) -> Any:
        if not fields:  # only now, since a record may hold others of its kind
            hints = typing.get_type_hints(kind)
            known = [(field.name, hints[field.name], _is_needed(field)) for field in dataclasses.fields(kind)]
            fields.extend((name, _reader(hint, span_of(name)), needed) for name, hint, needed in known)
        if not isinstance(value, dict):
            raise _not("an object", value)
        given = {}
        for name, reader, needed in fields:
            if name in value:
                try:
                    given[name] = reader(value[name])
                except _Wrong as wrong:
                    raise wrong.within(f".{name}") from None
            elif needed:
                raise _Wrong(f".{name} is missing")
        return kind(**given)

    return read


def _is_needed(field: "dataclasses.Field[Any]") -> bool:
    return field.default is dataclasses.MISSING


def _tuple(reader: Reader) -> Reader:
    def read(value: Any) -> Any:
        if not isinstance(value, list | tuple):
            raise _not("a list", value)
        items: list[Any] = []
        try:
            for item in value:
                items.append(reader(item))  # noqa: PERF401 - its length is the place of what is wrong
        except _Wrong as wrong:
            raise wrong.within(f"[{len(items)}]") from None
        return tuple(items)

    return read


def _dict(reader: Reader) -> Reader:
    def read(value: Any) -> Any:
        if not isinstance(value, dict):
            raise _not("an object", value)
        items = {}
        for key, item in value.items():
            try:
                items[str(key)] = reader(item)
            except _Wrong as wrong:
                raise wrong.within(f".{key}") from None
        return items

    return read


def _literal(values: tuple[Any, ...]) -> Reader:
    def read(value: Any) -> Any:
        if value not in values:
            raise _not(f"one of {', '.join(map(repr, values))}", value)
        return value

    return read


def _number(value: Any) -> float:
    # Python's JSON reads NaN, 1e999 and integers beyond any float; none of them was ever measured.
    if type(value) not in (int, float) or not abs(value) <= sys.float_info.max:
        raise _not("a finite number", value)
    return float(value)


def _between(least: float, most: float) -> Reader:
    def read(value: Any) -> float:
        number = _number(value)
        if not least <= number <= most:
            raise _not(f"between {least:g} and {most:g}", value)
        return number

    return read


def _whole(value: Any) -> int:
    number: int = _exactly(int)(value)
    if abs(number) >= 2**63:
        raise _not("a whole number of 64 bits", value)
    return number


@cache
def _exactly(kind: type) -> Reader:
    def read(value: Any) -> Any:
        if type(value) is not kind:
            raise _not(f"a {kind.__name__}", value)
        return value

    return read


def _not(expected: str, value: Any) -> _Wrong:
    shown = repr(value)
    return _Wrong(f" should be {expected}, not {shown[:60]}{'…' if len(shown) > 60 else ''}")
