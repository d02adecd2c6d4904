"""A measured loop in pytest-benchmark's table, files and comparison."""

import csv
import sys
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from pytest_benchmark.session import BenchmarkSession
from pytest_benchmark.stats import Metadata
from pytest_benchmark.timers import default_timer
from pytest_benchmark.utils import NameWrapper

from loopmark.bench.records.imported import run_of
from loopmark.bench.records.pytest_benchmark import read_stored
from tests.plugin.conftest import Project
from tests.support.synthetic import PHASES

ROWS = ["test_step", *(f"test_step[{phase}]" for phase in PHASES)]
DASHED = [f"-{phase}" for phase in PHASES]
TWO_LOOPS = """
import pytest

@pytest.mark.parametrize("loop", ["eager", "amp_bf16"])
def test_step(loop_benchmark, loop):
    loop_benchmark("resnet", loop)
"""


def test_the_step_and_each_of_its_phases_are_rows_in_seconds_a_step(project: Project) -> None:
    project.seconds = {"amp_bf16": 0.005}
    rows = project.rows()
    total = rows["test_step"]["stats"]

    assert list(rows) == ROWS
    assert total["median"] == pytest.approx(0.005, rel=0.3)
    assert total["rounds"] == len(total["data"]) == 5 * 4 * 2  # launches, rounds, blocks without laps
    assert sum(rows[row]["stats"]["mean"] for row in ROWS[1:]) == pytest.approx(total["mean"], rel=0.02)
    for phase, share in PHASES.items():
        assert rows[f"test_step[{phase}]"]["stats"]["mean"] == pytest.approx(total["mean"] * share, rel=0.05)


def test_the_data_of_the_total_are_the_seconds_that_were_measured(project: Project, monkeypatch) -> None:
    kept = []
    measure = project.measure
    monkeypatch.setattr(
        "loopmark.bench.plugin.loop_benchmark.measure", lambda *given: kept.append(measure(*given)) or kept[-1]
    )
    rows = project.rows()

    assert rows["test_step"]["stats"]["data"] == kept[0].rounds("amp_bf16")
    assert rows["test_step[forward]"]["stats"]["data"] == kept[0].phase_rounds("amp_bf16")["forward"]


def test_an_import_of_the_file_has_the_launches_and_the_phases(project: Project) -> None:
    project.rows(test=TWO_LOOPS)
    run, samples = run_of([read_stored(Path("rows.json"))], None, "loopmark import rows.json")

    assert [(case.workload, case.loop) for case in run.cases] == [("resnet", "eager"), ("resnet", "amp_bf16")]
    assert [len(case.launches) for case in run.cases] == [5, 5]
    assert run.cases[0].phases == tuple(PHASES)
    assert run.plan.device == "cpu"
    assert samples.blocks.groupby(["case", "launch", "lapped"]).size().tolist() == [4 * 2] * 2 * 5 * 2
    assert len(samples.phases) == 2 * 5 * 4 * 2 * len(PHASES)


def test_a_workload_has_one_table_of_its_steps_and_one_of_their_phases(project: Project) -> None:
    project.seconds = {"amp_bf16": 0.005}  # so that it comes first
    done = project.run(test=TWO_LOOPS)

    done.assert_outcomes(passed=2)
    done.stdout.fnmatch_lines(["*benchmark 'resnet': 2 tests*", "test_step?amp_bf16]*", "test_step?eager]*"])
    done.stdout.fnmatch_lines(["*benchmark 'resnet phases': 12 tests*", "test_step?*-loss]*"])


def test_a_group_of_the_tests_own_is_kept(project: Project) -> None:
    marked = (
        "import pytest\n\n@pytest.mark.benchmark(group='mine', min_rounds=3)"
        + """
def test_step(loop_benchmark):
    loop_benchmark("resnet", "amp_bf16")
"""
    )
    rows = project.rows(test=marked)

    assert rows["test_step"]["group"] == "mine"
    assert rows["test_step[loss]"]["group"] == "mine phases"
    assert rows["test_step"]["stats"]["mean"] == pytest.approx(0.010, rel=0.3)


@pytest.mark.parametrize(
    ("by", "groups"),
    [
        ("group", ["resnet", "resnet phases"]),
        ("name", sorted(f"test_step[{loop}{dash}]" for loop in ("eager", "amp_bf16") for dash in ["", *DASHED])),
        ("func", ["test_step"]),
        ("fullfunc", ["test_speed.py::test_step"]),
        ("param:phase", sorted(f"phase={phase}" for phase in ["step", *PHASES])),
        ("param:loop", ["loop=amp_bf16", "loop=eager"]),
    ],
)  # fmt: skip
def test_rows_are_grouped_as_those_of_any_test(project: Project, by: str, groups: list[str]) -> None:
    done = project.run(f"--benchmark-group-by={by}", test=TWO_LOOPS)

    assert done.ret == 0
    shown = [line.split("'")[1] for line in done.outlines if " benchmark '" in line]
    assert shown == groups


def test_a_stored_run_is_compared_phase_by_phase(project: Project) -> None:
    project.run("--benchmark-save=before")
    done = project.run("--benchmark-compare")

    assert done.ret == 0
    for name in ROWS:
        assert len([line for line in done.outlines if line.startswith(f"{name} (")]) == 2
    done.stdout.no_fnmatch_line("*machine_info is different*")


def test_compare_fail_is_asked_of_every_phase(project: Project) -> None:
    project.run("--benchmark-save=before")
    project.seconds = {"eager": 0.020, "amp_bf16": 0.020}  # twice as slow, but equal to eager: another machine
    done = project.run("--benchmark-compare", "--benchmark-compare-fail=mean:50%")

    assert done.ret != 0
    assert "FAILED" not in done.stdout.str()
    regressed = [line.strip() for line in [*done.outlines, *done.errlines] if "has failed PercentageRegression" in line]
    assert len(regressed) >= len(ROWS)
    assert any(line.startswith("test_step[backward]") for line in regressed)


def test_the_csv_has_the_phases(project: Project) -> None:
    project.run("--benchmark-save=before")
    project.pytester.run(sys.executable, "-m", "pytest_benchmark", "compare", "--csv=rows.csv")
    with Path("rows.csv").open() as file:
        rows = list(csv.DictReader(file))

    assert {row["name"] for row in rows} == {f"test_speed.py::{name}" for name in ROWS}
    assert {row["param:phase"] for row in rows} == {"step", *PHASES}
    assert all(float(row["mean"]) > 0 for row in rows)


def test_the_files_know_gpu_driver_and_torch(project: Project) -> None:
    project.rows()
    facts = project.json("rows.json")["machine_info"]["loopmark"]

    assert set(facts) == {"gpus", "driver", "torch", "cuda", "physical_cores"}
    assert facts["torch"].startswith("2.")


def test_rows_of_other_tests_stay_as_they_are(project: Project) -> None:
    other = "def test_other(benchmark):\n    benchmark(sum, [1, 2])\n\ndef test_step(loop_benchmark):\n"
    rows = project.rows(test=other + "    loop_benchmark('resnet', 'amp_bf16')\n")

    assert list(rows) == ["test_other", *ROWS]
    assert rows["test_other"]["extra_info"] == {}


def make_rows_of_fixtures_only(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Metadata.__init__

    def init(self, fixture, iterations, options):
        if not isinstance(fixture, BenchmarkFixture):
            raise TypeError("a row needs a BenchmarkFixture")
        made(self, fixture, iterations, options)

    monkeypatch.setattr(Metadata, "__init__", init)


def show_a_copy_of_the_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    class Copy(list[object]):
        def __init__(self, rows: list[object]) -> None:
            super().__init__(rows)
            self.append = rows.append  # type: ignore[method-assign]

    def rows(self) -> list[object]:
        return Copy(self.__dict__.setdefault("_rows", []))

    monkeypatch.setattr(BenchmarkSession, "benchmarks", property(rows, lambda self, value: None), raising=False)


def answer_without_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = Metadata.as_dict

    def as_dict(self, **given):
        return {key: value for key, value in answer(self, **given).items() if key != "fullname" or "[" not in value}

    monkeypatch.setattr(Metadata, "as_dict", as_dict)


@pytest.mark.parametrize(
    ("differ", "missing"),
    [
        (make_rows_of_fixtures_only, "TypeError: a row needs a BenchmarkFixture"),
        (show_a_copy_of_the_rows, "BenchmarkSession.benchmarks does not keep the rows that it is given"),
        (answer_without_a_name, "KeyError: 'fullname'"),
    ],
)
def test_where_its_internals_differ_it_says_so_once_and_keeps_to_what_is_public(
    project: Project, monkeypatch, differ, missing
) -> None:
    differ(monkeypatch)
    two = "def test_step(loop_benchmark):\n    assert loop_benchmark('resnet', 'amp_bf16').measured\n"
    done = project.run("--benchmark-json=rows.json", test=two + two.replace("test_step", "test_again"))

    done.assert_outcomes(passed=2, warnings=1)
    done.stdout.fnmatch_lines(
        ["*LoopmarkWarning: pytest-benchmark * is not supported by loopmark *: *extra_info only*"]
    )
    assert missing in done.stdout.str()
    rows = project.json("rows.json")["benchmarks"]
    assert [row["name"] for row in rows] == ["test_step", "test_again"]
    assert set(rows[0]["extra_info"]["loopmark"]["phases"]) == set(PHASES)
    assert rows[0]["stats"]["mean"] == pytest.approx(0.010, rel=0.3)


def test_seconds_that_are_not_the_loops_are_not_passed_off_as_such(project: Project, monkeypatch) -> None:
    made = BenchmarkFixture.__init__

    def init(self, *given, timer, **options):
        made(self, *given, timer=NameWrapper(default_timer), **options)

    monkeypatch.setattr(BenchmarkFixture, "__init__", init)
    done = project.run()

    done.assert_outcomes(passed=1, warnings=1)
    done.stdout.fnmatch_lines(["*does not read the timer of the benchmark mark; its seconds are not the loop's*"])
