"""``loopmark check`` as in CI; tests of standard output or of the process start a new process."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import IO
from xml.etree import ElementTree as ET

import pytest

from loopmark.bench.records import store
from loopmark.bench.records.run import Run
from loopmark.bench.records.samples import Samples
from tests.support.command import ROOT, Done, Here
from tests.support.synthetic import Truth, make_run

LOOPS = [Truth("eager"), Truth("eager", repeat=True), Truth("compile", 0.008)]
SLOWER = [*LOOPS[:2], Truth("compile", 0.0096)]
NOT_OURS = ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY")

Keep = Callable[..., Path]


class Check:
    """``loopmark check`` in this process and in the test's folder, with only these CI variables."""

    def __init__(self, here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
        self._here, self._monkeypatch = here, monkeypatch

    def __call__(self, *arguments: object, **variables: str) -> Done:
        for name, value in variables.items():
            self._monkeypatch.setenv(name, value)
        return self._here("check", *arguments)


@pytest.fixture
def check(here: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Check:
    monkeypatch.chdir(tmp_path)
    for name in NOT_OURS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("NO_COLOR", "1")
    return Check(here, monkeypatch)


def check_into(out: IO[str], *arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """``loopmark check`` in a process of its own, with standard output to ``out``."""
    kept = {name: value for name, value in os.environ.items() if name not in NOT_OURS}
    environment = {**kept, "PYTHONPATH": str(ROOT), "COLUMNS": "120", "NO_COLOR": "1"}
    command = [sys.executable, "-m", "loopmark", "check", *map(str, arguments)]
    return subprocess.run(
        command, stdout=out, stderr=subprocess.PIPE, text=True, cwd=cwd, env=environment, timeout=60, check=False
    )


def measured(truths: list[Truth], **options: object) -> tuple[Run, Samples]:
    return make_run(truths, **{"launches": 6, "rounds": 5, "steps": 1, "drift": 0.01, **options})  # type: ignore[arg-type]


@pytest.fixture
def keep(tmp_path: Path) -> Keep:
    """Write a run into the folder with the given name."""

    def keep(name: str, run: Run, samples: Samples) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        store.write(folder, run, samples)
        return folder

    return keep


@pytest.fixture
def base(keep: Keep) -> Path:
    return keep("base", *measured(LOOPS, seed=1))


def one_line(text: str) -> bool:
    return len(text.strip().splitlines()) == 1


def test_unchanged_code_passes_with_status_0(check: Check, keep: Keep, base: Path, tmp_path: Path) -> None:
    done = check(keep("same", *measured(LOOPS, seed=2)), "--baseline", base)

    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout.splitlines()[-1].startswith("No regression: ")


def test_a_regression_is_status_1_and_every_file_for_ci_tells_of_it(
    check: Check, keep: Keep, base: Path, tmp_path: Path
) -> None:
    done = check(
        keep("slow", *measured(SLOWER, seed=2)), "--baseline", base, "--junit", "junit.xml", "--markdown", "check.md",
        GITHUB_ACTIONS="true", GITHUB_STEP_SUMMARY=str(tmp_path / "summary.md"),
    )  # fmt: skip

    assert done.returncode == 1, done.stderr
    assert "Regression: resnet, compile: step / eager is slower, +" in done.stdout
    assert len([line for line in done.stdout.splitlines() if line.startswith("::error title=")]) == 1
    assert ET.parse(tmp_path / "junit.xml").getroot().get("failures") == "1"
    assert (tmp_path / "check.md").read_text() == (tmp_path / "summary.md").read_text()
    assert "❌" in (tmp_path / "check.md").read_text()
    assert not list(tmp_path.glob("*.partial"))


def test_github_takes_nothing_of_the_table_for_a_command(check: Check, keep: Keep, tmp_path: Path) -> None:
    hostile = [*LOOPS, Truth("::error::pwned"), Truth("##[error]pwned")]
    folder = keep("hostile", *measured(hostile))
    lines = check(folder, "--baseline", folder, GITHUB_ACTIONS="true").stdout.splitlines()

    stop = lines.index(next(line for line in lines if line.startswith("::stop-commands::")))
    go = lines.index(f"::{lines[stop].rpartition('::')[2]}::")
    assert any("pwned" in line for line in lines[stop:go])
    assert not any("pwned" in line for line in [*lines[:stop], *lines[go:]])


@pytest.mark.parametrize("options", [["--json"], []])
def test_who_reads_only_the_first_lines_changes_no_verdict(
    options: list[str], keep: Keep, base: Path, tmp_path: Path
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as closed:
        slow = keep("slow", *measured(SLOWER, seed=2))
        done = check_into(closed, slow, "--baseline", base, *options, cwd=tmp_path)

    assert done.returncode == 1
    assert "Traceback" not in done.stderr


def test_a_full_disk_is_no_verdict(base: Path, tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = check_into(full, base, "--baseline", base, "--json", cwd=tmp_path)

    assert done.returncode == 2
    assert "No space left" in done.stderr


def test_the_jobs_summary_is_added_to_and_not_replaced(check: Check, base: Path, tmp_path: Path) -> None:
    summary = tmp_path / "summary.md"
    summary.write_text("of another step\n")
    done = check(base, "--baseline", base, GITHUB_STEP_SUMMARY=str(summary))

    assert done.returncode == 0
    assert summary.read_text().startswith("of another step\n## ✅ loopmark check: no regression")
    assert "::" not in done.stdout


def test_a_summary_that_cannot_be_written_is_a_warning_and_changes_no_verdict(
    check: Check, base: Path, tmp_path: Path
) -> None:
    done = check(base, "--baseline", base, GITHUB_STEP_SUMMARY=str(tmp_path / "none" / "summary.md"))

    assert done.returncode == 0
    assert "GITHUB_STEP_SUMMARY" in done.stderr


def test_json_is_all_that_standard_output_gets(check: Check, keep: Keep, base: Path, tmp_path: Path) -> None:
    slow = keep("slow", *measured(SLOWER, seed=2))
    done = check(slow, "--baseline", base, "--json", GITHUB_ACTIONS="true")

    assert done.returncode == 1
    assert json.loads(done.stdout)["outcome"] == "regression"
    assert done.stderr.startswith("::error ")


@pytest.mark.parametrize(
    ("decision", "status"), [((), 3), (("--inconclusive", "pass"), 0), (("--inconclusive", "fail"), 1)]
)
def test_what_is_left_open_is_status_3_unless_it_is_decided_otherwise(
    check: Check, keep: Keep, base: Path, tmp_path: Path, decision: tuple[str, ...], status: int
) -> None:
    done = check(keep("one", *measured(LOOPS, launches=1)), "--baseline", base, *decision)

    assert done.returncode == status, done.stderr
    assert "Inconclusive: " in done.stdout
    assert "more --launches" in done.stdout


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"batch_size": 32}, "different batch sizes, 64 in the baseline and 32 in the run"),
        (
            {"data_sha256": "cd" * 32},
            "different data, SHA-256 abababababab in the baseline and cdcdcdcdcdcd in the run",
        ),
    ],
)
def test_other_work_is_one_clear_line_and_status_4_and_every_file_is_whole(
    check: Check, keep: Keep, base: Path, tmp_path: Path, changes: dict[str, object], says: str
) -> None:
    run, samples = measured(LOOPS)
    cases = tuple(replace(case, **changes) for case in run.cases)  # type: ignore[arg-type]
    other = keep("other", replace(run, cases=cases), samples)
    done = check(other, "--baseline", base, "--junit", "junit.xml")

    assert done.returncode == 4
    assert done.stdout == ""
    assert one_line(done.stderr)
    assert done.stderr.startswith(f"loopmark: Not comparable: {says}")
    assert ET.parse(tmp_path / "junit.xml").getroot().get("errors") == "1"
    assert not list(tmp_path.glob("*.partial"))


def test_a_refusal_as_json_has_its_reason(check: Check, keep: Keep, base: Path, tmp_path: Path) -> None:
    gpu = keep("gpu", *measured(LOOPS, device=True))
    done = check(gpu, "--baseline", base, "--json")

    assert done.returncode == 4
    assert "measured on cpu and the run on cuda" in json.loads(done.stdout)["refusal"]


def test_another_machine_is_compared_by_ratios_and_what_differs_is_named(
    check: Check, keep: Keep, base: Path, tmp_path: Path
) -> None:
    run, samples = measured([replace(truth, step_seconds=truth.step_seconds / 2) for truth in LOOPS], seed=2)
    moved = replace(
        run,
        machine=replace(run.machine, cpu="Other CPU"),
        environment=replace(run.environment, torch="2.14.0", threads=4, driver="570.1"),
    )
    done = check(keep("moved", moved, samples), "--baseline", base)

    assert done.returncode == 0, done.stderr
    assert "another machine" in done.stdout
    for said in ("CPU Imaginary CPU → Other CPU", "torch 2.13.0 → 2.14.0", "threads 2 → 4", "driver none → 570.1"):
        assert f"differs: {said}" in done.stdout


def test_a_threshold_comes_from_the_project_and_a_flag_outweighs_it(
    check: Check, keep: Keep, base: Path, tmp_path: Path
) -> None:
    slow = keep("slow", *measured(SLOWER, seed=2))
    (tmp_path / "pyproject.toml").write_text('[tool.loopmark.check.thresholds]\n"step / eager" = "50%"\n')

    assert check(slow, "--baseline", base).returncode == 0
    assert check(slow, "--baseline", base, "--threshold", "step/eager=5%").returncode == 1
    assert check(slow, "--baseline", base, "--threshold", "forward=5%").returncode == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--threshold", "forwrd=5%"], "no metric named 'forwrd' to put a threshold on; did you mean 'forward'?"),
        (["--threshold", "forward"], "should be METRIC=SHARE, such as forward=5%"),
        (["--threshold", "forward=nan"], "a share is a number of 0 or more"),
        (["--threshold", "forward=5"], "write 5%"),
        (["--false-alarms", "0"], "--false-alarms should be more than 0"),
        (["--inconclusive", "maybe"], "--inconclusive"),
        (["--junit", "none/junit.xml"], "cannot write to none/junit.xml: No such file or directory"),
        (["--markdown", "."], "choose another"),
        (["--junit", "x" * 250], "File name too long"),
        (["--junit", "same.txt", "--markdown", "same.txt"], "is given twice; choose a file for each output"),
        (["--junit", "/dev/null"], "exists and is not a file"),
        (["--baseline", "nowhere"], "nowhere is not a folder"),
    ],
)
def test_bad_input_is_one_clear_line_and_status_2_and_nothing_is_left_behind(
    check: Check, base: Path, tmp_path: Path, arguments: list[str], says: str
) -> None:
    before = sorted(tmp_path.rglob("*"))
    given = [] if "--baseline" in arguments else ["--baseline", base]
    done = check(base, *given, *arguments)

    assert done.returncode == 2
    assert done.stdout == ""
    assert one_line(done.stderr)
    assert says in done.stderr
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("version", [0, 99, '"1"'])
def test_a_baseline_of_another_format_version_is_status_2_and_writes_nothing(
    check: Check, keep: Keep, base: Path, tmp_path: Path, version: object
) -> None:
    old = keep("old", *measured(LOOPS))
    path = old / "run.json"
    path.write_text(path.read_text().replace('"format_version": 1', f'"format_version": {version}'))
    done = check(base, "--baseline", old, "--junit", "junit.xml")

    assert done.returncode == 2
    assert one_line(done.stderr)
    assert "format" in done.stderr
    assert not (tmp_path / "junit.xml").exists()


def test_a_mistake_in_the_project_is_one_line_that_names_the_file(check: Check, base: Path, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.loopmark.check]\nfalse_alarms = 0.1\n")
    done = check(base, "--baseline", base)

    assert done.returncode == 2
    assert one_line(done.stderr)
    assert "did you mean 'false-alarms'?" in done.stderr
    assert str(tmp_path / "pyproject.toml") in done.stderr


def test_a_check_and_its_help_need_no_torch(base: Path) -> None:
    for arguments in (["--help"], [str(base), "--baseline", str(base)]):
        program = (
            f"import sys\nsys.argv = ['loopmark', 'check', *{arguments!r}]\nfrom loopmark.bench.cli import main\n"
            "try:\n    main()\nfinally:\n    assert not {'torch', 'matplotlib'} & set(sys.modules)\n"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=False)
        assert done.returncode == 0, done.stderr
