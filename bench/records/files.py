"""Files that are whole or not there at all, and records kept in them as JSON."""

import json
import os
from pathlib import Path
from typing import Any, TypeVar

from loopmark.bench.errors import BadInput
from loopmark.bench.records.codec import Mismatch, decode, encode
from loopmark.bench.records.tables import AGAIN, damaged, line, no_pipe

T = TypeVar("T")


def replace_file(path: Path, content: bytes) -> None:
    """Write ``path`` in one move. A link in its place is replaced, not followed: the folder may be anyone's."""
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
    text = json.dumps(encode(record), indent=indent, allow_nan=False, ensure_ascii=False) + "\n"
    return text.encode(errors="backslashreplace")


def read_json(
    path: Path, kind: type[T], version: str, newest: int, *, again: str = AGAIN, unreadable: str | None = None
) -> T | None:
    """The record of type ``kind`` that ``path`` holds, which is named by what it is; None where there is no such file.

    Args:
        version: the field that says in which format it was written.
        newest: the format that this Loopmark writes.
        again: what to do about a damaged file.
        unreadable: what to do about one that cannot be read, where that is something else.

    Raises:
        BadInput: it is damaged, too new, or none of Loopmark's.
    """
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
