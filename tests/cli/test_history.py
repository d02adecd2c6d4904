"""``loopmark history`` on the command line, on runs that were never measured."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.support.command import ROOT, Here
from tests.support.histories import dated, day, keep, keep_runs
from tests.support.synthetic import Truth, machine, make_run

FASTER, SLOWER = 0.005, 0.006


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve runs; the last six are of another revision with a slower loop."""
    root = tmp_path_factory.mktemp("results")
    keep_runs(root, [FASTER] * 6 + [SLOWER] * 6, changed_at=6)
    return root


def test_the_run_at_which_a_loop_became_slower_is_named_with_its_revision(
    here: Here, kept: Path, tmp_path: Path
) -> None:
    done = here("history", kept, "--out", tmp_path / "out")

    assert done.returncode == 0, done.stderr
    assert f"slower by 17 % since {day(6):%Y%m%d-%H%M%S}" in done.stdout
    assert "revision abc1234 → def5678" in done.stdout
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "history.csv",
        "history.html",
        "history.md",
        "plots",
    }
    assert not (kept / "history").exists()


def test_the_page_links_a_change_to_its_run_and_to_its_revision_where_the_repository_has_it(
    here: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git = ["git", "-c", "user.name=a", "-c", "user.email=b", "-C", str(tmp_path)]
    for command in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "x"]):
        subprocess.run([*git, *command], check=True)
    subprocess.run([*git, "remote", "add", "origin", "https://me:secret@github.com/some/one.git"], check=True)
    commit = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    folders = keep_runs(tmp_path / "results", [FASTER] * 4 + [SLOWER] * 4, changed_at=4)
    for folder in folders[4:]:
        place = folder / "run.json"
        place.write_text(place.read_text().replace("def5678", f"{commit[:12]}+changes"))
    (folders[4] / "report.html").touch()
    monkeypatch.chdir(tmp_path)
    done = here("history", "results")
    page = Path("results/history/history.html").read_text()

    assert done.returncode == 0, done.stderr
    assert f'<a href="https://github.com/some/one/commit/{commit[:12]}">{commit[:12]}+changes</a>' in page
    assert f'<a href="../{folders[4].parent.name}/{folders[4].name}/report.html">' in page
    assert ">abc1234<" in page
    assert "secret" not in page


def test_json_is_all_that_standard_output_gets(here: Here, kept: Path, tmp_path: Path) -> None:
    done = here("history", kept, "--json", "--out", tmp_path)
    (series,) = json.loads(done.stdout)["series"]

    assert done.returncode == 0, done.stderr
    assert (series["loop"], len(series["points"])) == ("amp_bf16", 12)
    (change,) = series["changes"]
    assert (change["run"], change["direction"]) == (f"{day(6):%Y%m%d-%H%M%S}", "slower")


def test_the_default_place_is_beside_the_runs_and_is_no_run_when_they_are_looked_for_again(
    here: Here, tmp_path: Path
) -> None:
    (folder,) = keep_runs(tmp_path, [FASTER])
    first = here("history", tmp_path, "--json")
    second = here("history", tmp_path, "--json")

    assert (tmp_path / "history" / "history.csv").exists()
    assert first.stdout == second.stdout
    assert here("history", folder).returncode == 0
    assert here("history", folder.parent).returncode == 0


def test_a_damaged_run_is_named_and_the_others_are_read(here: Here, tmp_path: Path) -> None:
    folders = keep_runs(tmp_path, [FASTER] * 4)
    (folders[0] / "run.json").write_text("{")
    (folders[1] / "blocks.parquet").write_bytes(b"PAR1")
    done = here("history", tmp_path, "--json")

    assert done.returncode == 0
    assert json.loads(done.stdout)["runs"] == 2
    assert len(json.loads(done.stdout)["warnings"]) == 2
    assert all(str(folder) in done.stderr for folder in folders[:2])


def test_a_run_that_does_not_say_when_it_started_is_left_out(here: Here, tmp_path: Path) -> None:
    keep_runs(tmp_path, [FASTER] * 2)
    path = next(tmp_path.glob("*/*/run.json"))
    path.write_text(path.read_text().replace('"started": "2026', '"started": "some day in 2026'))
    done = here("history", tmp_path, "--json")

    assert json.loads(done.stdout)["runs"] == 1
    assert "has no valid start time" in done.stderr


def test_a_folder_of_damaged_runs_alone_is_bad_input(here: Here, tmp_path: Path) -> None:
    (folder,) = keep_runs(tmp_path, [FASTER])
    (folder / "run.json").write_text("{")
    done = here("history", tmp_path)

    assert done.returncode == 2
    assert str(folder) in done.stderr


def test_a_copy_of_a_run_counts_once(here: Here, tmp_path: Path) -> None:
    (folder,) = keep_runs(tmp_path, [FASTER])
    shutil.copytree(folder, tmp_path / "copy")
    done = here("history", tmp_path, "--json")

    assert json.loads(done.stdout)["runs"] == 1
    assert "is a copy of" in done.stderr


def test_runs_of_two_machines_are_two_series(here: Here, tmp_path: Path) -> None:
    for number in range(4):
        run, samples = make_run([Truth("eager"), Truth("tf32", 0.005 + 0.002 * (number % 2))], launches=2, rounds=2)
        hardware = machine() if number % 2 else replace(machine(), cpu="Another CPU")
        keep(tmp_path, replace(dated(run, number), machine=hardware), samples)
    found = json.loads(here("history", tmp_path, "--json").stdout)["series"]

    assert [len(series["points"]) for series in found] == [2, 2]
    assert len({series["machine"] for series in found}) == 2
    assert len(list((tmp_path / "history" / "plots").glob("*.png"))) == 2


def test_only_what_is_asked_for_is_shown_whatever_the_order_of_its_techniques(here: Here, tmp_path: Path) -> None:
    truths = [Truth("eager"), Truth("amp_bf16+compile", 0.004), Truth("tf32", 0.005)]
    run, samples = make_run(truths, ("resnet", "gpt"), launches=2, rounds=2)
    keep(tmp_path, dated(run, 0), samples)
    done = here("history", tmp_path, "--json", "--workload", "gpt", "--loop", "compile+amp_bf16")

    (series,) = json.loads(done.stdout)["series"]
    assert (series["workload"], series["loop"]) == ("gpt", "amp_bf16+compile")


def test_a_loop_whose_loss_was_not_finite_is_left_out_with_the_reason(here: Here, tmp_path: Path) -> None:
    run, samples = make_run([Truth("eager"), Truth("amp_fp16", 0.004), Truth("tf32", 0.005)], launches=2, rounds=2)
    losses = samples.losses.copy()
    losses.loc[losses["case"] == 1, "loss"] = np.nan
    keep(tmp_path, dated(run, 0), replace(samples, losses=losses))
    done = here("history", tmp_path, "--json")

    assert [series["loop"] for series in json.loads(done.stdout)["series"]] == ["tf32"]
    assert "amp_fp16 on resnet is left out" in done.stderr


def test_a_run_whose_eager_no_longer_trains_has_no_ratio_to_it(here: Here, tmp_path: Path) -> None:
    run, samples = make_run([Truth("eager"), Truth("tf32", 0.005)], launches=2, rounds=2)
    losses = samples.losses.copy()
    losses.loc[losses["case"] == 0, "loss"] = np.nan
    keep(tmp_path, dated(run, 0), replace(samples, losses=losses))
    done = here("history", tmp_path, "--json")

    assert json.loads(done.stdout)["series"] == []
    assert "resnet is left out, since eager's loss was not finite" in done.stderr


def test_a_loop_that_only_a_damaged_run_has_is_known_and_the_damage_is_told(here: Here, tmp_path: Path) -> None:
    run, samples = make_run([Truth("eager"), Truth("compile", 0.005)], launches=2, rounds=2)
    keep(tmp_path, dated(run, 0), samples)
    other, other_samples = make_run([Truth("eager"), Truth("tf32", 0.005)], launches=2, rounds=2)
    (keep(tmp_path, dated(other, 1), other_samples) / "blocks.parquet").write_bytes(b"no table")
    done = here("history", tmp_path, "--json", "--loop", "tf32")

    assert done.returncode == 0
    assert json.loads(done.stdout)["series"] == []
    assert "left out: cannot read" in done.stderr


def test_a_run_from_before_all_dates_is_left_out_and_the_others_are_told(here: Here, tmp_path: Path) -> None:
    run, samples = make_run([Truth("eager"), Truth("tf32", 0.005)], launches=2, rounds=2)
    for number in range(2):
        keep(tmp_path, dated(run, number), samples)
    keep(tmp_path, replace(dated(run, 2), started="0001-01-01T00:00:00+14:00"), samples)
    done = here("history", tmp_path, "--json")

    (series,) = json.loads(done.stdout)["series"]
    assert len(series["points"]) == 2
    assert "has no valid start time" in done.stderr


def test_runs_without_eager_have_nothing_to_show_and_say_so(here: Here, tmp_path: Path) -> None:
    run, samples = make_run([Truth("tf32", 0.004)], launches=2, rounds=2)
    keep(tmp_path, dated(run, 0), samples)
    done = here("history", tmp_path)

    assert done.returncode == 0
    assert "eager was not measured" in done.stderr
    assert "there is no ratio to follow" in done.stdout


def test_runs_of_which_nothing_was_measured_are_no_runs_of_a_history_and_one_line_counts_them(
    here: Here, tmp_path: Path
) -> None:
    keep_runs(tmp_path, [FASTER] * 4)
    failed = [Truth(loop, status="failed", reason="no such file") for loop in ("eager", "amp_bf16")]
    for number in (4, 5):
        run, samples = make_run(failed, launches=2, rounds=2, seed=number)
        keep(tmp_path, dated(run, number), samples)
    told = json.loads(here("history", tmp_path, "--json").stdout)

    assert told["runs"] == 4
    assert [len(series["points"]) for series in told["series"]] == [4]
    (warning,) = told["warnings"]
    assert warning.startswith("2 runs: left out: nothing was measured (")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nowhere"], "nowhere is not a folder"),
        (["tests"], "tests holds no run"),
        (["results", "--loop", "nonsense"], "no loop named 'nonsense' in these runs; they have"),
        (["results", "--workload", ""], "no workload named ''"),
        (["results", "--out", "/proc/none"], "--out"),
        ([], "Missing argument"),
    ],
)
def test_bad_input_is_one_clear_line_and_status_2(here: Here, arguments: list[str], says: str) -> None:
    done = here("history", *arguments)

    assert done.returncode == 2
    assert done.stdout == ""
    assert says in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_a_history_is_told_without_torch(kept: Path, tmp_path: Path) -> None:
    program = (
        "import sys\n"
        f"sys.argv = ['loopmark', 'history', {str(kept)!r}, '--out', {str(tmp_path)!r}]\n"
        "from loopmark.bench.cli import main\n"
        "try:\n    main()\n"
        "finally:\n    assert 'torch' not in sys.modules, 'torch was imported'\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=False)

    assert done.returncode == 0, done.stderr
    assert "slower by" in done.stdout


def test_a_run_s_folder_is_no_place_for_a_history(here: Here, kept: Path) -> None:
    (run, *_) = sorted(path.parent for path in kept.rglob("run.json"))
    before = {path.name for path in run.iterdir()}
    done = here("history", kept, "--out", run)
    assert (done.returncode, done.stderr.splitlines()) == (
        2, [f"loopmark: {run} is the folder of a run; choose another --out"],
    )  # fmt: skip
    assert {path.name for path in run.iterdir()} == before
