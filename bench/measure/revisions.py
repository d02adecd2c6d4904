"""A revision of the repository: its commit, its files in a worktree, and the files that it lacks."""

import contextlib
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from loopmark.bench.errors import BadInput
from loopmark.bench.measure.assignment import Tree
from loopmark.loops.user_code import SPEC
from loopmark.loops.workloads.extras import EXTRAS

GIT_SECONDS = 300
HOOKED = re.compile("GIT_(DIR|WORK_TREE|INDEX_FILE|COMMON_DIR|OBJECT_DIRECTORY|ALTERNATE_OBJECT_DIRECTORIES|PREFIX)")


def working_tree() -> Tree:
    """The uncommitted files of the command's working directory."""
    folder = Path.cwd()
    return Tree(_top(folder) or folder, folder)


def resolve(revision: str, flag: str, *, clean: bool = True) -> str:
    """The full commit id of ``revision``. Raises BadInput outside a repository, or for an unknown revision.

    Args:
        clean: True to refuse the checked-out commit while the working tree has uncommitted changes: where both sides
            are revisions, neither side would measure the changes.
    """
    folder = Path.cwd()
    if _top(folder) is None:
        raise BadInput(f"{flag} rev={revision}: {folder} is not in a git work tree; run the command inside a clone")
    found = _git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    if found.returncode:
        raise BadInput(f"{flag} rev={revision}: no such revision here; list them with git log or git branch --all")
    commit = found.stdout.strip()
    if clean and commit == _git("rev-parse", "HEAD").stdout.strip():
        changed = _git("status", "--porcelain", "--untracked-files=no").stdout.splitlines()
        if changed:
            raise BadInput(
                f"{flag} rev={revision} is the checked-out commit, but {len(changed)} file(s) have uncommitted changes "
                f"({changed[0][3:]}); commit them, or leave rev out of {flag} to measure the uncommitted files"
            )
    return commit


@contextmanager
def worktree(commit: str) -> Iterator[Tree]:
    """The files of ``commit`` in a new worktree, which is always removed at the end."""
    top = _top(Path.cwd())
    assert top is not None
    within = Path.cwd().relative_to(top)
    with contextlib.ExitStack() as at_end:  # a second Ctrl-C skips one of its calls, and not the others
        at_end.callback(_tidy, top, "prune")
        made = tempfile.TemporaryDirectory(prefix="loopmark-tree-", ignore_cleanup_errors=True)  # git may leave files
        root = Path(at_end.enter_context(made)) / "tree"
        at_end.callback(_tidy, top, "remove", "--force", "--force", str(root))
        added = _git("worktree", "add", "--detach", "--quiet", str(root), commit)
        if added.returncode:
            raise BadInput(f"git could not check out {commit[:12]}: {' '.join(added.stderr.split())[:200]}")
        folder = root / within
        yield Tree(root, folder if folder.is_dir() else root, top)


def _tidy(top: Path, *arguments: str) -> None:
    with contextlib.suppress(OSError, BadInput):
        _git("worktree", *arguments, folder=top)


def _top(folder: Path) -> Path | None:
    try:
        found = _git("rev-parse", "--show-toplevel", folder=folder)
    except OSError:
        return None
    return Path(found.stdout.strip()) if found.returncode == 0 else None


def _git(*arguments: str, folder: Path | None = None) -> "subprocess.CompletedProcess[str]":
    command = ["git", *(["-C", str(folder)] if folder else []), *arguments]
    # A hook of git's own sets names such as GIT_INDEX_FILE, by which git would write to the user's index.
    own = {name: value for name, value in os.environ.items() if not HOOKED.fullmatch(name)}
    # A new session, so that Ctrl-C in the terminal does not reach git, and git finishes.
    try:
        return subprocess.run(
            command, capture_output=True, text=True, timeout=GIT_SECONDS, check=False, start_new_session=True, env=own
        )
    except subprocess.TimeoutExpired:
        raise BadInput(f"git {arguments[0]} took longer than {GIT_SECONDS} s and was stopped") from None


def refuse_absent(workload: str, loop: str, revision: str, commit: str, flag: str) -> None:
    """Raise BadInput where the revision lacks a file of ``workload`` or ``loop``, or neither comes from here.

    A module that is nowhere in the repository may be an installed one, and is left to the process that imports it.
    """
    top, side = _top(Path.cwd()), f"{flag} rev={revision}"
    assert top is not None
    places = [found["place"] for spec in (workload, loop) if (found := SPEC.match(spec))]
    own = [place for place in places if place not in EXTRAS]
    # A revision of Loopmark has loops of its own, and one of transformers its own models.
    others = [
        "loops/catalog.py",
        *(f"{root}{EXTRAS[place][0]}" for place in places if place in EXTRAS for root in ("", "src/")),
    ]
    if not own and not any(_has(commit, top, top / other) for other in others):
        told = f"neither {workload} nor {loop} comes from this repository, so its revisions make no difference"
        raise BadInput(f"{side}: {told}; give a workload or loop of it, as in --loop path/to/file.py:step")
    for place in own:
        files = _files_of(place, top)
        if any(_has(commit, top, file) for file in files):
            continue
        here = next((file for file in files if file.is_file()), None)
        if here is None and place.endswith(".py") and files[0].is_relative_to(top):
            raise BadInput(f"{side} has no file {place}; give path/to/file.py:name, relative to {Path.cwd()}")
        if here is not None and here.is_relative_to(top):
            why = _because(here, top)
            remedy = "commit it" if why else "give a revision that has it"
            copy = "copy it out of the repository to use it on both sides"
            raise BadInput(f"{side} has no {here.relative_to(top)}{why}; {remedy}, or {copy}")


def missing_here(reason: str, tree: Tree) -> str:
    """A clause on a file that ``reason`` names in quotes, and that the revision lacks because git does not have it."""
    top, told = tree.instead_of, ""
    if top is None:
        return ""
    for name in dict.fromkeys(re.findall(r"'([^']+)'", reason)):
        for file in (
            Path(os.path.normpath(top / os.path.relpath(tree.folder / name, tree.root))),
            *_files_of(name, top),
        ):
            is_lost = file.is_relative_to(top) and file.exists() and not (tree.root / file.relative_to(top)).exists()
            told = told or (_because(file, top) if is_lost else "")
    return told


def _files_of(place: str, top: Path) -> list[Path]:
    """The files of this checkout in which ``file.py`` or ``package.module`` may lie."""
    if place.endswith(".py"):
        return [Path(os.path.normpath(Path.cwd() / place))]
    within, folder = place.replace(".", "/"), Path.cwd()
    roots = (folder, folder / "src", top, top / "src")
    return [root / f"{within}{end}" for root in dict.fromkeys(roots) for end in (".py", "/__init__.py")]


def _has(commit: str, top: Path, path: Path) -> bool:
    return path.is_relative_to(top) and not _git("cat-file", "-e", f"{commit}:{path.relative_to(top)}").returncode


def _because(path: Path, top: Path) -> str:
    """A clause on a file that git does not have; empty for a file that it has."""
    if _git("check-ignore", "--quiet", str(path)).returncode == 0:
        return f"; git ignores {path.relative_to(top)}, so no revision has it"
    tracked = _git("ls-files", "--error-unmatch", str(path)).returncode == 0
    return "" if tracked else f"; {path.relative_to(top)} is not committed"
