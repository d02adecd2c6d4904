"""One side of a comparison, as a person asks for it: ``loop=eager``, ``rev=main``, ``env=OMP_NUM_THREADS=1``."""

import difflib
import os
import re
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from loopmark.bench.errors import BadInput
from loopmark.bench.measure.assignment import Tree
from loopmark.bench.measure.entry import PACKAGE
from loopmark.loops.user_code import BadSpec

KEYS = ("loop", "workload", "rev", "python", "env")
_NEXT_KEY = re.compile(rf"[,\s]+(?=(?:{'|'.join(KEYS)})=)")
_VARIABLE = re.compile(r"[A-Za-z_]\w*")


@dataclass(frozen=True)
class SideWish:
    """What was asked of one side; None is what the other side has too."""

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


def parse_side(options: Sequence[str], flag: str) -> SideWish:
    """The side that ``options`` describe, each one or several ``key=value`` with commas or spaces between.

    A comma or a space begins another pair only where a key follows it, so values may hold both.

    Raises:
        BadInput: an unknown key, one given twice, or a value that cannot be one.
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
    return SideWish(
        loop=found.get("loop"),
        workload=found.get("workload"),
        revision=found.get("rev"),
        python=_interpreter(found["python"], flag) if "python" in found else None,
        variables=variables,
    )


def side_threads(wish: SideWish, flag: str, default: int, cores: int) -> int:
    """How many threads a side runs: what its own OMP_NUM_THREADS says, else ``default``."""
    given = wish.variables.get("OMP_NUM_THREADS")
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


def own_interpreter() -> Path:
    """The one that runs this."""
    return Path(sys.executable)


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
