"""``loopmark export`` on the command line, and its files read by the tools they are for."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from loopmark.bench.records import store
from tests.support.command import ROOT, Here, loopmark, outside_pytest
from tests.support.synthetic import Truth, make_run

FORMATS = (
    "pytest-benchmark", "github-action-benchmark", "github-action-benchmark-bigger", "bencher", "openmetrics",
)  # fmt: skip


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run, samples = make_run(
        [Truth("eager"), Truth("eager", repeat=True), Truth("amp_bf16", 0.005)], launches=3, rounds=3
    )
    folder = store.create_folder(tmp_path_factory.mktemp("results"), run.machine.name, run.started)
    store.write(folder, run, samples)
    return folder


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_holds_what_standard_output_would_get(here: Here, kept: Path, tmp_path: Path, name: str) -> None:
    shown = here("export", kept, "--to", name)
    written = here("export", kept, "--to", name, "--output", tmp_path / "file")

    assert (shown.returncode, written.returncode) == (0, 0)
    assert shown.stderr == written.stderr == written.stdout == ""
    assert (tmp_path / "file").read_text(encoding="utf-8") == shown.stdout
    assert "amp_bf16" in shown.stdout
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["RUN", "--to", "pytest-bench"], "no format named 'pytest-bench'; did you mean 'pytest-benchmark'?"),
        (["RUN", "--to", ""], "no format named ''; use one of pytest-benchmark, github-action-benchmark,"),
        (["RUN"], "--to"),
        (["RUN", "--to", "bencher", "--output", "nowhere/file"], "cannot write to nowhere/file"),
        (["RUN", "--to", "bencher", "--output", "/proc/file"], "cannot write to /proc/file"),
        (["RUN", "--to", "bencher", "--output", "tests"], "tests exists and is not a file"),
        (["RUN", "--to", "bencher", "--output", "x" * 5000], "cannot write to xxx"),
        (["nowhere", "--to", "bencher"], "nowhere is not a folder; give a folder that `loopmark run` wrote"),
        (["tests", "--to", "bencher"], "tests has no run.json"),
    ],
)
def test_bad_input_is_one_clear_line_and_status_2(here: Here, kept: Path, arguments: list[str], says: str) -> None:
    done = here("export", *(kept if argument == "RUN" else argument for argument in arguments))

    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1
    assert says in done.stderr


def test_pytest_benchmark_lists_and_compares_an_exported_run(here: Here, kept: Path, tmp_path: Path) -> None:
    storage = tmp_path / "storage" / "machine"
    storage.mkdir(parents=True)
    assert here("export", kept, "--to", "pytest-benchmark", "--output", storage / "0001_run.json").returncode == 0
    program = "from pytest_benchmark.cli import main; main()"
    command = [sys.executable, "-c", program, "--storage", str(tmp_path / "storage")]
    listed, compared = (
        subprocess.run([*command, *rest], capture_output=True, text=True, cwd=tmp_path, check=False)
        for rest in (["list"], ["compare", "0001", "--csv", str(tmp_path / "table")])
    )

    assert listed.stdout.strip() == str(storage / "0001_run.json")
    assert compared.returncode == 0, compared.stderr
    assert "benchmark 'resnet': 3 tests" in compared.stdout
    assert "benchmark 'resnet forward': 3 tests" in compared.stdout
    assert "resnet[amp_bf16-forward]" in (tmp_path / "table.csv").read_text()


def test_pytest_compares_its_own_benchmarks_with_an_exported_run(here: Here, kept: Path, tmp_path: Path) -> None:
    (tmp_path / "storage").mkdir()
    stored = tmp_path / "storage" / "0001_run.json"
    assert here("export", kept, "--to", "pytest-benchmark", "--output", stored).returncode == 0
    (tmp_path / "test_own.py").write_text(
        "import pytest\n@pytest.mark.benchmark(group='resnet')\n"
        "def test_own(benchmark):\n    benchmark.pedantic(sum, ([1, 2],), rounds=3)\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:loopmark", "test_own.py",
         "--benchmark-storage", tmp_path / "storage", "--benchmark-compare=0001"],
        capture_output=True, text=True, cwd=tmp_path, env=outside_pytest(), check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout


def test_a_terminal_without_our_letters_still_gets_utf_8(kept: Path) -> None:
    done = loopmark("export", kept, "--to", "bencher", PYTHONIOENCODING="ascii")

    assert done.returncode == 0
    assert json.loads(done.stdout)["resnet/amp_bf16"]


def test_exporting_needs_no_torch(kept: Path) -> None:
    program = (
        f"import sys\nsys.argv = ['loopmark', 'export', {str(kept)!r}, '--to', 'openmetrics']\n"
        "from loopmark.bench.cli import main\n"
        "try:\n    main()\n"
        "finally:\n    assert not {'torch', 'matplotlib'} & set(sys.modules), 'too much was imported'\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=False)

    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("# EOF\n")


def test_a_runs_own_file_is_not_overwritten(here: Here, kept: Path) -> None:
    before = (kept / "run.json").read_bytes()
    done = here("export", kept, "--to", "bencher", "--output", kept / "run.json")
    assert done.returncode == 2
    assert "belongs to a run; choose another file" in done.stderr
    assert (kept / "run.json").read_bytes() == before


def test_a_link_to_what_is_no_file_is_left_as_it_is(here: Here, kept: Path, tmp_path: Path) -> None:
    link = tmp_path / "out"
    link.symlink_to("/dev/null")
    done = here("export", kept, "--to", "bencher", "--output", link)
    assert done.returncode == 2
    assert "exists and is not a file" in done.stderr
    assert link.is_symlink()
