"""A person's own loops and workloads: found by file or module, their mistakes named by file and line."""

import contextlib
import importlib
import importlib.util
import inspect
import re
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

LONGEST_MESSAGE = 700  # characters; names that were given may be of any length
SPEC = re.compile(r"(?P<place>[^:]+(?:\.py)?):(?P<name>[A-Za-z_]\w*)")


class BadSpec(Exception):  # noqa: N818 - it names what was given
    """A loop or workload was asked for that is not there or not usable; one line that says what to do.

    It quotes what was given, so whatever would break the line, or steer a terminal, is shown escaped.
    """

    def __init__(self, text: str) -> None:
        text = text if len(text) <= LONGEST_MESSAGE else f"{text[: LONGEST_MESSAGE - 200]}…{text[-199:]}"
        super().__init__("".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text))


def is_spec(text: str) -> bool:
    """Whether ``text`` has the form ``path/to/file.py:name`` or ``package.module:name``."""
    return SPEC.fullmatch(text) is not None


def load(spec: str, what: str) -> Any:
    """The object that ``spec`` names. Raises BadSpec with the file and line of whatever went wrong."""
    match = SPEC.fullmatch(spec)
    if match is None:
        raise BadSpec(f"'{spec}' is no {what}; give path/to/file.py:name or package.module:name")
    place, name = match["place"], match["name"]
    module = _load_file(Path(place), what) if place.endswith(".py") else _load_module(place, what)
    try:
        return getattr(module, name)
    except AttributeError:
        names = [n for n, value in vars(module).items() if getattr(value, "__module__", None) == module.__name__]
        shown = ", ".join(names[:_NAMES_SHOWN]) + (", …" if len(names) > _NAMES_SHOWN else "")
        raise BadSpec(f"{place} has no '{name}' for a {what}; it has: {shown or 'no functions'}") from None


def forget(spec: str) -> None:
    """Have the next ``load`` of a file's code run the file again, so that what it counts begins anew."""
    place = spec.rpartition(":")[0]
    if place.endswith(".py"):
        sys.modules.pop(_module_name(Path(place)), None)


def place_of(error: BaseException) -> str:
    """Where ``error`` arose: the innermost line outside torch and the standard library, as ``file.py:12``."""
    if isinstance(error.__cause__, StopIteration):  # a generator may not raise it; what it says instead tells no place
        error = error.__cause__
    if isinstance(error, SyntaxError) and error.filename:
        return f"{_shown(error.filename)}:{error.lineno}"
    return place_among([(f.filename, f.lineno or 0) for f in traceback.extract_tb(error.__traceback__)])


def place_among(lines: Sequence[tuple[str, int]]) -> str:
    """The innermost of ``lines``, outermost first, outside torch and the standard library, as ``file.py:12``.

    One of Loopmark's own counts only where there is no other.
    """
    own = [line for line in lines if not _is_library(line[0])]
    theirs = [line for line in own if not _HOMES & {*Path(line[0]).resolve().parents}]
    if not lines:
        return "unknown place"
    filename, number = (theirs or own or lines)[-1]
    return f"{_shown(filename)}:{number}"


def defined_at(function: Any) -> str:
    """Where ``function`` is written, as ``file.py:12``; its name where it has no source."""
    code = getattr(inspect.unwrap(function), "__code__", None) if callable(function) else None
    if code:
        return f"{_shown(code.co_filename)}:{code.co_firstlineno}"
    return getattr(function, "__name__", repr(function))


def described(error: BaseException) -> str:
    """``error`` as one line: where, which kind, and what it said, at most about 300 characters."""
    try:
        said = error.msg if isinstance(error, SyntaxError) else str(error)
    except Exception:  # an error whose text cannot be had is still an error
        said = ""
    text = " ".join((said or "").split())
    what = f"{type(error).__name__}: {text[:240]}{'…' if len(text) > 240 else ''}" if text else type(error).__name__
    return f"{place_of(error)}: {what}"


_NAMES_SHOWN = 8
_LOOPS = Path(__file__).resolve().parent
_user_folders: set[Path] = set()
_HOMES = {_LOOPS, _LOOPS.parent / "bench"}  # the folders of Loopmark's own code


def _is_library(filename: str) -> bool:
    path, library = Path(filename), Path(traceback.__file__).parent
    return filename.startswith("<") or "site-packages" in path.parts or library in path.parents


def _shown(filename: str) -> str:
    path, here = Path(filename), Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def _module_name(path: Path) -> str:
    return f"loopmark_user_{abs(hash(path.resolve())):x}_{path.stem}"


def _neighbours(folder: Path) -> set[str]:
    """What the folder's Python files are called; nothing where it may not be listed, as ``import`` has it too."""
    with contextlib.suppress(OSError):
        return {path.name.removesuffix(".py") for path in folder.iterdir() if path.name.endswith(".py")}
    return set()


def _load_file(path: Path, what: str) -> ModuleType:
    try:
        found = path.is_file()
    except (OSError, ValueError):  # a name too long, or with a NUL in it
        found = False
    if not found:
        raise BadSpec(f"no file {path} for a {what}; give path/to/file.py:name, seen from {Path.cwd()}")
    name = _module_name(path)
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Registered before it runs, as `import` does: dataclasses and pickles in it look their module up by name.
    sys.modules[name] = module
    folder = path.resolve().parent
    # `import helper` is to find this folder's helper.py, not the one that another folder's file has imported.
    for other in _neighbours(folder) & {*sys.modules}:
        home = Path(getattr(sys.modules[other], "__file__", None) or "/").parent
        if home in _user_folders and home != folder and (folder / f"{other}.py").is_file():
            del sys.modules[other]
    # Its neighbours can be imported, as they can when Python runs a file.
    sys.path.insert(0, str(folder))
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))  # and what lies where the command was called, as for python -m
    try:
        with contextlib.redirect_stdout(sys.stderr):  # standard output is for results
            spec.loader.exec_module(module)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        del sys.modules[name]
        raise BadSpec(f"cannot load {path}: {described(error)}") from error
    finally:
        with contextlib.suppress(ValueError):  # the file may have tidied the path itself
            sys.path.remove(str(folder))
        _user_folders.add(folder)
    if str(folder) not in sys.path:
        # Still found when a step imports them as it runs, but last, so that they hide nobody else's modules any more.
        sys.path.append(str(folder))
    return module


def _load_module(name: str, what: str) -> ModuleType:
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        with contextlib.redirect_stdout(sys.stderr):
            return importlib.import_module(name)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if missing and f"{name}.".startswith(f"{missing}."):
            advice = "give package.module:name or path/to/file.py:name"
            raise BadSpec(f"no module '{name}' for a {what}; {advice}") from None
        raise BadSpec(f"cannot import {name}: {described(error)}") from error
