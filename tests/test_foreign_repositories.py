"""Loopmark's wheel in other people's repositories: their modules may have any name, and remain usable."""

import json
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.command import ROOT, Done, outside_pytest

THEIRS = "theirs = True\n"
OWN_STEP = "import bench\nfrom loopmark.loops.eager import step\n\nassert bench.theirs\n"
KINDS: dict[str, dict[str, str]] = {
    "a script bench.py": {"bench.py": THEIRS, "loops/__init__.py": THEIRS},
    "a package bench": {"bench/__init__.py": THEIRS, "bench/cli.py": THEIRS},
    "plain folders": {"bench/data.txt": "", "loops/data.txt": ""},
}
TESTS = {
    "tests/test_plain.py": "import bench\n\n\ndef test_theirs():\n    assert getattr(bench, 'theirs', True)\n",
    "tests/test_timed.py": (
        "import bench\n\n\ndef test_a_loop(loop_benchmark):\n"
        "    assert loop_benchmark('regression', 'eager', seconds=0.1, launches=1, threads=1, device='cpu')\n"
    ),
}
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"  # building leaves folders behind, and another test may build as well
    left_out = shutil.ignore_patterns(".git", ".venv*", ".*_cache", "results", "build", "*.egg-info", "__pycache__")
    shutil.copytree(ROOT, source, symlinks=True, ignore=left_out)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(source)]
    subprocess.run(command, check=True)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> Path:
    """The ``bin`` of an environment with the wheel, and with its requirements from this one."""
    home = tmp_path_factory.mktemp("fresh")
    venv.create(home, with_pip=False, symlinks=True)
    python = home / "bin" / "python"
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", str(wheel)]
    subprocess.run(command, check=True)
    site = Path(
        subprocess.check_output(
            [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], text=True
        ).strip()
    )
    (site / "deps.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python.parent


@pytest.fixture(params=KINDS, ids=str)
def repository(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    for name, text in {**KINDS[request.param], **TESTS}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def ran(fresh: Path, folder: Path, program: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    environment = {k: v for k, v in outside_pytest().items() if k != "PYTHONPATH"}
    command = [str(fresh / program), *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=240)


def test_the_wheel_installs_one_name(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"loopmark"}
    assert {"loopmark/bench/report/templates/run.jinja", "loopmark/loops/eager.py", "loopmark/py.typed"} <= set(names)
    assert {f"loopmark/bench/cli/templates/{name}" for name in ("bench.yml", "loopmark_task.py.txt")} <= set(names)


def test_a_notebook_finds_loopmark_and_its_own_modules(fresh: Path, repository: Path) -> None:
    import_both = "import loopmark, bench; print(getattr(bench, 'theirs', True), 'torch' in __import__('sys').modules)"
    here = ran(fresh, repository, "python", "-c", f"{import_both}; from loopmark import Task, load")
    assert here.stdout == "True False\n", here.stderr


def tried(fresh: Path, folder: Path, file: str) -> "subprocess.CompletedProcess[str]":
    return ran(fresh, folder, "python", "-m", "pytest", "-q", "-p", "no:cacheprovider", file)


def test_pytest_starts_although_the_plugin_is_installed(fresh: Path, repository: Path) -> None:
    done = tried(fresh, repository, "tests/test_plain.py")
    assert done.returncode == 0, done.stdout + done.stderr


def make_hostile(folder: Path) -> Path:
    """A repository with a ``bench.py``, a package ``loops``, and files named like modules of the standard library."""
    files = {
        **KINDS["a script bench.py"],
        **TESTS,
        **dict.fromkeys(("train/own.py", "own.py"), OWN_STEP),
        **dict.fromkeys(("queue.py", "random.py"), "raise SystemExit('not for you')\n"),
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    return make_hostile(tmp_path)


def test_the_command_starts_there(fresh: Path, hostile: Path) -> None:
    helped = ran(fresh, hostile, "loopmark", "--help")
    assert helped.returncode == 0, helped.stderr
    assert "list" in helped.stdout


def test_the_fixture_times_a_loop_there(fresh: Path, hostile: Path) -> None:
    for name in ("queue.py", "random.py"):
        (hostile / name).unlink()  # pytest itself would import them
    done = tried(fresh, hostile, "tests/test_timed.py")
    assert done.returncode == 0, done.stdout + done.stderr


SMALL = ("--workload", "regression", "--device", "cpu")
COMMANDS = {
    "list": ("list",),
    "verify": ("verify", "eager", *SMALL),
    "ab": ("ab", *SMALL, "--budget", "0.1", "--base", "loop=eager", "--head", "loop=train.own:step"),
    "run": (
        *("run", "--quick", *SMALL, "--budget", "0.1", "--launches", "1", "--no-train"),
        *("--loop", "train/own.py:step"),
    ),
}
SCRIPT = """
import json
import sys
from pathlib import Path

from loopmark.bench.cli import main


def ends(arguments):
    path, modules = list(sys.path), set(sys.modules)
    sys.argv[1:] = arguments
    try:
        main()
    except SystemExit as end:
        return end.code
    finally:
        sys.path[:] = path
        for name in set(sys.modules) - modules:
            if str(getattr(sys.modules[name], "__file__", None)).startswith(str(Path.cwd())):
                del sys.modules[name]


if __name__ == "__main__":
    from loopmark.bench.measure import plan

    plan.ceiling_seconds = lambda *, quick: 1.0
    for arguments in json.loads(sys.argv[1]):
        print("\\nended with", ends(arguments), flush=True)
"""
"""The console script, but for several commands in one process, which imports torch and starts the fork server once, and
with less time for the ceilings. No command finds what another one has imported of the repository."""


@pytest.fixture(scope="module")
def ended(fresh: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Done]:
    """What each of COMMANDS ended with in a hostile repository, each with the standard error of all of them."""
    (fresh / "several").write_text(SCRIPT)
    hostile = make_hostile(tmp_path_factory.mktemp("hostile"))
    done = ran(fresh, hostile, "python", str(fresh / "several"), json.dumps(list(COMMANDS.values())))
    said = re.findall(r"(.*?)\nended with (\d+)\n", done.stdout, re.DOTALL)
    assert len(said) == len(COMMANDS), done.stdout + done.stderr
    return {name: Done(int(code), text, done.stderr) for name, (text, code) in zip(COMMANDS, said, strict=True)}


def test_what_can_run_is_listed_there(ended: dict[str, Done]) -> None:
    listed = ended["list"]
    assert listed.returncode == 0, listed.stderr
    assert "regression_mlp" in listed.stdout


def test_a_run_measures_a_persons_own_step_beside_modules_of_any_name(ended: dict[str, Done]) -> None:
    done = ended["run"]
    assert done.returncode == 0, done.stdout + done.stderr
    assert "own:step" in done.stdout


def test_eager_breaks_no_property_there(ended: dict[str, Done]) -> None:
    done = ended["verify"]
    assert done.returncode == 0, done.stdout + done.stderr


def test_two_loops_are_compared_there(ended: dict[str, Done]) -> None:
    done = ended["ab"]
    assert done.returncode in (0, 3), done.stdout + done.stderr
    assert "base" in done.stdout
