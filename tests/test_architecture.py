"""The rules for imports between packages, read from the syntax trees: nothing is imported, above all not torch."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from loopmark.bench.measure.properties.prepared_loop import yields_inside_with
from loopmark.phases import PHASES

ROOT = Path(__file__).parents[1]

# For each of Loopmark's packages, the other parts of Loopmark that it may import.
MAY_KNOW = {
    "loopmark.phases": (),
    "loopmark.loops": ("loopmark.phases",),
    "loopmark.bench.errors": (),
    "loopmark.bench.cores": (),
    "loopmark.bench.median": (),
    "loopmark.bench.records": ("loopmark.bench.errors", "loopmark.phases"),
    "loopmark.bench.judge": (
        "loopmark.bench.errors",
        "loopmark.bench.records",
        "loopmark.bench.cores",
        "loopmark.phases",
        "loopmark.bench.median",
    ),
    "loopmark.bench.report": (
        "loopmark.bench.errors",
        "loopmark.bench.records",
        "loopmark.bench.judge",
        "loopmark.bench.cores",
        "loopmark.phases",
    ),
    "loopmark.bench.measure": (
        "loopmark.bench.errors",
        "loopmark.bench.records",
        "loopmark.bench.median",
        "loopmark.loops",
        "loopmark.phases",
    ),
}
HOMES_OF_THE_WORK = ("loopmark.bench.measure.properties.step_checks", "loopmark.bench.measure.watching.loopmark_hooks")
"""The only modules that name each phase themselves: they say which work belongs to it. The second runs in a Python that
may lack Loopmark."""
TORCH = ("loopmark.loops", "loopmark.bench.measure")
"""The only packages that may import torch."""


class Import(NamedTuple):
    """One imported name in full."""

    name: str
    line: int
    at_module_level: bool


def within(name: str, packages: tuple[str, ...]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def imports_of(source: str, module: str, *, is_package: bool = False) -> list[Import]:
    """Every import in ``source``, at any level; ``from a import b`` imports ``a.b``."""
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
    """The forbidden imports of ``module``, one line each."""
    found = []
    own = next((package for package in MAY_KNOW if within(module, (package,))), None)
    for name, line, at_module_level in imports_of(source, module, is_package=is_package):
        place = f"{module}:{line} imports {name}"
        house = within(name, ("loopmark.bench", "loopmark.loops", "loopmark.phases"))
        if within(name, ("bench", "loops")):
            found.append(f"{place}, a name that other repositories have")
        elif own and house and not within(name, (own, *MAY_KNOW[own])):
            found.append(f"{place}, but {own} may import only {', '.join(MAY_KNOW[own]) or 'itself'}")
        elif within(name, ("loopmark.bench.cli",)) and not within(module, ("loopmark.bench.cli", "loopmark.__main__")):
            found.append(f"{place}, but only loopmark.__main__ may import loopmark.bench.cli")
        elif within(name, ("loopmark.bench.plugin",)) and not within(module, ("loopmark.bench.plugin",)):
            found.append(f"{place}, but no module may import loopmark.bench.plugin: pytest loads its entry point")
        elif name.partition(".")[0] in ("pytest", "_pytest") and not within(module, ("loopmark.bench.plugin",)):
            found.append(
                f"{place}, but only loopmark.bench.plugin may import pytest, which a measuring machine may lack"
            )
        if within(module, TORCH):
            continue
        if name.partition(".")[0].startswith("torch"):
            found.append(f"{place}, but only loopmark.loops and loopmark.bench.measure may import torch")
        if within(name, TORCH) and at_module_level:
            found.append(f"{place} and with it torch; import it inside the function that needs it")
    return found


def modules_of(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    parts = parts[1:] if parts[0] == "loopmark" else parts
    return ".".join(("loopmark", *(parts[:-1] if parts[-1] == "__init__" else parts)))


@pytest.mark.parametrize(
    "path",
    [*modules_of("bench"), *modules_of("loops"), *ROOT.glob("loopmark/*.py")],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_a_module_imports_only_what_its_package_may_know(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert broken_rules(source, module_name(path), is_package=path.name == "__init__.py") == []


@pytest.mark.parametrize("path", modules_of("loops"), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_step_never_yields_inside_a_with(path: Path) -> None:
    assert yields_inside_with(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "path", [*modules_of("bench"), *modules_of("loops")], ids=lambda path: str(path.relative_to(ROOT))
)
def test_the_phases_are_listed_in_one_place_only(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Tuple | ast.List | ast.Set | ast.Dict):
            named = {child.value for child in ast.walk(node) if isinstance(child, ast.Constant)}
            assert not named >= {*PHASES[1:]} or within(module_name(path), HOMES_OF_THE_WORK)


@pytest.mark.parametrize(
    "path", [*modules_of("bench"), *modules_of("loops")], ids=lambda path: str(path.relative_to(ROOT))
)
def test_a_docstring_leads_with_a_noun_or_a_verb(path: Path) -> None:
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        text = (ast.get_docstring(node) if isinstance(node, documented) else None) or ""
        assert not text.startswith(("Of ", "What ", "Whoever ", "Whether ")), text.splitlines()[0]


def test_there_are_modules_to_check() -> None:
    names = {module_name(path) for path in modules_of("bench")}
    assert {"loopmark.bench", "loopmark.bench.records.store", "loopmark.bench.judge.summary"} <= names


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("loopmark.loops.eager", "import bench"),
        ("loopmark.loops.workloads.gpt", "def f():\n    from loopmark.bench.records import run"),
        ("loopmark.bench.records.store", "from loopmark.bench.judge import summary"),
        ("loopmark.bench.records.store", "from ..judge import summary"),
        ("loopmark.bench.records.store", "from loopmark.bench import measure"),
        ("loopmark.bench.records.store", "import loopmark.loops.task"),
        ("loopmark.bench.judge.summary", "from loopmark.bench.report.terminal import table"),
        ("loopmark.bench.judge.summary", "if True:\n    import loopmark.bench.measure.worker"),
        ("loopmark.bench.report.page", "import loopmark.bench.measure"),
        ("loopmark.bench.report.page", "import loopmark.loops"),
        ("loopmark.bench.measure.worker", "from loopmark.bench.judge.statistics import median"),
        ("loopmark.bench.measure.worker", "from loopmark.bench.report import page"),
        ("loopmark.bench.measure.worker", "from loopmark.bench.cli import main"),
        ("loopmark.bench.errors", "from loopmark.bench import records"),
        ("loopmark.phases", "import loopmark.loops.task"),
        ("loopmark.phases", "import torch"),
        ("loopmark.bench.other", "from loopmark.bench import cli"),
        ("loopmark.bench.other", "import loopmark.bench.cli as c"),
        ("loopmark.bench.judge.summary", "import torch"),
        ("loopmark.bench.judge.summary", "def f():\n    from torch.nn import Module"),
        ("loopmark.bench.report.page", "import importlib\nimportlib.import_module('torch')"),
        ("loopmark.bench.records.store", "import torchvision"),
        ("loopmark.bench.cli", "def f():\n    import torch"),
        ("loopmark.bench.cli", "from loopmark.bench.measure import schedule"),
        ("loopmark.bench.cli", "from loopmark.bench.measure.schedule import measure"),
        ("loopmark.bench.cli", "class C:\n    import loopmark.loops"),
        ("loopmark.__main__", "import loopmark.bench.measure"),
        ("loopmark.bench.judge.summary", "if TYPE_CHECKING:\n    from loopmark.bench.measure import schedule"),
        ("loopmark.loops.eager", "import bench"),
        ("loopmark.bench.cli", "def f():\n    from loopmark.bench.plugin import rows"),
        ("loopmark.bench.other", "import loopmark.bench.plugin"),
        ("loopmark.bench.cli.run", "import pytest"),
        ("loopmark.bench.plugin.rows", "import torch"),
        ("loopmark.bench.plugin.rows", "from loopmark.bench.measure import runner"),
        ("loopmark.bench.plugin.rows", "from loopmark.bench.cli import main"),
    ],
)
def test_a_forbidden_import_is_caught(module: str, source: str) -> None:
    assert len(broken_rules(source, module)) >= 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("loopmark.loops.eager", "import torch\nfrom loopmark.loops.task import Task\nfrom . import eager"),
        (
            "loopmark.bench.records.store",
            "from loopmark.bench.errors import BadInput\nfrom loopmark.bench.records.files import decode",
        ),
        (
            "loopmark.bench.judge.summary",
            "from loopmark.bench.records.run import Run\nfrom . import statistics\nimport scipy",
        ),
        (
            "loopmark.bench.report.page",
            "from loopmark import __version__\nfrom loopmark.bench.judge.summary import Summary",
        ),
        (
            "loopmark.bench.measure.worker",
            "import torch\nimport loopmark.loops\nfrom loopmark.bench.records.run import Launch",
        ),
        (
            "loopmark.bench.cli",
            "from loopmark.bench.report import page\ndef f():\n    from loopmark.bench.measure import schedule",
        ),
        (
            "loopmark.bench.cli",
            "import typing\nif typing.TYPE_CHECKING:\n    from loopmark.bench.measure import schedule",
        ),
        ("loopmark.bench.measure.machine", "import loopmark\nloopmark.__version__"),
        ("loopmark.__main__", "from loopmark.bench.cli import main"),
        ("loopmark.loops.eager", "from loopmark.phases import PHASES"),
        ("loopmark.bench.judge.summary", "from loopmark.phases import PHASES"),
        ("loopmark.bench.records.store", "import benchmarks, torn"),
        (
            "loopmark.bench.plugin.rows",
            "import pytest\nfrom loopmark.bench.report import show\nfrom loopmark.bench.plugin import extra_info",
        ),
        ("loopmark.bench.plugin.rows", "def f():\n    from loopmark.bench.measure import runner"),
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
