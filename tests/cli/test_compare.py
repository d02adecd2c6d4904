"""``loopmark compare`` on the command line, on runs that were never measured."""

import csv
import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from loopmark.bench.records import store
from loopmark.bench.records.ceilings import CEILINGS_FILE
from loopmark.bench.records.files import write_record
from loopmark.bench.records.store import run_folders
from tests.support.command import ROOT, Here, here
from tests.support.histories import dated, keep
from tests.support.side_by_side import on
from tests.support.synthetic import Truth, ceilings, make_run

__all__ = ["here"]
AMD, XEON = "amd-epyc-2-core", "xeon-2-core"


def kept(root: Path, cpu: str, number: int, step: float = 0.005, *, batch: int = 64, loop: str = "tf32") -> Path:
    """A run on that processor and day: eager takes 10 ms a step, and the loop ``step`` seconds."""
    truths = [Truth("eager"), Truth("eager", repeat=True), Truth(loop, step)]
    run, samples = make_run(truths, launches=3, rounds=3, steps=1, seed=number, launch_noise=0.002, block_noise=0.002)
    run = replace(on(cpu, dated(run, number)), cases=tuple(replace(case, batch_size=batch) for case in run.cases))
    return keep(root, run, samples)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two machines, one with two runs."""
    root = tmp_path_factory.mktemp("results")
    kept(root, "AMD EPYC", 0, 0.020)
    kept(root, "AMD EPYC", 5, 0.005)
    kept(root / "reference", "Xeon", 2, 0.020)
    return root


def compared(here: Here, *arguments: object, out: Path) -> dict[str, object]:
    done = here("compare", *arguments, "--json", "--out", out)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def test_the_newest_run_of_each_machine_counts_and_the_others_are_counted(
    here: Here, two: Path, tmp_path: Path
) -> None:
    done = here("compare", two, "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"tf32 is faster on {AMD} (" in done.stdout
    assert f", costs on {XEON} (0." in done.stdout
    assert f"older ones are not shown: 1 of {AMD}" in done.stdout
    assert {path.name for path in tmp_path.iterdir()} == {
        "compare.csv", "before_after.csv", "compare.md", "compare.html", "plots",
    }  # fmt: skip


def test_json_is_all_that_standard_output_gets(here: Here, two: Path, tmp_path: Path) -> None:
    found = compared(here, two, out=tmp_path)
    assert found["kind"] == "machines"
    assert [entrant["entrant"] for entrant in found["entrants"]] == [AMD, XEON]  # type: ignore[index, attr-defined]


def test_the_comparison_is_taken_for_no_run_and_ignored_by_git(here: Here, two: Path) -> None:
    before = run_folders(two, pytest.fail)
    compared(here, two, out=two / "comparison")
    assert run_folders(two, pytest.fail) == before
    ignored = subprocess.run(
        ["git", "check-ignore", "results/comparison/compare.csv", "results/reference/comparison/compare.md"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert len(ignored.stdout.splitlines()) == 2


def test_two_runs_of_one_machine_are_before_and_after_with_the_ratio_of_their_speedups(
    here: Here, tmp_path: Path
) -> None:
    newer, older = kept(tmp_path, "AMD EPYC", 5, 0.005), kept(tmp_path, "AMD EPYC", 0, 0.010)
    found = compared(here, newer, older, out=tmp_path / "out")
    _, shift = found["shifts"]  # type: ignore[misc]

    assert found["kind"] == "before and after"
    assert [entrant["run"] for entrant in found["entrants"]] == [older.name, newer.name]  # type: ignore[attr-defined]
    assert shift["ratio_low"] < 2 < shift["ratio_high"]
    done = here("compare", newer, older, "--out", tmp_path / "out")
    assert "No regression is claimed here" in done.stdout
    assert "faster on" not in done.stdout
    rows = list(csv.DictReader((tmp_path / "out" / "before_after.csv").open()))
    assert [(row["loop"], row["unit"], row["run_before"], row["run_after"]) for row in rows] == [
        ("eager", "seconds a step", older.name, newer.name),
        ("tf32", "speedup over the baseline", older.name, newer.name),
    ]
    assert float(rows[1]["ratio"]) == shift["ratio"]


def test_of_many_runs_of_one_machine_the_oldest_and_the_newest_are_shown_and_the_history_named(
    here: Here, tmp_path: Path
) -> None:
    folders = [kept(tmp_path, "AMD EPYC", number) for number in range(9)]
    found = compared(here, tmp_path, out=tmp_path / "out")
    shown = [entrant["run"] for entrant in found["entrants"]]  # type: ignore[attr-defined]
    assert shown == [folder.name for folder in (folders[0], *folders[-5:])]
    assert "3 runs in between are not shown; `loopmark history DIR`" in str(found["notes"])


def test_a_run_that_cannot_be_read_is_a_warning_and_the_next_older_one_counts(here: Here, tmp_path: Path) -> None:
    older, newest = kept(tmp_path, "AMD EPYC", 0), kept(tmp_path, "AMD EPYC", 1)
    xeon, broken = kept(tmp_path, "Xeon", 0), kept(tmp_path, "Xeon", 1)
    content = (newest / "blocks.parquet").read_bytes()
    (newest / "blocks.parquet").write_bytes(content[: len(content) // 2])
    (broken / "run.json").write_text("{")
    found = compared(here, tmp_path, tmp_path / "nothing", out=tmp_path / "out")

    assert [entrant["folder"] for entrant in found["entrants"]] == [str(older), str(xeon)]  # type: ignore[attr-defined]
    warnings = "\n".join(found["warnings"])  # type: ignore[arg-type]
    assert all(str(path) in warnings for path in (newest, broken, tmp_path / "nothing"))


def test_what_many_runs_are_warned_of_is_one_line_that_counts_them_and_names_the_first(
    here: Here, tmp_path: Path
) -> None:
    folder = kept(tmp_path, "AMD EPYC", 0)
    for number in range(9):
        shutil.copytree(folder, tmp_path / "copies" / str(number))
        broken = tmp_path / "broken" / str(number)
        broken.mkdir(parents=True)
        (broken / "run.json").write_text("{")
    found = compared(here, tmp_path, out=tmp_path / "out")
    unreadable, copies = sorted(found["warnings"])  # type: ignore[call-overload]

    assert unreadable.startswith("9 runs: left out: cannot read run.json: ")
    assert copies.startswith("9 runs: left out: it is a copy of ")
    assert unreadable.endswith(f"({', '.join(str(tmp_path / 'broken' / str(n)) for n in range(3))} and 6 more)")


def test_one_folder_given_twice_counts_once_and_so_does_a_copy(here: Here, tmp_path: Path) -> None:
    folder = kept(tmp_path / "a", "AMD EPYC", 0)
    shutil.copytree(folder, tmp_path / "copy")
    found = compared(here, folder, folder.parent / ".." / folder.parent.name, tmp_path / "copy", out=tmp_path / "out")

    assert len(found["entrants"]) == 1  # type: ignore[arg-type]
    first, second = found["warnings"]  # type: ignore[misc]
    assert "is given twice, and counts once" in first
    assert "it is a copy of" in second


def test_other_work_under_one_name_is_named_before_the_figures(here: Here, tmp_path: Path) -> None:
    kept(tmp_path, "AMD EPYC", 0)
    kept(tmp_path, "Xeon", 0, batch=256)
    done = here("compare", tmp_path, "--out", tmp_path / "out")
    assert f"not the same work, so only ratios to eager compare: {AMD}: small, batch of 64" in done.stdout
    assert done.stdout.index("not the same work") < done.stdout.index("samples/s")


def test_runs_with_nothing_in_common_are_one_line_and_still_shown(here: Here, tmp_path: Path) -> None:
    first = kept(tmp_path, "AMD EPYC", 0)
    run, samples = make_run([Truth("eager"), Truth("compile")], ("gpt",), launches=2, rounds=2)
    second = keep(tmp_path, on("Xeon", dated(run, 1)), samples)
    done = here("compare", first, second, "--out", tmp_path / "out")
    assert done.returncode == 0
    assert done.stdout.startswith("Nothing in common")
    assert done.stdout.splitlines()[-1] == done.stdout.splitlines()[0]
    assert "compile" in done.stdout


def test_two_runs_of_one_machine_with_nothing_in_common_are_not_sent_to_check(here: Here, tmp_path: Path) -> None:
    first = kept(tmp_path, "AMD EPYC", 0)
    run, samples = make_run([Truth("eager"), Truth("compile")], ("gpt",), launches=2, rounds=2)
    second = keep(tmp_path, on("AMD EPYC", dated(run, 1)), samples)
    done = here("compare", first, second, "--out", tmp_path / "out")
    assert done.stdout.splitlines()[-1].startswith("Nothing in common")
    assert "loopmark check" not in done.stdout + (tmp_path / "out" / "compare.html").read_text()


def test_one_machine_alone_is_its_table_what_pays_there_and_how_to_add_another(here: Here, tmp_path: Path) -> None:
    done = here("compare", "results/reference", "--workload", "resnet", "--out", tmp_path)
    assert done.returncode == 0
    assert done.stdout.startswith("Only one run: give a second one")
    assert re.search(rf"^resnet: channels_last pays on {AMD} \(1\.\d+x \[1\.\d+, 1\.\d+\]\)\.$", done.stdout, re.M)


def test_each_machine_s_own_ceilings_are_used_and_those_of_another_are_not(here: Here, tmp_path: Path) -> None:
    own, other = kept(tmp_path, "Imaginary CPU", 0), kept(tmp_path, "Xeon", 0)
    for folder in (own, other):
        write_record(folder / CEILINGS_FILE, ceilings())
    found = compared(here, tmp_path, out=tmp_path / "out")
    (workload,) = found["workloads"]  # type: ignore[misc]
    shares = {row["folder"]: row["share_of_limit"] for row in workload["loops"] if row["loop"] == "eager"}

    assert shares[str(own)] > 0
    assert shares[str(other)] is None
    reason = f"{CEILINGS_FILE} belongs to another device"
    assert f"{other}: the ceilings of its device are not known: {reason}" in str(found["warnings"])


def test_only_what_is_asked_for_is_shown_and_eager_beside_it(here: Here, tmp_path: Path) -> None:
    run, samples = make_run(
        [Truth("eager"), Truth("amp_bf16+compile"), Truth("tf32")], ("resnet", "gpt"), launches=2, rounds=2
    )
    folder = keep(tmp_path, dated(run, 0), samples)
    asked = ("--workload", "gpt", "--loop", "compile+amp_bf16")
    (workload,) = compared(here, folder, *asked, out=tmp_path / "out")["workloads"]  # type: ignore[misc]
    assert (workload["workload"], [row["loop"] for row in workload["loops"]]) == ("gpt", ["eager", "amp_bf16+compile"])


def test_a_machine_whose_newest_run_lacks_what_is_asked_for_is_shown_by_an_older_one(
    here: Here, tmp_path: Path
) -> None:
    older = kept(tmp_path, "AMD EPYC", 0)
    kept(tmp_path, "AMD EPYC", 1, loop="compile")
    kept(tmp_path, "Xeon", 0)
    found = compared(here, tmp_path, "--loop", "tf32", out=tmp_path / "out")
    assert found["entrants"][0]["run"] == older.name  # type: ignore[index]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["nowhere"], "nowhere is not a folder"),
        (["tests"], "tests holds no run"),
        (["results/reference", "--loop", "amp"], "no loop named 'amp' in these runs; they have"),
        (["results/reference", "--workload", "x"], "no workload named 'x' in these runs; they have"),
    ],
)
def test_bad_input_is_one_line_and_exit_status_two(here: Here, tmp_path: Path, arguments: list[str], line: str) -> None:
    done = here("compare", *arguments, "--out", tmp_path)
    assert done.returncode == 2
    assert line in done.stderr
    assert "Traceback" not in done.stderr


def test_hostile_run_names_stay_apart(here: Here, tmp_path: Path) -> None:
    folders = []
    for number in range(2):
        folder = kept(tmp_path, "AMD EPYC", number)
        run, samples = store.read(folder)
        store.write(folder, replace(run, name="<script>🎉../" + "a" * 10_000), samples)
        folders.append(folder)
    found = compared(here, *folders, out=tmp_path / "out")
    names = [entrant["entrant"] for entrant in found["entrants"]]  # type: ignore[attr-defined]
    assert len(set(names)) == 2
    assert all(len(name) <= 30 for name in names)


def test_neither_torch_nor_the_drawing_is_imported_before_the_command_runs() -> None:
    code = (
        "import sys, loopmark.bench.cli; print([m for m in ('torch', 'pandas', 'matplotlib', 'scipy', 'jinja2') "
        "if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"


def test_comparing_runs_imports_no_torch(two: Path, tmp_path: Path) -> None:
    code = (
        f"import sys; sys.argv = ['loopmark', 'compare', {str(two)!r}, '--out', {str(tmp_path)!r}]\n"
        "from loopmark.bench.cli import main\ntry:\n    main()\nexcept SystemExit as end:\n"
        "    assert not end.code and 'torch' not in sys.modules, end.code"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr


def test_runs_with_different_baselines_are_shown_without_speedups_and_one_line_says_why(
    here: Here, tmp_path: Path
) -> None:
    for number, name in enumerate(("eager", "own:step")):
        truths = [Truth(name), Truth(name, repeat=True), Truth("tf32", 0.005)]
        run, samples = make_run(truths, launches=3, rounds=3, steps=1, seed=number, baseline=name)
        keep(tmp_path, dated(run, number), samples)
    done = here("compare", tmp_path, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    why = "speedups are not shown side by side: ratios to different baselines do not compare (eager in 2026"
    assert [line for line in done.stdout.splitlines() if "speedups" in line and line.startswith(why)]
    assert "x [" not in done.stdout
    assert not [*(tmp_path / "out" / "plots").glob("speedups-*")]
    assert "trains as the baseline" in (tmp_path / "out" / "compare.md").read_text()
