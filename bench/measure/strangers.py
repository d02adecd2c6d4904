"""Code that a worker imported from the checkout, where it was to measure another revision of it."""

import sys
from pathlib import Path

from loopmark.bench.measure.assignment import Tree
from loopmark.bench.measure.entry import PACKAGE
from loopmark.loops.errors import BadSpec

_OWN = {PACKAGE, Path(__file__).resolve().parents[1]}


def refuse_strangers(tree: Tree) -> None:
    """Raise BadSpec where a module came from the checkout whose place ``tree`` takes: both sides would measure it.

    Loopmark's own harness and what is installed inside the checkout (a virtual environment) are not meant.
    """
    if tree.instead_of is None:
        return
    checkout, root = tree.instead_of.resolve(), tree.root.resolve()
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if not isinstance(file, str):
            continue
        path = Path(file).resolve()
        installed = "site-packages" in path.parts or Path(sys.prefix).resolve() in path.parents
        if checkout in path.parents and root not in path.parents and not _OWN & {*path.parents} and not installed:
            raise BadSpec(
                f"{name} was imported from {path} and not from the revision to be measured; "
                "call from the folder that it is imported from, or name it by its file"
            )
