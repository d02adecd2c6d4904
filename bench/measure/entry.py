"""Where a worker process begins: it finds the code that it is to measure, and only then imports it."""

import importlib.util
import os
import sys
from multiprocessing.connection import Connection
from pathlib import Path

from bench.measure.assignment import Assignment, Tree

HOME = Path(__file__).resolve().parents[2]
"""The folder that holds ``bench`` and ``loops``: a checkout, or a ``site-packages``."""

BOOT = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("bench", sys.argv[1] + "/bench/__init__.py")
sys.modules["bench"] = package = importlib.util.module_from_spec(spec)
spec.loader.exec_module(package)
from multiprocessing.connection import Connection
from bench.measure.entry import enter
connection = Connection(int(sys.argv[2]))
enter(connection, connection.recv())
"""
"""What another interpreter runs, with HOME and a connection's file descriptor. Our ``bench`` is loaded from its place
rather than by ``sys.path``: a place in a ``site-packages`` would bring along the packages of this interpreter."""


def enter(connection: Connection, assignment: Assignment) -> None:
    """Be a worker for ``assignment`` until the other end of ``connection`` closes."""
    if assignment.tree is not None:
        _move_to(assignment.tree)
    if "loops" not in sys.modules:
        _adopt_loops(assignment.tree.root if assignment.tree else HOME)
    from bench.measure import worker

    worker.main(connection, assignment)


def _move_to(tree: Tree) -> None:
    os.chdir(tree.folder)
    # First, so that they hide an installed copy of the same code: both sides would measure that one.
    for folder in (tree.root / "src", tree.root, tree.folder / "src", tree.folder):
        if folder.is_dir() and str(folder) not in sys.path:
            sys.path.insert(0, str(folder))


def _adopt_loops(root: Path) -> None:
    """Let ``import loops`` find the tree's own, where the tree is Loopmark's; else the one that came with ``bench``."""
    own = root / "loops"
    home = own if (own / "catalog.py").is_file() else HOME / "loops"
    spec = importlib.util.spec_from_file_location("loops", home / "__init__.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["loops"] = module
    spec.loader.exec_module(module)
