"""Run folders, wherever they lie under a folder."""

import os
from collections.abc import Callable
from pathlib import Path

from bench.errors import BadInput
from bench.records.store import RUN_FILE


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
