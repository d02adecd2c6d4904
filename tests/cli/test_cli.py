"""The command line, in this process: `test_lean_install` and `test_foreign_repositories` start one of its own."""

import json
import re
import shlex
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import typer

from loopmark.bench.cli import DEPENDENCIES, EXAMPLES, app
from loopmark.bench.records import store
from tests.support.command import ROOT, Here
from tests.support.synthetic import Truth, make_run


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    run, samples = make_run([Truth("eager"), Truth("eager", repeat=True), Truth("amp_bf16", 0.005)])
    folder = store.create_folder(tmp_path, run.machine.name, run.started)
    store.write(folder, run, samples)
    return folder


@pytest.mark.usefixtures("brief_runs")
def test_a_run_ends_with_a_table_a_card_and_a_folder_that_holds_everything(here: Here, tmp_path: Path) -> None:
    done = here(
        "run", "--workload", "regression", "--loop", "foreach_optimizer", "--budget", 0.2, "--launches", 2,
        "--threads", 1, "--no-train", "--out", tmp_path / "results",
    )  # fmt: skip
    (folder,) = (tmp_path / "results").glob("*/*")
    run = store.read_run(folder)

    assert done.returncode == 0, done.stderr
    assert run.name == folder.name == store.folder_name(run.started)
    assert "foreach_optimizer" in done.stdout
    assert "\nregression\n  " in done.stdout
    assert run.cases[-1].code == ("SGD(…, foreach=True)",)
    assert run.cases[-1].excludes == ("fused_optimizer",)
    assert {path.name for path in folder.iterdir()} >= {
        "run.json", "blocks.parquet", "phases.parquet", "warmup.parquet", "losses.parquet", "summary.csv",
        "report.md", "plots",
    }  # fmt: skip
    assert list((folder / "plots").glob("*.png"))
    assert list((folder / "plots").glob("*.svg"))
    assert not list(folder.glob("*.partial"))


@pytest.mark.usefixtures("brief_runs")
def test_json_is_all_that_standard_output_gets_and_a_failed_case_makes_the_status_1(here: Here, tmp_path: Path) -> None:
    bad = ROOT / "tests" / "examples" / "misbehaving.py"
    done = here(
        "run", "--workload", "regression", "--loop", f"{bad}:raises_at_once", "--budget", 0.2, "--launches", 1,
        "--threads", 1, "--no-train", "--json", "--out", tmp_path,
    )  # fmt: skip
    summary = json.loads(done.stdout)

    assert done.returncode == 1
    assert Path(summary["folder"]).is_dir()
    assert "failed" in done.stdout


def test_the_dependencies_are_those_of_pyproject() -> None:
    required = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    installed = packages_distributions()
    assert {installed[name][0].lower() for name in DEPENDENCIES} == {re.split(r"[>=]", one)[0] for one in required}


@pytest.mark.parametrize(("missing", "status", "told"), [("pandas", 2, 1), ("loopmark.gone", 70, 0), ("own", 70, 0)])
def test_only_a_missing_dependency_is_blamed_on_the_installation(
    here: Here, monkeypatch: pytest.MonkeyPatch, missing: str, status: int, told: int
) -> None:
    def read(*_: object) -> None:
        raise ModuleNotFoundError(f"No module named {missing!r}", name=missing)

    monkeypatch.setattr(sys.modules["loopmark.bench.cli.report"], "read_batch_sizes", read)
    done = here("report", ROOT)

    assert done.returncode == status
    assert done.stderr.count("`make bench` installs") == told
    assert ("Traceback" in done.stderr) == (not told)


def test_a_run_that_fails_before_anything_is_kept_leaves_no_folder(
    here: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measure(*_: object) -> None:
        raise OSError("something is missing")

    monkeypatch.setattr("loopmark.bench.measure.whole_run.measure_all", measure)
    done = here("run", "--workload", "regression", "--out", tmp_path)

    assert done.returncode == 2
    assert "something is missing" in done.stderr
    assert not list(tmp_path.glob("*/*/"))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["run", "--loop", "ampp"], "no loop named 'ampp'; did you mean 'amp_bf16' or 'amp_fp16'? see: loopmark list"),
        (["run", "--loop", ""], "no loop named"),
        (["run", "--workload", "resnett"], "did you mean 'resnet'"),
        (["run", "--device", "cuda:99"], "--device"),
        (["run", "--budget", "-1"], "--budget -1.0 makes no sense"),
        (["run", "--budget", "soon"], "--budget"),
        (["run", "--nonsense"], "--nonsense"),
        (["run", "--loop", "nowhere.py:step"], "no file nowhere.py"),
        (["run", "--workload", "nowhere.module:make_task"], "no module 'nowhere.module'"),
        (["run", "--out", "/proc/none"], "--out"),
        (["report", "nowhere"], "nowhere is not a folder"),
        (["report", "tests"], "has no run.json"),
        (["report"], "Missing argument"),
        (["nonsense"], "nonsense"),
    ],
)
def test_bad_input_is_one_clear_line_and_status_2(here: Here, arguments: list[str], says: str) -> None:
    done = here(*arguments)

    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_a_run_of_a_newer_format_is_refused_with_what_to_do(here: Here, stored: Path) -> None:
    path = stored / "run.json"
    path.write_text(path.read_text().replace('"format_version": 1', '"format_version": 99'))
    done = here("report", stored)

    assert done.returncode == 2
    assert "format 99" in done.stderr
    assert "upgrade" in done.stderr


def test_a_stored_run_is_drawn_again_without_torch(stored: Path) -> None:
    program = (
        "import sys\n"
        f"sys.argv = ['loopmark', 'report', {str(stored)!r}]\n"
        "from loopmark.bench.cli import main\n"
        "try:\n    main()\n"
        "finally:\n    assert 'torch' not in sys.modules, 'torch was imported'\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=False)

    assert done.returncode == 0, done.stderr
    assert "all runs: amp_bf16, " in done.stdout
    assert (stored / "report.md").exists()


def test_help_names_every_command_without_torch() -> None:
    program = (
        "import sys\nsys.argv = ['loopmark', '--help']\nfrom loopmark.bench.cli import main\n"
        "try:\n    main()\nfinally:\n    assert not {'torch', 'pandas', 'matplotlib'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=False)

    assert done.returncode == 0, done.stderr
    assert all(command in done.stdout for command in ("run", "list", "report"))


def test_help_shows_the_commands_by_what_a_person_wants(here: Here) -> None:
    panels: dict[str, list[str]] = {}
    for line in here("--help").stdout.partition("Show this message and exit.")[2].splitlines():
        if line.endswith(":"):
            commands = panels[line[:-1].lower()] = []
        elif line[:3].strip():
            commands.append(line.split()[0])
    assert panels == {
        "begin": ["init"],
        "measure": ["run", "watch", "train", "ab", "find-batch", "ceilings", "trace", "memory", "calibrate"],
        "compare": ["check", "compare", "history"],
        "understand": ["list", "runs", "report", "verify", "doctor"],
        "exchange": ["export", "import"],
    }
    assert {info.name: info.rich_help_panel for info in app.registered_commands} == {
        command: panel for panel, commands in panels.items() for command in commands
    }


@pytest.mark.parametrize("command", sorted(EXAMPLES))
def test_a_commands_help_is_sentences_and_ends_with_two_examples_that_it_takes(
    here: Here, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setattr(store, "named", lambda text, *_: Path(text))  # this checkout may hold no two runs
    lines = here(command, "--help").stdout.splitlines()
    parsed = typer.main.get_command(app).commands[command]  # type: ignore[attr-defined]

    assert lines[-3] == "  Examples:"
    assert all(option.help.endswith(".") for option in parsed.params)
    for line in lines[-2:]:
        program, name, *arguments = shlex.split(line.partition(" | ")[0])
        assert (program, name) == ("loopmark", command)
        assert parsed.make_context(name, arguments).command is parsed
        assert len(line) <= 80


def test_list_names_every_workload_and_loop_with_the_reason_for_what_cannot_run_here(here: Here) -> None:
    done = here("list")

    assert done.returncode == 0, done.stderr
    for name in ("regression_mlp", "resnet", "gpt", "eager", "amp_fp16", "accumulate_K", "checkpoint", "cuda_graph"):
        assert name in done.stdout


def test_a_run_of_nothing_says_why_once_and_keeps_no_folder(elsewhere: Here, brief_runs: None, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def make_task(device, batch_size=8, seed=0):\n    raise KeyError('model')\n")
    done = elsewhere("run", "--workload", "mine.py:make_task", "--loop", "foreach_optimizer,amp_bf16", "--launches", 1)

    reason = "nothing was measured: mine:make_task, every loop: mine.py:2: KeyError: 'model'"
    *_, log, last = done.stderr.splitlines()
    assert (done.returncode, last) == (2, f"loopmark: {reason}")
    assert "KeyError: 'model'" in Path(log.removeprefix("Log: ")).read_text()
    assert not (tmp_path / "results").exists()
    assert done.stdout == ""


def test_a_file_that_does_not_load_shows_its_own_traceback(elsewhere: Here, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("import theirs\n")
    (tmp_path / "theirs.py").write_text("1 / 0\n")
    done = elsewhere("run", "--loop", "mine.py:step")

    assert done.returncode == 2
    assert (
        done.stderr.splitlines()[-1]
        == "loopmark: cannot load mine.py: theirs.py:1: ZeroDivisionError: division by zero"
    )
    assert f'File "{tmp_path / "mine.py"}", line 1' in done.stderr
    assert "user_code.py" not in done.stderr
