"""Files that are whole or not there at all, and records in them: frozen dataclasses as JSON, read by their type hints.

Every error names the file, the place in it, and what to do.
"""

import contextlib
import dataclasses
import json
import os
import sys
import types
import typing
from collections.abc import Callable, Iterable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any, TypeVar

from loopmark.bench.errors import BadInput

T = TypeVar("T")

AGAIN = "copy the folder again or repeat the run"
LONGEST_SECONDS = 1e9  # Thirty years. A sum or a square of something longer may be no float
LEAST_SECONDS = 1e-12  # the shortest block, a thousandth of a clock's tick; shorter ones' ratios may be no float
MOST_COUNTED = 2**53  # the largest count or index: a float tells all integers up to it apart
_MOST = {"seconds": LONGEST_SECONDS, "hertz": 1e12, "joules": 1e15}


def span_of(name: str) -> tuple[float, float] | None:
    """The least and the most that a field or column can hold, by the unit in its name; None without one of these.

    ``joules_per_step`` are joules. ``excess_seconds``, a difference of noisy times, may be below 0.
    """
    most = _MOST.get(name.partition("_per_")[0].rpartition("_")[2])
    return None if most is None else (-most if name == "excess_seconds" else 0, most)


def line(error: BaseException | str) -> str:
    """The text of ``error`` as one line of at most 160 characters that may go on."""
    return " ".join(str(error).split())[:160].rstrip(".")


def damaged(path: Path, error: BaseException | str, again: str = AGAIN) -> BadInput:
    """The error for a file whose content cannot be."""
    return BadInput(f"{path} is damaged: {line(error)}; {again}")


def no_pipe(path: Path) -> Path:
    """``path``, to be opened. Raises OSError for a pipe or a device, which might be waited for without end."""
    if path.exists() and not (path.is_file() or path.is_dir()):  # of a folder, opening it says so
        raise OSError("it is a pipe or a device, and no file")
    return path


@contextlib.contextmanager
def writing_to(place: Path, remedy: str = "choose another --out") -> Iterator[None]:
    """Raise BadInput, with what to do, where ``place`` cannot be written to."""
    try:
        yield
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise BadInput(f"cannot write to {place}: {line(error)}; {remedy}") from None


def replace_file(path: Path, content: bytes | str) -> None:
    """Write ``path`` in one move. A link in its place is replaced, not followed: the folder may be anyone's.

    A lone surrogate in a text, which is how Python holds a name that is not UTF-8, is kept as its escape.
    """
    if isinstance(content, str):
        content = content.encode(errors="backslashreplace")
    partial = path.with_name(path.name + ".partial")
    partial.unlink(missing_ok=True)
    try:
        with partial.open("xb") as file:
            file.write(content)
        os.replace(partial, path)  # noqa: PTH105 - Path.replace is the same call; this one says what it is
    except BaseException:  # a full disk, Ctrl-C: nothing half-written stays
        partial.unlink(missing_ok=True)
        raise


def as_json(record: Any, indent: int | None = 2) -> bytes:
    """A record's file. A lone surrogate, which is how Python holds text that is not UTF-8, becomes its JSON escape."""
    text = json.dumps(dataclasses.asdict(record), indent=indent, allow_nan=False, ensure_ascii=False) + "\n"
    return text.encode(errors="backslashreplace")


def write_record(path: Path, record: Any, indent: int | None = 2) -> None:
    """Keep ``record`` in ``path``, whose folder is made where there is none. Raises BadInput where it cannot be."""
    content = as_json(record, indent)
    with writing_to(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, content)


def read_record(path: Path, kind: type[T], *, again: str = AGAIN, unreadable: str | None = None) -> T | None:
    """The record of type ``kind`` in ``path``, which is named by what it is; None where there is no such file.

    Raises BadInput where it is damaged (``again`` says what to do then), cannot be read (``unreadable``, if that is
    something else), is too new, or none of Loopmark's.
    """
    format_field = next(f for f in dataclasses.fields(typing.cast(Any, kind)) if f.name.endswith("_version"))
    version, newest = format_field.name, typing.cast(int, format_field.default)  # that of today
    try:
        content = json.loads(no_pipe(path).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, RecursionError) as error:
        is_damaged = isinstance(error, json.JSONDecodeError | UnicodeDecodeError | RecursionError)
        advice = again if is_damaged else unreadable or again
        raise BadInput(f"cannot read {path}: {line(error)}; {advice}") from None
    found = content.get(version) if isinstance(content, dict) else None
    if type(found) is not int or found < 1:
        raise BadInput(f"{path} is not Loopmark's: it has no {version}")
    if found > newest:
        raise BadInput(f"{path} was written in format {found}; this Loopmark reads up to {newest}: upgrade it")
    try:
        return decode(kind, content, path.stem.partition("-")[0])
    except Mismatch as error:
        raise damaged(path, error, again) from None


class Mismatch(ValueError):  # noqa: N818 - it names what is wrong, as KeyError does not
    """A value that is not of the type its record declares; the text names the path to it."""

    def within(self, place: str) -> "Mismatch":
        """The same, seen from the value that has it at ``place``."""
        return Mismatch(f"{place}{self}")


def decode(kind: type[T], value: Any, path: str = "run") -> T:
    """The record encoded as ``value``; unknown keys are ignored. Raises Mismatch for a value that cannot be."""
    try:
        return typing.cast(T, _reader(typing.cast(Any, kind))(value))
    except Mismatch as wrong:
        raise wrong.within(path) from None


Reader = Callable[[Any], Any]  # makes a value of one type out of JSON's. Raises Mismatch


@cache  # a history reads hundreds of runs of thousands of values each
def _reader(kind: Any, span: tuple[float, float] | None = None) -> Reader:
    if dataclasses.is_dataclass(kind):
        return _record(kind)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        inner = _reader(next(a for a in arguments if a is not type(None)), span)
        return (lambda value: None if value is None else inner(value)) if type(None) in arguments else inner
    if origin is tuple:
        return partial(_tuple, _reader(arguments[0], span))
    if origin is dict:
        return partial(_dict, _reader(arguments[1], span))
    if origin is typing.Literal:
        return partial(_literal, arguments)
    return partial(_number, span) if kind is float else partial(_exactly, kind)


def _record(kind: Any) -> Reader:
    hints = typing.get_type_hints(kind)
    needed_fields = {field.name: field.default is dataclasses.MISSING for field in dataclasses.fields(kind)}
    readers = [(name, _reader(hints[name], span_of(name)), needed) for name, needed in needed_fields.items()]

    def read(value: Any) -> Any:
        if not isinstance(value, dict):
            raise _not("an object", value)
        given = {}
        for name, reader, needed in readers:
            if name in value:
                try:
                    given[name] = reader(value[name])
                except Mismatch as wrong:
                    raise wrong.within(f".{name}") from None
            elif needed:
                raise Mismatch(f".{name} is missing")
        return kind(**given)

    return read


def _each(items: Iterable[tuple[Any, Any]], reader: Reader, place: str) -> Iterator[tuple[Any, Any]]:
    """Every key with what ``reader`` makes of its value; ``place`` is how a key is written in an error."""
    for key, item in items:
        try:
            yield key, reader(item)
        except Mismatch as wrong:
            raise wrong.within(place.format(key)) from None


def _tuple(reader: Reader, value: Any) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise _not("a list", value)
    return tuple(item for _, item in _each(enumerate(value), reader, "[{}]"))


def _dict(reader: Reader, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _not("an object", value)
    return {str(key): item for key, item in _each(value.items(), reader, ".{}")}


def _literal(values: tuple[Any, ...], value: Any) -> Any:
    if value not in values:
        raise _not(f"one of {', '.join(map(repr, values))}", value)
    return value


def _number(span: tuple[float, float] | None, value: Any) -> float:
    # Python's JSON reads NaN, 1e999 and integers beyond any float; none of them was ever measured.
    if type(value) not in (int, float) or not abs(value) <= sys.float_info.max:
        raise _not("a finite number", value)
    if span is not None and not span[0] <= value <= span[1]:
        raise _not(f"between {span[0]:g} and {span[1]:g}", value)
    return float(value)


def _exactly(kind: type, value: Any) -> Any:
    if type(value) is not kind:
        raise _not(f"a {kind.__name__}", value)
    if isinstance(value, int) and abs(value) >= 2**63:
        raise _not("a whole number of 64 bits", value)
    return value


def _not(expected: str, value: Any) -> Mismatch:
    shown = repr(value)
    return Mismatch(f" should be {expected}, not {shown[:60]}{'…' if len(shown) > 60 else ''}")
