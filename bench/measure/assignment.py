"""A worker's assignment, made by the process that starts it, so nothing here imports ``loops``."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from loopmark.loops.workload import Size


class _Sent:
    """A record that is pickled with its paths as text: not every Python can read the path that another has pickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _made, (type(self), {n: str(v) if isinstance(v, Path) else v for n, v in vars(self).items()})


_PATHS = {"root", "folder", "instead_of", "compile_cache", "log"}


def _made(kind: Any, given: dict[str, Any]) -> Any:
    return kind(**{n: Path(v) if n in _PATHS and v is not None else v for n, v in given.items()})


@dataclass(frozen=True)
class Tree(_Sent):
    """The source code that a worker measures."""

    root: Path  # its top folder: a git worktree, or the folder where the command was called
    folder: Path  # the folder within it that relative paths are seen from
    instead_of: Path | None = None
    """The top folder of the checkout whose place a worktree takes: nothing of it may be measured by mistake."""


@dataclass(frozen=True)
class Assignment(_Sent):
    """The case that a worker runs, and where."""

    workload: str
    loop: str
    device: str
    size: "Size"
    batch_size: int | None
    seed: int
    threads: int
    cores: tuple[int, ...]
    compile_cache: Path
    """The case's own folder for compiled code: empty at its first launch, so that launch compiles from nothing."""
    neighbours: int  # how many other loops are resident when this one starts
    log: Path  # where whatever the process prints goes
    tree: Tree | None = None  # where ``loops`` and a person's own code come from; None for where Loopmark itself does
    slowdown: float = 0.0
    """The share by which every step is held up on purpose, 0.01 for 1 %: what `calibrate` is to find."""
