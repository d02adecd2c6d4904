"""The plan's rules of who may know whom, read from the syntax trees: nothing is imported, torch least of all."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from bench.measure.properties.yields import yields_inside_with

ROOT = Path(__file__).parents[1]

# For each package of Loopmark's own, what of Loopmark it may import besides itself.
MAY_KNOW = {
    "loops": (),
    "bench.errors": (),
    "bench.cores": (),
    "bench.records": ("bench.errors",),
    "bench.judge": ("bench.errors", "bench.records", "bench.cores"),
    "bench.report": ("bench.errors", "bench.records", "bench.judge", "bench.cores"),
    "bench.measure": ("bench.errors", "bench.records", "loops"),
}
TORCH = ("loops", "bench.measure")
"""The only packages that may import torch."""


class Import(NamedTuple):
    """One name that a module imports, in full."""

    name: str
    line: int
    at_module_level: bool


def within(name: str, packages: tuple[str, ...]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def imports_of(source: str, module: str, *, is_package: bool = False) -> list[Import]:
    """Every import of ``source``, wherever it stands; ``from a import b`` imports ``a.b``."""
    return list(_imports(ast.parse(source), module.split("."), is_package, at_module_level=True))


def _imports(node: ast.AST, module: list[str], is_package: bool, at_module_level: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            for alias in child.names:
                yield Import(alias.name, child.lineno, at_module_level)
        elif isinstance(child, ast.ImportFrom):
            up = child.level - is_package
            base = module[: len(module) - up] if child.level else []
            parts = [*base, *(child.module or "").split(".")]
            for alias in child.names:
                yield Import(".".join(p for p in [*parts, alias.name] if p), child.lineno, at_module_level)
        elif isinstance(child, ast.Call) and child.args:
            called, first = ast.unparse(child.func).rpartition(".")[2], child.args[0]
            if called in ("import_module", "__import__") and isinstance(first, ast.Constant):
                yield Import(str(first.value), child.lineno, at_module_level)
        inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) or (
            isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING")  # it never runs
        )
        yield from _imports(child, module, is_package, at_module_level and not inside)


def broken_rules(source: str, module: str, *, is_package: bool = False) -> list[str]:
    """What ``module`` imports and should not, one line each."""
    found = []
    own = next((package for package in MAY_KNOW if within(module, (package,))), None)
    for name, line, at_module_level in imports_of(source, module, is_package=is_package):
        place = f"{module}:{line} imports {name}"
        house = within(name, ("bench", "loops"))
        # `from bench import __version__`, which is all that the package itself holds.
        package_itself = own != "loops" and (name == "bench" or name.startswith("bench.__"))
        if own and house and not package_itself and not within(name, (own, *MAY_KNOW[own])):
            found.append(f"{place}, but {own} may know only {', '.join(MAY_KNOW[own]) or 'itself'}")
        elif within(name, ("bench.cli",)) and not within(module, ("bench.cli", "bench.__main__")):
            found.append(f"{place}, but only bench.__main__ may know bench.cli")
        elif within(name, ("bench.plugin",)) and not within(module, ("bench.plugin",)):
            found.append(f"{place}, but nobody may know bench.plugin: pytest finds it by its entry point")
        elif name.partition(".")[0] in ("pytest", "_pytest") and not within(module, ("bench.plugin",)):
            found.append(f"{place}, but only bench.plugin may know pytest, which a measuring machine may not have")
        if within(module, TORCH):
            continue
        if name.partition(".")[0].startswith("torch"):
            found.append(f"{place}, but only loops and bench.measure may know torch")
        if within(name, TORCH) and at_module_level:
            found.append(f"{place} and with it torch; import it inside the function that needs it")
    return found


def modules_of(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@pytest.mark.parametrize(
    "path", [*modules_of("bench"), *modules_of("loops")], ids=lambda path: str(path.relative_to(ROOT))
)
def test_a_module_imports_only_what_its_package_may_know(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert broken_rules(source, module_name(path), is_package=path.name == "__init__.py") == []


@pytest.mark.parametrize("path", modules_of("loops"), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_step_never_yields_inside_a_with(path: Path) -> None:
    assert yields_inside_with(path.read_text(encoding="utf-8")) == []


def test_there_are_modules_to_check() -> None:
    names = {module_name(path) for path in modules_of("bench")}
    assert {"bench", "bench.records.store", "bench.judge.summary"} <= names


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("loops.eager", "import bench"),
        ("loops.workloads.gpt", "def f():\n    from bench.records import run"),
        ("bench.records.store", "from bench.judge import summary"),
        ("bench.records.store", "from ..judge import summary"),
        ("bench.records.store", "from bench import measure"),
        ("bench.records.store", "import loops.phases"),
        ("bench.judge.summary", "from bench.report.terminal import table"),
        ("bench.judge.summary", "if True:\n    import bench.measure.worker"),
        ("bench.report.page", "import bench.measure"),
        ("bench.report.page", "import loops"),
        ("bench.measure.worker", "from bench.judge.statistics import median"),
        ("bench.measure.worker", "from bench.report import page"),
        ("bench.measure.worker", "from bench.cli import main"),
        ("bench.errors", "from bench import records"),
        ("bench.other", "from bench import cli"),
        ("bench.other", "import bench.cli as c"),
        ("bench.judge.summary", "import torch"),
        ("bench.judge.summary", "def f():\n    from torch.nn import Module"),
        ("bench.report.page", "import importlib\nimportlib.import_module('torch')"),
        ("bench.records.store", "import torchvision"),
        ("bench.cli", "def f():\n    import torch"),
        ("bench.cli", "from bench.measure import schedule"),
        ("bench.cli", "from bench.measure.schedule import measure"),
        ("bench.cli", "class C:\n    import loops"),
        ("bench.__main__", "import bench.measure"),
        ("bench.judge.summary", "if TYPE_CHECKING:\n    from bench.measure import schedule"),
        ("loops.eager", "from bench import __version__"),
        ("bench.cli", "def f():\n    from bench.plugin import kept"),
        ("bench.other", "import bench.plugin"),
        ("bench.cli.run", "import pytest"),
        ("bench.plugin.table", "import torch"),
        ("bench.plugin.table", "from bench.measure import conduct"),
        ("bench.plugin.table", "from bench.cli import main"),
    ],
)
def test_a_forbidden_import_is_caught(module: str, source: str) -> None:
    assert len(broken_rules(source, module)) >= 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("loops.eager", "import torch\nfrom loops.task import Task\nfrom . import phases"),
        ("bench.records.store", "from bench.errors import BadInput\nfrom bench.records.codec import decode"),
        ("bench.judge.summary", "from bench.records.run import Run\nfrom . import statistics\nimport scipy"),
        ("bench.report.page", "from bench import __version__\nfrom bench.judge.summary import Summary"),
        ("bench.measure.worker", "import torch\nimport loops\nfrom bench.records.run import Launch"),
        ("bench.cli", "from bench.report import page\ndef f():\n    from bench.measure import schedule"),
        ("bench.cli", "import typing\nif typing.TYPE_CHECKING:\n    from bench.measure import schedule"),
        ("bench.measure.machine", "import bench\nbench.__version__"),
        ("bench.__main__", "from bench.cli import main"),
        ("bench.records.store", "import benchmarks, torn"),
        ("bench.plugin.table", "import pytest\nfrom bench.report import format\nfrom bench.plugin import internals"),
        ("bench.plugin.table", "def f():\n    from bench.measure import conduct"),
    ],
)
def test_an_allowed_import_is_let_pass(module: str, source: str) -> None:
    assert broken_rules(source, module) == []


def test_relative_imports_are_resolved_as_python_does() -> None:
    assert [i.name for i in imports_of("from . import b\nfrom .c import d\nfrom ..e import f", "p.q.a")] == [
        "p.q.b",
        "p.q.c.d",
        "p.e.f",
    ]
    assert imports_of("from . import b", "p.q", is_package=True)[0].name == "p.q.b"
