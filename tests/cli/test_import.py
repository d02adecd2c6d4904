"""``loopmark import`` on the command line, on files from pytest-benchmark, and on possible ones."""

import copy
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from loopmark.bench.judge.differences import differences, unlike
from loopmark.bench.records import store
from loopmark.bench.records.run import Run
from loopmark.bench.records.samples import Samples
from tests.support.command import ROOT, Here, outside_pytest
from tests.support.histories import keep
from tests.support.hostile import NAMES
from tests.support.synthetic import Truth, make_run

OWN_TESTS = """
import pytest

@pytest.mark.benchmark(group="sums")
@pytest.mark.parametrize("size", [10, 1000])
def test_sum(benchmark, size):
    benchmark.pedantic(sum, (range(size),), rounds=5, iterations=20)
"""


def benchmark(name: str, seconds: float, seed: int, **changes: Any) -> dict[str, Any]:
    """A row with rounds near ``seconds``."""
    data = [seconds * float(noise) for noise in np.random.default_rng(seed).lognormal(0, 0.01, size=9)]
    row = {"name": name, "fullname": f"tests/test_speed.py::{name}", "group": "steps", "extra_info": {}}
    return {**row, "params": None, "options": {}, "stats": {"data": data, "iterations": 1}, **changes}


def stored(*rows: dict[str, Any], **changes: Any) -> dict[str, Any]:
    machine = {
        "node": "somebody", "machine": "x86_64", "python_version": "3.11.7", "system": "Linux", "release": "6.1",
        "cpu": {"brand_raw": "Imaginary CPU", "count": 4, "l2_cache_size": 1},
    }  # fmt: skip
    return {"machine_info": machine, "datetime": "2026-01-01T00:00:00+00:00", "benchmarks": list(rows), **changes}


def launches(folder: Path, other: float = 0.02, count: int = 4, first: int = 0) -> list[Path]:
    """Files with the same two benchmarks, ``test_old`` at 10 ms and ``test_new``."""
    folder.mkdir(exist_ok=True)
    paths = [folder / f"{number}.json" for number in range(count)]
    for number, path in enumerate(paths, start=first):
        rows = benchmark("test_old", 0.01, 2 * number), benchmark("test_new", other, 2 * number + 1)
        path.write_text(json.dumps(stored(*rows)))
    return paths


@pytest.fixture
def imported(here: Here, tmp_path: Path):
    """Import files, and return the folder and its contents."""

    def imports(*arguments: object, out: str = "results") -> tuple[Path, Run, Samples]:
        before = set((tmp_path / out).glob("*/2*"))
        done = here("import", *arguments, "--out", tmp_path / out)
        assert done.returncode == 0, done.stderr
        assert done.stdout == ""
        (folder,) = set((tmp_path / out).glob("*/2*")) - before
        assert f"Kept in {folder}; see: loopmark report {folder}" in done.stderr
        return folder, *store.read(folder)

    return imports


def test_what_pytest_benchmark_wrote_becomes_a_run(imported, tmp_path: Path) -> None:
    (tmp_path / "test_sums.py").write_text(OWN_TESTS)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:loopmark", "test_sums.py"]
    for number in range(2):
        made = [*command, f"--benchmark-json={number}.json"]
        subprocess.run(made, cwd=tmp_path, env=outside_pytest(), check=True, capture_output=True)
    _, run, samples = imported(tmp_path / "0.json", tmp_path / "1.json", "--baseline", "test_sum[10]")

    assert [(case.workload, case.loop, len(case.launches)) for case in run.cases] == [
        ("sums", "test_sum[10]", 2),
        ("sums", "test_sum[1000]", 2),
    ]
    assert run.plan.baseline == "test_sum[10]"
    theirs = json.loads((tmp_path / "1.json").read_text())["benchmarks"][0]["stats"]["data"]
    ours = samples.blocks[(samples.blocks["case"] == 0) & (samples.blocks["launch"] == 1)]
    assert list(ours["host_seconds"] / ours["steps"]) == pytest.approx(theirs)
    assert set(ours["steps"]) == {20}
    assert run.environment.python == ".".join(map(str, sys.version_info[:3]))


def test_each_file_is_a_launch_and_each_round_a_block(imported, tmp_path: Path) -> None:
    _, run, samples = imported(*launches(tmp_path / "a"), "--baseline", "test_old")

    assert [case.loop for case in run.cases] == ["test_old", "test_new"]
    assert run.plan.launches == 4
    assert [launch.steps for launch in run.cases[1].launches] == [9] * 4
    assert samples.blocks.groupby(["case", "launch"]).size().tolist() == [9] * 8


def test_what_the_files_do_not_tell_is_unknown(imported, tmp_path: Path) -> None:
    _, run, samples = imported(*launches(tmp_path / "a"))
    launch = run.cases[0].launches[0]

    assert (launch.setup_seconds, launch.compile_cache, launch.peak_memory_bytes, launch.pid) == (None,) * 4
    assert (run.machine.physical_cores, run.machine.memory_bytes) == (None, None)
    assert (run.environment.torch, run.environment.threads) == (None, None)
    assert run.machine.cpu == "Imaginary CPU"
    assert run.machine.name.startswith("imaginary-")
    assert "somebody" not in (tmp_path / "results" / run.machine.name / run.name / "run.json").read_text()
    assert any("imported from pytest-benchmark" in warning for warning in run.warnings)
    assert any("no noise floor" in warning for warning in run.warnings)
    assert not len(samples.losses)
    assert not len(samples.warmup)


def test_report_shows_the_ratio_with_its_interval_and_calls_nothing_faster(
    here: Here, imported, tmp_path: Path
) -> None:
    folder, _, _ = imported(*launches(tmp_path / "a"), "--baseline", "test_old")
    done = here("report", folder, "--json")
    (workload,) = json.loads(done.stdout)["workloads"]
    case = workload["cases"][1]

    assert done.returncode == 0
    assert case["speedup_low"] < 0.5 < case["speedup_high"]
    assert case["verdict"] == "inconclusive"
    assert case["step_seconds"] == pytest.approx(0.02, rel=0.02)
    assert workload["noise_floor"] is None
    assert here("report", folder).returncode == 0
    page = (folder / "report.md").read_text()
    assert "imported from pytest-benchmark" in page
    assert "None" not in page


def test_check_compares_two_imported_runs(here: Here, imported, tmp_path: Path) -> None:
    before, _, _ = imported(*launches(tmp_path / "a"), "--baseline", "test_old")
    after, _, _ = imported(*launches(tmp_path / "b", other=0.03, first=50), "--baseline", "test_old")
    same, _, _ = imported(*launches(tmp_path / "c", first=90), "--baseline", "test_old")
    slower, unchanged = (here("check", one, "--baseline", before, "--json") for one in (after, same))
    findings = {(f["loop"], f["metric"]): f for f in json.loads(slower.stdout)["findings"]}

    assert findings["test_new", "step / test_old"]["change"]["value"] == pytest.approx(1.5, rel=0.02)
    assert slower.returncode == 3  # no noise floor, so it is not called a regression
    assert unchanged.returncode == 0, unchanged.stdout


def test_history_follows_imported_runs(here: Here, imported, tmp_path: Path) -> None:
    for number in range(3):
        imported(*launches(tmp_path / str(number), first=10 * number), "--baseline", "test_old")
    done = here("history", tmp_path / "results", "--json")
    (series,) = json.loads(done.stdout)["series"]

    assert done.returncode == 0
    assert series["loop"] == "test_new"
    assert len(series["points"]) == 3


def test_importing_and_reporting_need_no_torch(tmp_path: Path) -> None:
    paths = launches(tmp_path / "a")
    program = (
        f"import sys\nsys.argv = ['loopmark', 'import', *{list(map(str, paths))!r}, '--out', {str(tmp_path)!r}]\n"
        "from loopmark.bench.cli import main\n"
        "try:\n    main()\nfinally:\n    assert not {'torch', 'matplotlib'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=False)

    assert done.returncode == 0, done.stderr


def test_an_exported_run_comes_back_with_its_launches_phases_and_noise_floor(here: Here, imported, tmp_path) -> None:
    run, samples = make_run(
        [Truth("eager"), Truth("eager", repeat=True), Truth("amp_bf16", 0.005)], launches=3, rounds=3
    )
    folder = store.create_folder(tmp_path / "first", run.machine.name, run.started)
    store.write(folder, run, samples)
    file = tmp_path / "run.json"
    assert here("export", folder, "--to", "pytest-benchmark", "--output", file).returncode == 0
    _, again, back = imported(file)

    assert [(c.loop, c.repeat, len(c.launches)) for c in again.cases] == [
        ("eager", False, 3), ("eager", True, 3), ("amp_bf16", False, 3),
    ]  # fmt: skip
    assert again.cases[0].phases == run.cases[0].phases
    assert again.cases[0].batch_size == 64
    assert again.machine == run.machine
    assert (again.environment.torch, again.environment.threads) == ("2.13.0", 2)
    for index in range(3):
        ours, theirs = (b[(b["case"] == index) & ~b["lapped"]] for b in (back.blocks, samples.blocks))
        assert list(ours["host_seconds"]) == pytest.approx(list(theirs["host_seconds"] / theirs["steps"]))
    assert len(back.phases) == 6 * samples.blocks["lapped"].sum()
    assert not any("no noise floor" in warning for warning in again.warnings)


def test_phases_that_do_not_fit_their_step_are_left_out_with_a_warning(imported, tmp_path: Path) -> None:
    phase = benchmark("test_old[forward]", 0.004, 1, extra_info={"loopmark": {"phase": "forward"}})
    short = benchmark("test_old[backward]", 0.004, 1, extra_info={"loopmark": {"phase": "backward"}})
    short["stats"]["data"].pop()
    path = tmp_path / "a.json"
    path.write_text(json.dumps(stored(benchmark("test_old", 0.01, 0), phase, short)))
    _, run, samples = imported(path)

    assert [case.loop for case in run.cases] == ["test_old"]
    assert any("the phases of tests/test_speed.py::test_old are left out" in warning for warning in run.warnings)
    assert not len(samples.phases)


def test_without_a_group_the_file_is_the_workload(imported, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    other = benchmark("test_old", 0.01, 0, group=None, fullname="tests/test_other.py::test_old")
    path.write_text(json.dumps(stored(benchmark("test_old", 0.01, 0, group=None), other)))
    _, run, _ = imported(path)

    assert [(c.workload, c.loop) for c in run.cases] == [
        ("tests/test_speed.py", "test_old"),
        ("tests/test_other.py", "test_old"),
    ]
    assert any("one file is one launch" in warning for warning in run.warnings)


def test_benchmarks_of_one_group_and_name_are_told_apart_by_their_files(imported, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    other = benchmark("test_old", 0.01, 0, fullname="tests/test_other.py::test_old")
    path.write_text(json.dumps(stored(benchmark("test_old", 0.01, 0), other)))
    _, run, _ = imported(path, "--baseline", "tests/test_other.py::test_old")

    assert [c.loop for c in run.cases] == ["tests/test_speed.py::test_old", run.plan.baseline]


def test_the_baseline_of_an_exported_run_is_that_of_the_import(here: Here, imported, tmp_path: Path) -> None:
    truths = [Truth("own:step"), Truth("own:step", repeat=True), Truth("eager", 0.02)]
    folder = keep(tmp_path / "results", *make_run(truths, launches=3, baseline="own:step"))
    assert here("export", folder, "--to", "pytest-benchmark", "--output", tmp_path / "a.json").returncode == 0
    _, run, _ = imported(tmp_path / "a.json")

    assert run.plan.baseline == "own:step"


def test_hostile_names_are_shown_as_text(here: Here, imported, tmp_path: Path) -> None:
    rows = [
        benchmark(name, 0.01, number, group=NAMES[number - 1], fullname=f"{number}::{name}")
        for number, name in enumerate(NAMES)
    ]
    path = tmp_path / "a.json"
    path.write_text(json.dumps(stored(*rows)))
    folder, run, _ = imported(path)

    assert len(run.cases) == len(NAMES)
    assert here("report", folder).returncode == 0
    assert "<script>" not in (folder / "report.md").read_text()
    assert folder.parent.parent == tmp_path / "results"


def broken(change: str) -> str:
    """The text of a damaged or hand-made file."""
    whole = stored(benchmark("test_old", 0.01, 0))
    row = whole["benchmarks"][0]
    if change == "no data":
        del row["stats"]["data"]
    elif change == "truncated":
        return json.dumps(whole)[:-40]
    elif change == "deep":
        return "[" * 100_000
    elif change == "deep within":
        return json.dumps(whole).replace('"params": null', '"params": ' + "[" * 100_000)
    elif change.startswith("round "):
        text = json.dumps(whole)
        return text.replace(str(row["stats"]["data"][3]), change.removeprefix("round "))
    elif change.startswith(("{", "[")):
        return change
    else:
        place, _, value = change.partition("=")
        where = {"stats": row["stats"], "file": whole}.get(place.partition(".")[0], row)
        where[place.partition(".")[2]] = json.loads(value)
    return json.dumps(whole)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("no data", "holds no rounds of tests/test_speed.py::test_old"),
        ("stats.data=[]", "repeat it with --benchmark-save-data"),
        ("truncated", "cannot read"),
        ("deep", "cannot read"),
        ("deep within", "cannot read"),
        ("round NaN", "benchmarks[0].stats.data[3] should be a finite number, not nan"),
        ("round 1e999", "should be a finite number, not inf"),
        ("round 1" + "0" * 400, "should be a finite number"),
        ("round -0.01", "a round of tests/test_speed.py::test_old took -0.01 s"),
        ("round 1e300", "took 1e+300 s"),
        ("round true", "should be a finite number, not True"),
        ('round "fast"', "should be a finite number, not 'fast'"),
        ("round null", "should be a finite number, not None"),
        ("round 0", "every benchmark of"),
        ("stats.iterations=0", "9 rounds of 0 iterations"),
        ("stats.iterations=10000000000000000", "9 rounds of 10,000,000,000,000,000 iterations, which is impossible"),
        ('row.extra_info={"loopmark": {"phase": "forward"}}', "holds only phases, without a whole step"),
        ("stats.iterations=10000000000000000000", "a whole number of 64 bits"),
        ('row.extra_info={"loopmark": {"batch_size": 0}}', "tests/test_speed.py::test_old has a batch of 0"),
        ("row.name=3", "benchmarks[0].name should be a str"),
        ("row.stats=[]", "benchmarks[0].stats should be an object"),
        ("file.benchmarks=[]", "holds no benchmark"),
        ("file.benchmarks=[3]", "benchmarks[0] should be an object"),
        ('file.benchmarks={"a": 1}', "is not a file of pytest-benchmark"),
        ("file.machine_info=7", "machine_info should be an object"),
        ('file.datetime="yesterday"', "has no valid datetime"),
        ("file.datetime=7", "datetime should be a str"),
        ("[]", "is not a file of pytest-benchmark"),
        ("{}", "is not a file of pytest-benchmark"),
    ],
)
def test_a_file_that_is_no_good_is_one_clear_line(here: Here, tmp_path: Path, change: str, says: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(broken(change))
    done = here("import", path, "--out", tmp_path / "results")

    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1
    assert says in done.stderr
    assert not (tmp_path / "results").exists()


def test_a_pipe_is_refused_and_never_waited_for(here: Here, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.json")
    (tmp_path / "b.json").symlink_to(tmp_path / "b.json")
    for name, says in (("a.json", "it is a pipe or a device, not a file"), ("b.json", "Too many levels of symbolic")):
        done = here("import", tmp_path / name, "--out", tmp_path / "results")
        assert done.returncode == 2
        assert len(done.stderr.strip().splitlines()) == 1
        assert says in done.stderr


def test_files_that_do_not_belong_together_are_refused(here: Here, tmp_path: Path) -> None:
    first, second = launches(tmp_path / "a", count=2)
    whole = json.loads(second.read_text())
    other_machine = copy.deepcopy(whole)
    other_machine["machine_info"]["cpu"]["brand_raw"] = "Another"
    for content, says in (
        (other_machine, "differ in machine or software; import each separately"),
        ({**whole, "benchmarks": whole["benchmarks"][:1]}, "only one of them has tests/test_speed.py::test_new"),
    ):
        second.write_text(json.dumps(content))
        done = here("import", first, second, "--out", tmp_path / "results")
        assert done.returncode == 2
        assert says in done.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nowhere.json"], "there is no file nowhere.json; make one with pytest --benchmark-json=FILE"),
        (["tests"], "cannot read tests: "),
        (["GOOD", "--baseline", "test_odl"], "no benchmark named 'test_odl'; did you mean 'test_old'?"),
        (["GOOD", "--baseline", ""], "no benchmark named ''; there are test_old, test_new"),
        (["GOOD", "--out", "/proc/none"], "cannot write to /proc/none"),
        ([], "Missing argument"),
    ],
)
def test_bad_input_is_one_clear_line_and_status_2(here: Here, tmp_path: Path, arguments: list[str], says: str) -> None:
    (good,) = launches(tmp_path / "a", count=1)
    done = here("import", *(good if argument == "GOOD" else argument for argument in arguments))

    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert says in done.stderr


def test_a_file_given_twice_is_no_second_launch(tmp_path: Path, here: Here) -> None:
    (path,) = launches(tmp_path / "files", count=1)
    other = tmp_path / "copy.json"
    other.write_bytes(path.read_bytes())
    for again in (path, other):
        done = here("import", path, again, "--out", tmp_path / "out")
        assert done.returncode == 2
        assert f"{again} has the same rounds as {path}; give each launch once" in done.stderr


def test_two_benchmarks_of_one_name_are_refused(tmp_path: Path, here: Here) -> None:
    path = tmp_path / "twice.json"
    path.write_text(json.dumps(stored(benchmark("test_it", 0.01, 0), benchmark("test_it", 0.02, 1))))
    done = here("import", path, "--out", tmp_path / "out")
    assert done.returncode == 2
    assert "has 2 benchmarks called tests/test_speed.py::test_it" in done.stderr


def test_a_file_with_a_byte_order_mark_is_read(tmp_path: Path, here: Here) -> None:
    path = tmp_path / "bom.json"
    path.write_text(json.dumps(stored(benchmark("test_it", 0.01, 0))), encoding="utf-8-sig")
    assert here("import", path, "--out", tmp_path / "out").returncode == 0


def test_phases_of_a_step_that_is_not_there_are_left_out_with_a_warning(imported, tmp_path: Path) -> None:
    phase = benchmark("test_new[forward]", 0.004, 1, extra_info={"loopmark": {"phase": "forward"}})
    path = tmp_path / "a.json"
    path.write_text(json.dumps(stored(benchmark("test_old", 0.01, 0), phase)))
    _, run, _ = imported(path)

    assert [case.loop for case in run.cases] == ["test_old"]
    assert "the phases of tests/test_speed.py::test_new are left out: there is no whole step of it" in run.warnings


def test_files_that_were_imported_before_make_no_second_run(here: Here, imported, tmp_path: Path) -> None:
    paths = launches(tmp_path / "a", count=2)
    folder, *_ = imported(*paths)
    moved = [path.rename(tmp_path / f"moved-{path.name}") for path in paths]
    again = here("import", *moved, "--out", tmp_path / "results")

    assert again.returncode == 0
    assert f"Was imported before; it is in {folder}; see: loopmark report {folder}" in again.stderr
    other, *_ = imported(*moved, "--baseline", "test_old")  # this is another run of the same rounds
    assert other != folder


def measured_on(out: Path, **facts: object) -> Path:
    """A run measured by Loopmark itself on the machine of ``stored``, except for ``facts``."""
    run, samples = make_run([Truth("eager")], launches=2, rounds=1)
    run = replace(run, machine=replace(run.machine, **facts))
    folder = store.create_folder(out, run.machine.name, run.started)
    store.write(folder, run, samples)
    return folder.parent


def test_a_file_is_of_the_one_machine_known_that_has_all_it_tells(imported, tmp_path: Path) -> None:
    machine = measured_on(tmp_path / "results")
    measured_on(tmp_path / "results", logical_cores=128)
    folder, run, _ = imported(*launches(tmp_path / "a", count=2))

    assert folder.parent == machine
    assert run.machine.memory_bytes == 16 * 2**30
    assert any(f"assigned to {machine.name}, the only known machine" in warning for warning in run.warnings)


def test_a_file_that_could_be_of_two_machines_or_of_another_is_of_its_own(imported, tmp_path: Path) -> None:
    two = [measured_on(tmp_path / "two", memory_bytes=size * 2**30) for size in (16, 64)]
    other = measured_on(tmp_path / "other", cpu="Another CPU")
    files = launches(tmp_path / "a", count=2)

    assert imported(*files, out="two")[0].parent not in two
    folder, run, _ = imported(*files, out="other")
    assert folder.parent != other
    assert run.machine.memory_bytes is None


def test_what_an_imported_run_does_not_tell_is_never_told_to_differ(imported, tmp_path: Path) -> None:
    native, _ = make_run([Truth("eager")], launches=2, rounds=1)
    _, run, _ = imported(*launches(tmp_path / "a", count=2))

    told = " ".join(differences(native, run))
    assert "none" not in told
    assert "torch" not in told
    assert "seed" not in told
    assert "package" not in told
    newer = replace(run, environment=replace(run.environment, python="3.12.0"))
    assert differences(native, newer)[0] == "Python 3.11.7 → 3.12.0"
    assert "unknown" not in {value for values in unlike([run, newer]).values() for value in values}
    assert unlike([native, newer])["Python"] == ("3.11.7", "3.12.0")
