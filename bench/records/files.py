"""Files that are complete or absent, with records: frozen dataclasses as JSON, read by their type hints.

Every error names the file, the place in it, and what to do.
"""

import contextlib
import dataclasses
import json
import os
import sys
import types
import typing
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from typing import Any, TypeVar

from loopmark.bench.errors import BadInput

T = TypeVar("T")

AGAIN = "copy the folder again or repeat the run"
LONGEST_SECONDS = 1e9  # thirty years; sums or squares of larger values may exceed a float
LEAST_SECONDS = 1e-12  # the shortest block, a thousandth of a clock's tick; ratios of shorter ones may exceed a float
MOST_COUNTED = 2**53  # the largest count or index: a float represents all integers up to it
_MOST = {"seconds": LONGEST_SECONDS, "hertz": 1e12, "joules": 1e15}


def span_of(name: str) -> tuple[float, float] | None:
    """The valid range of a field or column, by the unit in its name; None for other names.

    ``joules_per_step`` are joules. ``excess_seconds``, a difference of noisy times, may be below 0.
    """
    most = _MOST.get(name.partition("_per_")[0].rpartition("_")[2])
    return None if most is None else (-most if name == "excess_seconds" else 0, most)


def line(error: BaseException | str) -> str:
    """The text of ``error`` as one line of at most 160 characters, without a full stop."""
    return " ".join(str(error).split())[:160].rstrip(".")


def in_utc(text: str) -> datetime | None:
    """The time in ``text`` (ISO 8601, in UTC if it has no zone), in UTC; None if it is invalid."""
    try:
        time = datetime.fromisoformat(text)
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError):  # such as the first day of the year 1 in an eastern time zone
        return None


def damaged(path: Path, error: BaseException | str, again: str = AGAIN) -> BadInput:
    """The error for a file with impossible content."""
    return BadInput(f"{path} is damaged: {line(error)}; {again}")


def no_pipe(path: Path) -> Path:
    """``path``, to be opened. Raises OSError for a pipe or a device, since reading it might never end."""
    if path.exists() and not (path.is_file() or path.is_dir()):  # opening a folder raises an error by itself
        raise OSError("it is a pipe or a device, not a file")
    return path


@contextlib.contextmanager
def writing_to(place: Path, remedy: str = "choose another --out") -> Iterator[None]:
    """Raise BadInput, with ``remedy``, if ``place`` cannot be written to."""
    try:
        yield
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise BadInput(f"cannot write to {place}: {line(reason)}; {remedy}") from None


def replace_file(path: Path, content: bytes | str) -> None:
    """Write ``path`` in one move. A link at ``path`` is replaced, not followed, since its target may be anything.

    A lone surrogate in a text, Python's form of a name that is not UTF-8, is written as its escape.
    """
    if isinstance(content, str):
        content = content.encode(errors="backslashreplace")
    partial = path.with_name(path.name + ".partial")
    partial.unlink(missing_ok=True)
    try:
        with partial.open("xb") as file:
            file.write(content)
        os.replace(partial, path)  # noqa: PTH105 - Path.replace is the same call under a less clear name
    except BaseException:  # a full disk, Ctrl-C: leave no half-written file
        partial.unlink(missing_ok=True)
        raise


def as_json(record: Any, indent: int | None = 2) -> bytes:
    """A record's file content. A lone surrogate, Python's form of text that is not UTF-8, becomes its JSON escape."""
    text = json.dumps(dataclasses.asdict(record), indent=indent, allow_nan=False, ensure_ascii=False) + "\n"
    return text.encode(errors="backslashreplace")


def write_record(path: Path, record: Any, indent: int | None = 2) -> None:
    """Write ``record`` to ``path``, and create its folder if needed. Raises BadInput if that fails."""
    content = as_json(record, indent)
    with writing_to(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, content)


def read_record(path: Path, kind: type[T], *, again: str = AGAIN, unreadable: str | None = None) -> T | None:
    """The record of type ``kind`` in ``path``, whose stem begins with the record's name; None if there is no file.

    Raises BadInput if it is damaged (with the remedy ``again``), cannot be read (with ``unreadable``, if given), is too
    new, or was not written by Loopmark.
    """
    format_field = next(f for f in dataclasses.fields(typing.cast(Any, kind)) if f.name.endswith("_version"))
    version, newest = format_field.name, typing.cast(int, format_field.default)  # the current version
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
        raise BadInput(f"{path} is not a file of Loopmark: it has no {version}")
    if found > newest:
        raise BadInput(f"{path} was written in format {found}; this Loopmark reads up to {newest}: upgrade it")
    try:
        return decode(kind, content, path.stem.partition("-")[0])
    except Mismatch as error:
        raise damaged(path, error, again) from None


class Mismatch(ValueError):  # noqa: N818 - its name describes the fault
    """A value that is not of the type in its record; the text names the path to it."""


def decode(kind: type[T], value: Any, path: str = "run") -> T:
    """The record encoded as ``value``; unknown keys are ignored. Raises Mismatch for an invalid value."""
    return typing.cast(T, _read(_reader(typing.cast(Any, kind)), value, "{}", path))


Reader = Callable[[Any], Any]  # converts a JSON value to one type. Raises Mismatch


@cache  # a history reads hundreds of runs with thousands of values each
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
    missing = dataclasses.MISSING
    needed_fields = {f.name: f.default is missing and f.default_factory is missing for f in dataclasses.fields(kind)}
    readers = [(name, _reader(hints[name], span_of(name)), needed) for name, needed in needed_fields.items()]

    def read(value: Any) -> Any:
        if not isinstance(value, dict):
            raise _not("an object", value)
        given = {}
        for name, reader, needed in readers:
            if name in value:
                given[name] = _read(reader, value[name], ".{}", name)
            elif needed:
                raise Mismatch(f".{name} is missing")
        return kind(**given)

    return read


def _read(reader: Reader, value: Any, place: str, key: object = None) -> Any:
    """``value`` converted by ``reader``. The path in an error begins with ``place``, the format of ``key``."""
    try:
        return reader(value)
    except Mismatch as wrong:
        raise Mismatch(f"{place.format(key)}{wrong}") from None


def _tuple(reader: Reader, value: Any) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise _not("a list", value)
    return tuple(_read(reader, item, "[{}]", index) for index, item in enumerate(value))


def _dict(reader: Reader, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _not("an object", value)
    return {str(key): _read(reader, item, ".{}", key) for key, item in value.items()}


def _literal(values: tuple[Any, ...], value: Any) -> Any:
    if value not in values:
        raise _not(f"one of {', '.join(map(repr, values))}", value)
    return value


def _number(span: tuple[float, float] | None, value: Any) -> float:
    # Python's JSON reads NaN, 1e999 and integers beyond any float, none of which is a measured value.
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
