"""Both sides of a comparison: from what a person asks for, such as ``rev=main``, to what can be launched."""

import contextlib
import difflib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import torch

from loopmark.bench.errors import BadInput, NotComparable
from loopmark.bench.measure.assignment import Assignment, Tree
from loopmark.bench.measure.launcher import ForkServer, Interpreter
from loopmark.bench.measure.machine import available_cores
from loopmark.bench.measure.paired_measurement import PairedMeasurement, PreparedSide
from loopmark.bench.records.run import Plan
from loopmark.loops.catalog import find_loop, find_workload
from loopmark.loops.loop import EAGER
from loopmark.loops.user_code import BadSpec
from loopmark.loops.workload import Size

KEYS = ("loop", "workload", "rev", "python", "env")
_NEXT_KEY = re.compile(rf"[,\s]+(?=(?:{'|'.join(KEYS)})=)")
_VARIABLE = re.compile(r"[A-Za-z_]\w*")


@dataclass(frozen=True)
class SideOptions:
    """Options of one side; None is what the other side has too."""

    loop: str | None = None
    workload: str | None = None
    revision: str | None = None
    python: Path | None = None
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def given(self) -> dict[str, str]:
        """The keys that were given, by the names they are given under."""
        named = {"loop": self.loop, "workload": self.workload, "rev": self.revision, "python": self.python}
        return {
            **{key: str(value) for key, value in named.items() if value is not None},
            **{f"env {name}": value for name, value in self.variables.items()},
        }


def parse_side(options: Sequence[str], flag: str) -> SideOptions:
    """The side that ``options`` describe, each one or several ``key=value`` with commas or spaces between.

    A comma or a space begins another pair only where a key follows it, so values may hold both. Raises BadInput for an
    unknown key, one given twice, or a value that cannot be one.
    """
    found: dict[str, str] = {}
    variables: dict[str, str] = {}
    for part in (part for option in options for part in _NEXT_KEY.split(option.strip())):
        key, equals, value = part.partition("=")
        key = key.strip()
        if not equals or key not in KEYS:
            alike = difflib.get_close_matches(key, KEYS, 1)
            meant = f"; did you mean {alike[0]}=…?" if alike and equals else ""
            raise BadInput(f"{flag} '{part}' is no key=value with a key of {', '.join(KEYS)}{meant}")
        if key == "env":
            name, assigned, setting = value.partition("=")
            if not assigned or not _VARIABLE.fullmatch(name) or "\0" in setting:
                raise BadInput(f"{flag} '{part}': give env=NAME=value")
            if name in variables:
                raise BadInput(f"{flag} gives env={name} twice; give it once")
            variables[name] = setting
            continue
        if not value.strip():
            raise BadInput(f"{flag} '{part}' has no value; give {key}=something")
        if key in found:
            raise BadInput(f"{flag} gives {key} twice; give it once")
        found[key] = value.strip()
    python = _interpreter(found["python"], flag) if "python" in found else None
    return SideOptions(found.get("loop"), found.get("workload"), found.get("rev"), python, variables)


def side_threads(side: SideOptions, flag: str, default: int, cores: int) -> int:
    """How many threads a side runs: what its own OMP_NUM_THREADS says, else ``default``."""
    given = side.variables.get("OMP_NUM_THREADS")
    if given is None:
        return default
    if not given.isdigit() or not 1 <= int(given) <= cores:
        raise BadInput(f"{flag} env=OMP_NUM_THREADS={given} does not fit this machine; give 1 to {cores}")
    return int(given)


def _interpreter(text: str, flag: str) -> Path:
    found = shutil.which(text)
    if found is None or Path(found).is_dir():
        raise BadInput(f"{flag} python={text}: no such interpreter; give the path of one that has torch")
    return Path(os.path.abspath(found))  # noqa: PTH100 - not resolved: a venv's python is a link


OWN_INTERPRETER = Path(sys.executable)
GIT_SECONDS = 300


def working_tree() -> Tree:
    """The files as they lie where the command was called."""
    folder = Path.cwd()
    return Tree(_top(folder) or folder, folder)


def resolve(revision: str, flag: str, *, clean: bool = True) -> str:
    """The full id of the commit that ``revision`` names. Raises BadInput where there is no repository, or none such.

    Args:
        clean: whether the commit that is checked out is refused too while the files of the working tree have changes:
            no side measures the files as they lie, so nobody would measure them.
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
def worktree(commit: str) -> Iterator[Tree]:
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
        yield Tree(root, folder if folder.is_dir() else root, top)
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


DEFAULT_WORKLOAD = "resnet"


@dataclass(frozen=True)
class PreparedComparison:
    """Two sides, and whether one server forks both."""

    base: PreparedSide
    head: PreparedSide
    shared_server: bool

    def measurement(self, plan: Plan) -> PairedMeasurement:
        return PairedMeasurement(self.base, self.head, plan)


@contextmanager
def prepare_comparison(
    base: SideOptions, head: SideOptions, plan: Plan, *, workload: str | None, loop: str | None, slowdown: float = 0.0
) -> Iterator[PreparedComparison]:
    """Both sides, ready to be launched; worktrees are there until the context ends.

    One server forks both sides where both run in this interpreter and environment: what then differs is what they were
    asked to differ in. Otherwise every launch is a process from nothing. ``workload`` and ``loop`` are those of a side
    that names none; ``slowdown`` is the share by which the head is held up on purpose.

    Raises BadInput for a loop, workload, revision or interpreter that is none, and NotComparable for one that cannot
    run on this machine.
    """
    asked = {"base": base, "head": head}
    shared = all(side.python in (None, OWN_INTERPRETER) and not side.variables for side in asked.values())
    cores = available_cores()
    most = len(cores) or plan.threads
    threads = {name: side_threads(side, f"--{name}", plan.threads, most) for name, side in asked.items()}
    workloads = {name: side.workload or workload or DEFAULT_WORKLOAD for name, side in asked.items()}
    loops = {name: side.loop or loop or EAGER.name for name, side in asked.items()}
    for name, side in asked.items():
        if side.revision is None and side.python is None and not side.variables:
            _refuse_unknown(workloads[name], loops[name], plan.device)
    revisions = {name: side.revision for name, side in asked.items() if side.revision is not None}
    clean = len(revisions) == len(asked)
    commits = {name: resolve(revision, f"--{name}", clean=clean) for name, revision in revisions.items()}
    with ExitStack() as stack:
        places = dict.fromkeys(asked, working_tree() if commits else None)
        for name, commit in commits.items():
            places[name] = stack.enter_context(worktree(commit))
        server = ForkServer(own_loops=not commits) if shared else None

        def prepared(name: str, side: SideOptions) -> PreparedSide:
            assignment = Assignment(
                workload=workloads[name],
                loop=loops[name],
                device=plan.device,
                size=cast(Size, plan.size),
                batch_size=plan.batch_size,
                seed=plan.seed,
                threads=threads[name],
                cores=cores[: max(threads.values())],
                compile_cache=Path(),
                neighbours=1,
                log=Path(),
                tree=places[name],
                slowdown=slowdown if name == "head" else 0.0,
            )
            launcher = server or Interpreter(side.python or OWN_INTERPRETER, side.variables)
            return PreparedSide(name, side.given, commits.get(name, "")[:12] or None, assignment, launcher)

        yield PreparedComparison(prepared("base", base), prepared("head", head), server is not None)


def _refuse_unknown(workload: str, loop: str, device: str) -> None:
    try:
        lacks = find_workload(workload).lacks() or find_loop(loop).lacks(torch.device(device))
    except BadSpec as error:
        raise BadInput(str(error)) from error
    if lacks:
        raise NotComparable(lacks)
