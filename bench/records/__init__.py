"""What a run keeps: frozen records, raw samples, and the folder that holds them. No torch, no judging.

For notebooks: ``from loopmark import load``.
"""

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from loopmark.bench.records.frames import Frames


def load(where: "str | os.PathLike[str] | Iterable[str | os.PathLike[str]]") -> "Frames":
    """The runs at ``where``, as tidy pandas frames that are read when they are asked for.

    Args:
        where: a run's folder, a folder that holds runs at any depth, a glob such as ``results/*/2026*`` (``**`` for any
            depth), or several of these.

    Returns:
        ``runs``, ``warnings``, ``cases``, ``launches``, ``blocks``, ``phases``, ``warmup`` and ``losses``; see
        ``loopmark.bench.records.frames.Frames``.

    Raises:
        TypeError: ``where`` is no path and no iterable of paths. Bytes are none.
        loopmark.bench.errors.BadInput: nothing is there, or no run of it can be read. One that cannot be read among
            others is a ``UserWarning`` that names it, and the rest are loaded.
    """
    from loopmark.bench.records.frames import Frames  # here, so that the commands start without pandas
    from loopmark.bench.records.store import runs_at

    return Frames.of(runs_at(_paths(where)))


def _paths(where: object) -> list[str]:
    """One path or several, as text. Raises TypeError for anything else."""
    alone = isinstance(where, str | bytes | os.PathLike) or not isinstance(where, Iterable)
    paths = []
    for place in [where] if alone else cast(Iterable[object], where):
        path = os.fspath(place) if isinstance(place, os.PathLike) else place
        if not isinstance(path, str):
            kind = type(path).__name__
            raise TypeError(f"load takes a folder or a glob, or several, each a str or os.PathLike and not {kind}")
        paths.append(path)
    return paths
