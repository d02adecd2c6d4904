"""What a run keeps: frozen records, raw samples, and the folder that holds them. No torch, no judging.

For notebooks: ``from bench.records import load``.
"""

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.records.frames import Frames


def load(where: "str | os.PathLike[str] | Iterable[str | os.PathLike[str]]") -> "Frames":
    """The runs at ``where``, as tidy pandas frames that are read when they are asked for.

    Args:
        where: a run's folder, a folder that holds runs at any depth, a glob such as ``results/*/2026*`` (``**`` for any
            depth), or several of these.

    Returns:
        ``runs``, ``cases``, ``launches``, ``blocks``, ``phases``, ``warmup`` and ``losses``; see
        ``bench.records.frames.Frames``.

    Raises:
        BadInput: nothing is there, or no run of it can be read. One that cannot be read among others is a
            ``UserWarning`` that names it, and the rest are loaded.
    """
    from bench.records.frames import Frames  # here, so that the commands start without pandas
    from bench.records.search import runs_at

    return Frames.of(runs_at([where] if isinstance(where, str | os.PathLike) else list(where)))
