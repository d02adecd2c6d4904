"""The entry of a worker process: it finds the code to measure before importing it."""

import importlib
import importlib.util
import json
import os
import sys
from functools import cache
from importlib.machinery import ModuleSpec
from multiprocessing.connection import Connection
from pathlib import Path
from types import ModuleType

import loopmark
from loopmark.bench.measure.assignment import Assignment, Tree

PACKAGE = Path(loopmark.__file__).resolve().parent  # the folder ``loopmark``, in a checkout or in ``site-packages``
HARNESS = Path(__file__).resolve().parents[1]
LOOPS = "loopmark.loops"
FORMER = {
    "cuda_graphs": ("cuda_graph", "graph_phases"),
    "switches": ("deterministic", "tf32"),
    "technique": ("errors",),
}
"""Modules of ``loops``, each with the older revisions' modules that held its names."""
ADDED = {"counts": None, "epochs": 0, "fetched": None, "has_loss_fn": True}
"""Attributes of a task that older revisions lack, with their values there."""
RESTORE = "LOOPMARK_RESTORE"
"""The variable that stores the changed variables as JSON: each name with its earlier value, null if it was unset."""

PRELOAD = "LOOPMARK_PRELOAD"
"""The variable with the modules that the fork server imports for the workloads, separated by spaces."""


def enter(connection: Connection, assignment: Assignment) -> None:
    """Work on ``assignment`` until the other end of ``connection`` closes."""
    leave_working_directory()
    if assignment.tree is not None:
        _move_to(assignment.tree)
    if LOOPS not in sys.modules:
        _adopt_loops(assignment.tree.root if assignment.tree else None)
    from loopmark.bench.measure import worker

    worker.main(connection, assignment)


def leave_working_directory() -> None:
    """Remove the working directory from the import path; `user_code` adds it again for the user's own code.

    A checkout that contains our package stays on the path, at the end.
    """
    sys.path[:] = [folder for folder in sys.path if folder not in ("", str(Path.cwd()))]
    if "site-packages" not in PACKAGE.parts:
        home = str(PACKAGE.parent)
        sys.path[:] = [*(folder for folder in sys.path if folder != home), home]


def restore_variables() -> None:
    """Restore the environment variables named in ``RESTORE``, which were changed to start the fork server."""
    for name, value in json.loads(os.environ.pop(RESTORE, "{}")).items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def refuse_strangers(tree: Tree) -> None:
    """Raise BadSpec if a module was imported from the checkout that ``tree`` replaces, or none from ``tree``.

    Both sides would measure the same.

    Loopmark's own harness and packages installed inside the checkout (a virtual environment) are allowed.
    """
    from loopmark.loops.user_code import BadSpec

    if tree.instead_of is None:
        return
    checkout = tree.instead_of.resolve()
    others = (tree.root.resolve(), Path(sys.prefix).resolve(), PACKAGE, HARNESS)

    @cache  # thousands of modules lie in a few hundred folders, and following a path's links takes long
    def is_strange(folder: Path) -> bool:
        place = folder.resolve()
        ours = "site-packages" in place.parts or any(place.is_relative_to(other) for other in others)
        return place.is_relative_to(checkout) and not ours

    uses_revision, roots = False, (tree.root, others[0])
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        added = name.startswith(f"{LOOPS}.") and not (tree.root / "loops" / f"{name.split('.')[2]}.py").exists()
        if not isinstance(file, str) or added:
            continue
        path = Path(file)
        path = path.resolve() if path.is_symlink() else path
        uses_revision = uses_revision or any(path.is_relative_to(root) for root in roots)
        if is_strange(path.parent):
            raise BadSpec(
                f"{name} was imported from {path.resolve()} and not from the revision to be measured; "
                "run the command in the folder that it is imported from, or give it by a relative path"
            )
    if not uses_revision:
        raise BadSpec("no module was imported from the revision; give a workload or loop that imports one at its top")


def _move_to(tree: Tree) -> None:
    os.chdir(tree.folder)
    # First, to hide an installed copy of the same code, which both sides would measure.
    for folder in (tree.root / "src", tree.root, tree.folder / "src", tree.folder):
        if folder.is_dir() and str(folder) not in sys.path:
            sys.path.insert(0, str(folder))


def _adopt_loops(root: Path | None) -> None:
    """Import ``loopmark.loops`` from the tree, if the tree is Loopmark's; else from this harness."""
    own = root / "loops" if root is not None else PACKAGE / "loops"
    if not (own / "catalog.py").is_file():
        own = PACKAGE / "loops"
    elif root is not None and not (root / "loopmark").is_dir():
        sys.meta_path.insert(0, _FormerName())
    spec = importlib.util.spec_from_file_location(LOOPS, own / "__init__.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[LOOPS] = loopmark.loops = module
    spec.loader.exec_module(module)
    module.__path__ = [str(own), str(PACKAGE / "loops")]  # an older revision lacks modules that this harness imports
    _add_names_of_today(own)


def _add_names_of_today(loops: Path) -> None:
    """Add an older revision's names in ``loops`` where this harness expects them."""
    for name, formers in FORMER.items():
        if not (loops / f"{formers[0]}.py").is_file():
            continue
        full = f"{LOOPS}.{name}"
        module = importlib.import_module(full) if (loops / f"{name}.py").is_file() else ModuleType(full)
        for former in formers:
            for key, value in vars(importlib.import_module(f"{LOOPS}.{former}")).items():
                vars(module).setdefault(key, value)
        sys.modules[full] = module
    if (loops / "task.py").is_file():
        task = importlib.import_module(f"{LOOPS}.task").Task
        for name, value in ADDED.items():
            if not hasattr(task, name):
                setattr(task, name, value)


class _FormerName:
    """An import hook for revisions older than the one package: ``loops.x`` is the module ``loopmark.loops.x``."""

    def find_spec(self, name: str, *_: object) -> ModuleSpec | None:
        known = name.partition(".")[0] == "loops"
        return importlib.util.spec_from_loader(name, self) if known else None  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return importlib.import_module(f"loopmark.{spec.name}")

    def exec_module(self, module: ModuleType) -> None:
        """Nothing to do: the module has already run."""
