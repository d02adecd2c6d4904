"""Time reading, judging and drawing large and many runs with pytest-benchmark; ``make bench-scale`` runs it in full.

The duration is shown but not asserted, since it depends on the machine. Memory and the size of the drawn files
are asserted.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from loopmark.bench.records import store
from loopmark.bench.records.files import as_json, replace_file
from tests.support.command import ROOT
from tests.support.histories import dated
from tests.support.large import make_large_run
from tests.support.side_by_side import on

FULL = os.environ.get("LOOPMARK_SCALE") == "full"
ROWS, RUNS = (10_000_000, 200) if FULL else (400_000, 5)
KILOBYTE, MEBIBYTE = 1000, 2**20
ALONE_BYTES, ROW_BYTES = 400 * MEBIBYTE, 110
"""A report's memory limit beyond its samples, and per row of the phases: 1.41 GiB for ten million rows."""
PLOT_BYTES, PAGE_BYTES = 300 * KILOBYTE, 5000 * KILOBYTE

# A process's peak includes its parent's memory at the start, so this parent stays small. Forks share most of their
# memory, so each counts with its proportional share on Linux (proc_pid_smaps(5)).
SMALL_PARENT = """
import json, re, resource, subprocess, sys, time
import psutil

def held(process):
    try:
        with open(f"/proc/{process.pid}/smaps_rollup") as file:
            return 1024 * int(re.search(r"^Pss: +([0-9]+)", file.read(), re.M)[1])
    except (OSError, TypeError):  # it has ended, or there is no such file
        return 0

def family(process):
    try:
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []

command = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
process, together = psutil.Process(command.pid), 0
while command.poll() is None:
    together = max(together, sum(map(held, family(process))))
    time.sleep(0.5)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
alone = used.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
print(json.dumps([used.ru_utime + used.ru_stime, max(alone, together)]))
sys.exit(command.returncode)
"""


class Spent(NamedTuple):
    """The cost of a command, forks included; memory is sampled twice a second."""

    cpu_seconds: float
    peak_bytes: int


@pytest.fixture
def spend(benchmark: BenchmarkFixture, capsys: pytest.CaptureFixture[str]) -> Callable[..., Spent]:
    """Run ``loopmark`` once in a process of its own, and return its cost; the full size also prints it."""

    def run(*arguments: object) -> Spent:
        command = [sys.executable, "-c", SMALL_PARENT, sys.executable, "-m", "loopmark", *map(str, arguments)]
        ended = benchmark.pedantic(
            subprocess.run, (command,), dict(check=True, capture_output=True, text=True, cwd=ROOT), rounds=1
        )
        spent = Spent(*json.loads(ended.stdout))
        benchmark.extra_info |= spent._asdict()
        if FULL:
            with capsys.disabled():
                wall, gibibytes = benchmark.stats.stats.max, spent.peak_bytes / 2**30
                print(f"\n{arguments[0]}: {wall:.1f} s, {spent.cpu_seconds:.1f} s of CPU, {gibibytes:.2f} GiB at most")
        return spent

    return run


@pytest.mark.benchmark(group=f"a report on {ROWS:,} rows of phases")
@pytest.mark.parametrize("device", [False, True] if FULL else [True], ids=lambda gpu: "of a GPU" if gpu else "of a CPU")
def test_a_report_on_a_large_run_keeps_to_its_memory_and_its_plots_are_small(
    spend: Callable[..., Spent], tmp_path: Path, device: bool
) -> None:
    store.write(tmp_path, *make_large_run(ROWS, device=device))
    spent = spend("report", tmp_path)

    assert spent.peak_bytes < ALONE_BYTES + ROWS * ROW_BYTES
    plots = {plot.name: plot.stat().st_size for plot in (tmp_path / "plots").glob("*.svg")}
    assert {"phases-gpt.svg", "steps-gpt.svg", "losses-gpt.svg"} <= plots.keys()
    assert {name: size for name, size in plots.items() if size > PLOT_BYTES} == {}
    assert (tmp_path / "report.html").stat().st_size < PAGE_BYTES


def keep_many(folder: Path, machines: int) -> None:
    """Write ``RUNS`` runs under ``folder``, a day apart, of ``machines`` machines in turn."""
    some = [make_large_run(80_000, seed=seed) for seed in range(5)]
    kept = [folder / str(number) for number in range(RUNS)]
    for number, place in enumerate(kept):
        run, samples = some[number % len(some)]
        if number < len(some):
            place.mkdir(parents=True)
            store.write(place, run, samples)
        else:
            shutil.copytree(kept[number % len(some)], place)
        replace_file(place / store.RUN_FILE, as_json(dated(on(f"CPU {number % machines}", run), number)))


@pytest.mark.benchmark(group=f"a history of {RUNS} runs")
def test_a_history_of_many_runs_has_one_of_them_in_memory_at_a_time(
    spend: Callable[..., Spent], tmp_path: Path
) -> None:
    keep_many(tmp_path / "runs", machines=1)
    spent = spend("history", tmp_path / "runs", "--out", tmp_path / "history")

    assert spent.peak_bytes < ALONE_BYTES
    plots = [plot.stat().st_size for plot in (tmp_path / "history" / "plots").glob("*.svg")]
    assert len(plots) == 3
    assert max(plots) < PLOT_BYTES
    assert (tmp_path / "history" / "history.html").stat().st_size < PAGE_BYTES


@pytest.mark.benchmark(group=f"a comparison over {RUNS} runs")
@pytest.mark.parametrize("machines", [1, 8] if FULL else [3], ids=lambda n: f"{n} machine{'s' * (n > 1)}")
def test_a_comparison_over_many_runs_keeps_to_its_memory_and_its_page_is_small(
    spend: Callable[..., Spent], tmp_path: Path, machines: int
) -> None:
    keep_many(tmp_path / "runs", machines)
    spent = spend("compare", tmp_path / "runs", "--out", tmp_path / "comparison")

    assert spent.peak_bytes < ALONE_BYTES
    assert (tmp_path / "comparison" / "compare.html").stat().st_size < PAGE_BYTES
