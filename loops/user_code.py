"""The user's own loops and workloads: found by file or module, with errors reported by file and line."""

import contextlib
import functools
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

LONGEST_MESSAGE = 700  # characters; given names may have any length
SPEC = re.compile(r"(?P<place>[^:]+(?:\.py)?):(?P<name>[A-Za-z_]\w*)")


class BadSpec(Exception):  # noqa: N818 - it names the spec
    """The given loop or workload is missing or not usable. The text is one line that says what to do.

    It quotes the given name, so characters that would break the line or control the terminal are escaped.
    """

    def __init__(self, text: str) -> None:
        text = text if len(text) <= LONGEST_MESSAGE else f"{text[: LONGEST_MESSAGE - 200]}…{text[-199:]}"
        super().__init__("".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text))


def is_spec(text: str) -> bool:
    """True if ``text`` has the form ``path/to/file.py:name`` or ``package.module:name``."""
    return SPEC.fullmatch(text) is not None


def load(spec: str, what: str) -> Any:
    """The object that ``spec`` names. Raises BadSpec with the file and line of the error."""
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
    """Make the next ``load`` of a file's code run the file again, so that its counters start again."""
    place = spec.rpartition(":")[0]
    if place.endswith(".py"):
        sys.modules.pop(_module_name(Path(place)), None)


def place_of(error: BaseException) -> str:
    """The place of ``error``: the innermost line outside torch and the standard library, as ``file.py:12``.

    Lines that its message quotes count too: those of a loader's worker process, and of code that cannot be compiled.
    """
    if isinstance(error.__cause__, StopIteration):  # Python replaces it in a generator, which loses its place
        error = error.__cause__
    if isinstance(error, SyntaxError) and error.filename:
        return f"{_shown(error.filename)}:{error.lineno}"
    lines = [(frame.filename, frame.lineno or 0) for frame in traceback.extract_tb(error.__traceback__)]
    return place_among([*lines, *((name, int(number)) for name, number in _QUOTED.findall(_said(error)))])


def place_among(lines: Sequence[tuple[str, int]]) -> str:
    """The innermost of ``lines``, outermost first, outside torch and the standard library, as ``file.py:12``.

    A line of an installed package, such as the model's, or of Loopmark itself is used only if there is no other.
    """
    if not lines:
        return "unknown place"
    outside = [line for line in lines if not _is_torchs(line[0])]
    theirs = [line for line in outside if is_users(line[0])]
    filename, number = (theirs or outside or lines)[-1]
    return f"{_shown(filename)}:{number}"


def defined_at(function: Any) -> str:
    """The place of the definition of a function, or of a class or an object's class; its name without a source."""
    function = function.func if isinstance(function, functools.partial) else function
    code = getattr(inspect.unwrap(function), "__code__", None) if callable(function) else None
    if code:
        return f"{_shown(code.co_filename)}:{code.co_firstlineno}"
    with contextlib.suppress(OSError, TypeError):
        kind = function if isinstance(function, type) else type(function)
        return f"{_shown(inspect.getfile(kind))}:{inspect.findsource(kind)[1] + 1}"
    return getattr(function, "__name__", repr(function))


def described(error: BaseException) -> str:
    """``error`` as one line: its place, type and message, at most about 300 characters; a BadSpec is one already."""
    if isinstance(error, BadSpec):
        return str(error)
    said, kind = _ASIDE.split(_said(error))[0], type(error).__name__
    if _IN_WORKER.match(said):  # then follow the worker's traceback, indented, and its error
        said = re.split(r"\n(?=\S)", said.strip())[-1]
        kind, _, said = said.partition(": ")
    text = in_brief(said)
    return f"{place_of(error)}: {kind}: {text}" if text else f"{place_of(error)}: {kind}"


def in_brief(said: str) -> str:
    """``said`` on one line, without its middle if it is longer than about 240 characters."""
    text = " ".join(said.split())
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST // 2]} … {text[-(_LONGEST // 2) :]}"


_LONGEST = 240  # characters of an error's message; the point may be at either end
_QUOTED = re.compile(r'^ +File "([^"]+)", line (\d+)', re.MULTILINE)
_IN_WORKER = re.compile(r"Caught \w+ in \w+ worker process")
_ASIDE = re.compile(r"\n +Hint: |\n\nfrom user code:|\n\nSet TORCHDYNAMO_VERBOSE")  # begins torch's advice
_NAMES_SHOWN = 8
_LOOPS = Path(__file__).resolve().parent
_user_folders: set[Path] = set()
_names: dict[Path, str] = {}  # of the modules of files, by path
_HOMES = {_LOOPS, _LOOPS.parent / "bench"}  # the folders of Loopmark's own code


def _said(error: BaseException) -> str:
    try:
        return (error.msg if isinstance(error, SyntaxError) else str(error)) or ""
    except Exception:  # the error's own __str__ may fail
        return ""


@functools.cache
def is_users(filename: str) -> bool:
    """True if a file belongs neither to torch, the standard library and installed packages, nor to Loopmark."""
    path = Path(filename)
    is_installed = "site-packages" in path.parts or bool(_HOMES & {*path.resolve().parents})
    return not _is_torchs(filename) and not is_installed


def _is_torchs(filename: str) -> bool:
    """True for a file of torch or the standard library."""
    path, library = Path(filename), Path(traceback.__file__).parent
    if "site-packages" in path.parts:
        return "torch" in path.parts
    return filename.startswith("<") or library in path.parents


def _shown(filename: str) -> str:
    path, here = Path(filename), Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def _module_name(path: Path) -> str:
    """The name of a file's module: the file's own where ``import`` finds this file by it, else a unique one.

    A loader's worker processes that are not forks import it by this name, as they import a script's modules.
    """
    path = path.resolve()
    if path not in _names:
        own = path.stem
        sys.path.append(str(path.parent))
        try:
            found = importlib.util.find_spec(own) if own.isidentifier() and own not in sys.modules else None
        except (ImportError, ValueError):
            found = None
        finally:
            sys.path.pop()
        is_own = found is not None and found.origin is not None and Path(found.origin).resolve() == path
        _names[path] = own if is_own else f"loopmark_user_{abs(hash(path)):x}_{own}"
    return _names[path]


def _neighbours(folder: Path) -> set[str]:
    """The names of the folder's Python files; none where it may not be listed, as for ``import``."""
    with contextlib.suppress(OSError):
        return {path.name.removesuffix(".py") for path in folder.iterdir() if path.name.endswith(".py")}
    return set()


def _load_file(path: Path, what: str) -> ModuleType:
    try:
        found = path.is_file()
    except (OSError, ValueError):  # the name is too long, or contains a NUL
        found = False
    if not found:
        raise BadSpec(f"no file {path} for a {what}; give path/to/file.py:name, relative to {Path.cwd()}")
    name = _module_name(path)
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Registered before it runs, as `import` does: its dataclasses and pickles look up their module by name.
    sys.modules[name] = module
    folder = path.resolve().parent
    # `import helper` must find this folder's helper.py, not the one imported by a file of another folder.
    for other in _neighbours(folder) & {*sys.modules}:
        home = Path(getattr(sys.modules[other], "__file__", None) or "/").parent
        if home in _user_folders and home != folder and (folder / f"{other}.py").is_file():
            del sys.modules[other]
    # Files in its folder can be imported, as when Python runs a file.
    sys.path.insert(0, str(folder))
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))  # and files in the working directory, as for python -m
    try:
        with contextlib.redirect_stdout(sys.stderr):  # standard output is for results
            spec.loader.exec_module(module)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        del sys.modules[name]
        raise BadSpec(f"cannot load {path}: {described(error)}") from error
    finally:
        with contextlib.suppress(ValueError):  # the file may have removed the entry itself
            sys.path.remove(str(folder))
        _user_folders.add(folder)
    if str(folder) not in sys.path:
        # Still found when a running step imports them, but last, so that they no longer hide other modules.
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
