"""Run folders, wherever they lie under a folder."""

import glob
import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from loopmark.bench.errors import BadInput
from loopmark.bench.records.store import RUN_FILE
from loopmark.bench.records.tables import line


def run_folders(root: Path, warn: Callable[[str], None]) -> list[Path]:
    """Every folder at or under ``root`` that holds a ``run.json``, in the order of their paths.

    Nothing is looked for within a run, and links to folders are not followed: they could lead in a circle.

    Raises:
        BadInput: ``root`` is no folder, or holds no run.
    """
    if not root.is_dir():
        raise BadInput(f"{root} is not a folder; give one that holds runs, such as results")
    found = []
    for folder, inside, files in os.walk(root, onerror=lambda error: warn(f"cannot look into {error.filename}")):
        if RUN_FILE in files:
            found.append(Path(folder))
            inside.clear()
    if not found:
        raise BadInput(f"{root} holds no run; give a folder that `loopmark run` wrote to, such as results")
    return sorted(found)


def runs_at(places: Iterable[str]) -> list[Path]:
    """Run folders at every one of ``places``: folders that are or hold runs, and globs for them; each run once.

    Raises:
        BadInput: there is no run at any of them; a place without one among others is a warning.
    """
    found: dict[Path, Path] = {}
    empty: list[BadInput] = []
    for place in places:
        for folder in _folders(place, empty):
            found.setdefault(folder.resolve(), folder)
    if not found:
        nowhere = "nowhere to look for runs was given; give a folder that holds some, such as results"
        raise empty[0] if empty else BadInput(nowhere)
    for mistake in empty:
        warnings.warn(f"left out: {mistake}", UserWarning, stacklevel=3)
    return list(found.values())


def _folders(place: str, empty: list[BadInput]) -> Iterator[Path]:
    """Run folders at one place; what has none is added to ``empty``."""
    try:
        paths = _matches(place)
    except (OSError, ValueError, RuntimeError) as error:  # too long; a NUL in it; a ~ of nobody
        empty.append(BadInput(f"cannot look for runs in {line(place)}: {line(error)}"))
        return
    except BadInput as error:
        empty.append(error)
        return
    for path in paths:
        try:
            yield from run_folders(path, warnings.warn)
        except BadInput as error:
            empty.append(error)


def _matches(place: str) -> list[Path]:
    if not place:
        raise BadInput("'' is no folder; give one that holds runs, such as results")
    path = Path(place).expanduser()
    if path.exists() or not glob.has_magic(place):
        return [path]
    # Of files, a run's own one stands for its folder.
    matches = [Path(match) for match in sorted(glob.glob(os.fspath(path), recursive=True))]  # noqa: PTH207 - absolute too
    folders = [match.parent if match.name == RUN_FILE else match for match in matches]
    if not (folders := [folder for folder in folders if folder.is_dir()]):
        raise BadInput(f"no folder matches {place}; give one that holds runs, such as results")
    return folders
