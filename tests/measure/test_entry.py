"""A worker process imports its tree's code and the user's own, but nothing from the working directory by accident."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.command import ROOT

CATALOG = "from {0}.task import TASK\n\n\ndef find():\n    import {0}.task\n\n    return {0}.task.TASK is TASK\n"


def told(code: str, cwd: Path = ROOT) -> str:
    done = subprocess.run([sys.executable, "-c", code], cwd=cwd, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(("name", "packaged"), [("loops", False), ("loopmark.loops", True)])
def test_a_revision_from_before_and_one_from_after_there_was_one_package_are_imported_alike(
    tmp_path: Path, name: str, packaged: bool
) -> None:
    (tmp_path / "loops").mkdir()
    (tmp_path / "loops" / "__init__.py").touch()
    (tmp_path / "loops" / "task.py").write_text("class Task: ...\nTASK = object()\n")
    (tmp_path / "loops" / "catalog.py").write_text(CATALOG.format(name))
    if packaged:
        (tmp_path / "loopmark").mkdir()
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); from pathlib import Path\n"
        f"from loopmark.bench.measure.entry import _adopt_loops\n_adopt_loops(Path({str(tmp_path)!r}))\n"
        "import loopmark.loops.catalog as catalog\n"
        "print(catalog.find(), catalog.TASK is sys.modules['loopmark.loops.task'].TASK, catalog.__file__)"
    )
    assert told(code, tmp_path) == f"True True {tmp_path / 'loops' / 'catalog.py'}"


def test_an_older_revision_gets_the_modules_and_the_attributes_that_it_lacks(tmp_path: Path) -> None:
    (tmp_path / "loopmark").mkdir()
    (tmp_path / "loops").mkdir()
    for name in ("__init__", "catalog", "user_code"):
        (tmp_path / "loops" / f"{name}.py").touch()
    (tmp_path / "loops" / "user_code.py").write_text("class BadSpec(Exception): ...\ndef defined_at(_): ...\n")
    (tmp_path / "loops" / "task.py").write_text("class Task: ...\n")
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); from pathlib import Path\n"
        f"from loopmark.bench.measure.entry import _adopt_loops\n_adopt_loops(Path({str(tmp_path)!r}))\n"
        "from loopmark.loops import batch, task\n"
        "print(issubclass(batch.BadBatch, __import__('loopmark.loops.user_code').loops.user_code.BadSpec), "
        "task.Task.has_loss_fn)"
    )
    assert told(code, tmp_path) == "True True"


def test_a_revision_whose_names_lay_elsewhere_has_them_where_they_are_looked_for_today(tmp_path: Path) -> None:
    (tmp_path / "loopmark").mkdir()
    (tmp_path / "loops").mkdir()
    for name in ("__init__", "catalog", "graph_phases"):
        (tmp_path / "loops" / f"{name}.py").touch()
    (tmp_path / "loops" / "errors.py").write_text("class Skip(Exception): ...\n")
    (tmp_path / "loops" / "technique.py").write_text("from loopmark.loops.errors import Skip as Skipped\n")
    (tmp_path / "loops" / "cuda_graph.py").write_text("class GraphedStep: ...\n")
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); from pathlib import Path\n"
        f"from loopmark.bench.measure.entry import _adopt_loops\n_adopt_loops(Path({str(tmp_path)!r}))\n"
        "from loopmark.loops.cuda_graphs import GraphedStep\n"
        "from loopmark.loops.technique import Skip, Skipped\n"
        "print(GraphedStep.__module__, Skip is Skipped)"
    )
    assert told(code, tmp_path) == "loopmark.loops.cuda_graph True"


def test_the_working_directory_is_no_place_to_import_from_and_a_checkout_the_last(tmp_path: Path) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "from loopmark.bench.measure.entry import leave_working_directory\nleave_working_directory()\n"
        f"print('' in sys.path, {str(tmp_path)!r} in sys.path, sys.path[-1])"
    )
    assert told(code, tmp_path) == f"False False {ROOT}"


@pytest.mark.parametrize(("imports", "refused"), [("helper", False), ("json", True)])
def test_a_revision_from_which_nothing_was_imported_is_refused(tmp_path: Path, imports: str, refused: bool) -> None:
    (tmp_path / "helper.py").touch()
    code = (
        f"import sys; sys.path[:0] = [{str(ROOT)!r}, {str(tmp_path)!r}]; from pathlib import Path\n"
        "from loopmark.bench.measure.assignment import Tree\n"
        f"from loopmark.bench.measure.entry import refuse_strangers\nimport {imports}\n"
        f"tree = Tree(Path({str(tmp_path)!r}), Path({str(tmp_path)!r}), Path('/nowhere'))\n"
        "try:\n    refuse_strangers(tree)\nexcept Exception as refusal:\n    print(refusal)"
    )
    assert told(code, tmp_path).startswith("no module was imported from the revision") == refused
