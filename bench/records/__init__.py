"""What a run keeps: frozen records, raw samples, and the folder that holds them. No torch, no judging."""

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from loopmark.bench.records.frames import Frames

PYTEST_BENCHMARK_KEY = "loopmark"  # the key of Loopmark's own facts in pytest-benchmark's files, see ``MachineInfo``


def load(where: "str | os.PathLike[str] | Iterable[str | os.PathLike[str]]") -> "Frames":
    """The runs at ``where``, as the tidy pandas ``Frames`` of ``bench/records/frames.py``, read when asked for.

    Args:
        where: a run's folder, a folder that holds runs at any depth, a glob such as ``results/*/2026*`` (``**`` for any
            depth), or several of these.

    Raises:
        TypeError: ``where`` is no path and no iterable of paths. Bytes are none.
        loopmark.bench.errors.BadInput: no run can be read. One among others is a ``UserWarning`` that names it.
    """
    from loopmark.bench.records.frames import Frames  # here, so that the commands start without pandas
    from loopmark.bench.records.store import runs_at

    alone = isinstance(where, str | bytes | os.PathLike) or not isinstance(where, Iterable)
    places: Any = [where] if alone else where
    paths = [os.fspath(place) if isinstance(place, os.PathLike) else place for place in places]
    if wrong := next((type(path).__name__ for path in paths if not isinstance(path, str)), None):
        raise TypeError(f"load takes a folder or a glob, or several, each a str or os.PathLike and not {wrong}")
    return Frames.of(runs_at(paths))
