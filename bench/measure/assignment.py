"""A worker's assignment. The process that starts the worker creates it, so nothing here imports ``loops``."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from loopmark.loops.workload import Size


class _Sent:
    """A record pickled with its paths as text: one Python version may fail to read another's pickled paths."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _made, (type(self), {n: str(v) if isinstance(v, Path) else v for n, v in vars(self).items()})


_PATHS = {"root", "folder", "instead_of", "compile_cache", "log"}


def _made(kind: Any, given: dict[str, Any]) -> Any:
    return kind(**{n: Path(v) if n in _PATHS and v is not None else v for n, v in given.items()})


@dataclass(frozen=True)
class Tree(_Sent):
    """The source tree that a worker measures."""

    root: Path  # the top folder: a git worktree, or the command's working directory
    folder: Path  # the folder within it that relative paths start from
    instead_of: Path | None = None
    """The top folder of the checkout that the worktree replaces: its code must not be measured by mistake."""


@dataclass(frozen=True)
class Assignment(_Sent):
    """The case that a worker runs, and the place where it runs."""

    workload: str
    loop: str
    device: str
    size: "Size"
    batch_size: int | None
    seed: int
    threads: int
    cores: tuple[int, ...]
    compile_cache: Path
    """The case's folder for compiled code. It is empty at the first launch, which compiles everything."""
    neighbours: int  # number of other loops resident when this one starts
    log: Path  # receives the output of the process
    tree: Tree | None = None  # source of ``loops`` and of the user's code; None for Loopmark's own location
    slowdown: float = 0.0
    """The share of each step's time added on purpose, 0.01 for 1 %, for `calibrate` to detect."""
    baseline: str = "eager"  # the loop that the training is compared with
