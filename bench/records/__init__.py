"""The stored data of a run: frozen records, raw samples, and their folder. No torch, no judging."""

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from loopmark.bench.records.frames import Frames

PYTEST_BENCHMARK_KEY = "loopmark"  # the key of Loopmark's own facts in pytest-benchmark's files, see ``MachineInfo``


def load(where: "str | os.PathLike[str] | Iterable[str | os.PathLike[str]]") -> "Frames":
    """The runs at ``where`` as the tidy pandas ``Frames`` of ``bench/records/frames.py``, each read on first access.

    Args:
        where: a run's folder, a folder that holds runs at any depth, a glob such as ``results/*/2026*`` (``**`` for any
            depth), or several of these.

    Raises:
        TypeError: ``where`` is neither a path nor an iterable of paths. Bytes are no path.
        loopmark.bench.errors.BadInput: no run can be read. One unreadable run among others gives a ``UserWarning``.
    """
    from loopmark.bench.records.frames import Frames  # here, so that the commands start without pandas
    from loopmark.bench.records.store import runs_at

    alone = isinstance(where, str | bytes | os.PathLike) or not isinstance(where, Iterable)
    places: Any = [where] if alone else where
    paths = [os.fspath(place) if isinstance(place, os.PathLike) else place for place in places]
    if wrong := next((type(path).__name__ for path in paths if not isinstance(path, str)), None):
        raise TypeError(f"load takes a folder or a glob, or several, each a str or os.PathLike and not {wrong}")
    return Frames.of(runs_at(paths))
