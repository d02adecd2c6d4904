"""A git revision's files in a folder of their own, there for as long as they are needed."""

import contextlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from loopmark.bench.errors import BadInput
from loopmark.bench.measure.assignment import Tree

GIT_SECONDS = 300


@dataclass(frozen=True)
class Worktree:
    """The files of one commit."""

    tree: Tree
    commit: str
    """Twelve hexadecimal digits."""


def working_tree() -> Tree:
    """The files as they lie where the command was called."""
    folder = Path.cwd()
    return Tree(_top(folder) or folder, folder)


def resolve(revision: str, flag: str, *, clean: bool = True) -> str:
    """The full id of the commit that ``revision`` names.

    Args:
        clean: whether changes to the files of the working tree matter: no side measures the files as they lie.

    Raises:
        BadInput: there is no repository here, no such revision, or it is what is checked out while the files of the
            working tree have changes, which nobody would measure.
    """
    folder = Path.cwd()
    if _top(folder) is None:
        raise BadInput(f"{flag} rev={revision}: {folder} is in no git repository; call from within one")
    found = _git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    if found.returncode:
        raise BadInput(f"{flag} rev={revision}: no such revision here; see: git log, git branch --all")
    commit = found.stdout.strip()
    if clean and commit == _git("rev-parse", "HEAD").stdout.strip():
        changed = _git("status", "--porcelain", "--untracked-files=no").stdout.splitlines()
        if changed:
            raise BadInput(
                f"{flag} rev={revision} is what is checked out, but {len(changed)} file(s) have changes that it does "
                f"not hold ({changed[0][3:]}); commit them, or leave rev out of {flag} to measure the files as they lie"
            )
    return commit


@contextmanager
def worktree(commit: str) -> Iterator[Worktree]:
    """The files of ``commit`` in a worktree of their own, removed at the end whatever happens."""
    top = _top(Path.cwd())
    assert top is not None
    within = Path.cwd().relative_to(top)
    parent = Path(tempfile.mkdtemp(prefix="loopmark-tree-"))
    root = parent / "tree"
    try:
        added = _git("worktree", "add", "--detach", "--quiet", str(root), commit)
        if added.returncode:
            raise BadInput(f"git could not check out {commit[:12]}: {' '.join(added.stderr.split())[:200]}")
        folder = root / within
        yield Worktree(Tree(root, folder if folder.is_dir() else root, top), commit[:12])
    finally:
        # Ctrl-C here once more skips one step, and not those after it: what git leaves, we remove.
        try:
            with contextlib.suppress(OSError, BadInput):
                _git("worktree", "remove", "--force", "--force", str(root), folder=top)
        finally:
            try:
                shutil.rmtree(parent, ignore_errors=True)
            finally:
                with contextlib.suppress(OSError, BadInput):
                    _git("worktree", "prune", folder=top)


def _top(folder: Path) -> Path | None:
    try:
        found = _git("rev-parse", "--show-toplevel", folder=folder)
    except OSError:
        return None
    return Path(found.stdout.strip()) if found.returncode == 0 else None


def _git(*arguments: str, folder: Path | None = None) -> "subprocess.CompletedProcess[str]":
    command = ["git", *(["-C", str(folder)] if folder else []), *arguments]
    # A session of its own: Ctrl-C in the terminal is ours, and git finishes what it does.
    try:
        return subprocess.run(
            command, capture_output=True, text=True, timeout=GIT_SECONDS, check=False, start_new_session=True
        )
    except subprocess.TimeoutExpired:
        raise BadInput(f"git {arguments[0]} took longer than {GIT_SECONDS} s and was ended") from None
