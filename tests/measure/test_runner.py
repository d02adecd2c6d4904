"""Real runs of small loops, in real processes."""

import os
import re
import signal
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import psutil
import pytest

from loopmark.bench.judge.summary import summarise
from loopmark.bench.measure.machine import CommandFacts, describe_machine
from loopmark.bench.measure.meters import busy
from loopmark.bench.measure.plan import PlanOptions, make_plan
from loopmark.bench.measure.pool import worker_pool
from loopmark.bench.measure.runner import NEVER_REACHED, Runner
from loopmark.bench.records import store
from loopmark.bench.records.run import Case, Run
from loopmark.bench.records.samples import Samples
from loopmark.phases import PHASES

EXAMPLES = Path(__file__).parent.parent / "examples"
BAD = EXAMPLES / "misbehaving.py"


class Silence:
    """Progress without a reader; it calls ``at_second_round`` when the second round begins."""

    def __init__(self, at_second_round=lambda: None) -> None:
        self.told: list[tuple[str, float, float | None]] = []
        self._at_second_round = at_second_round

    def tell(self, doing: str, done: float, remaining_seconds: float | None, *_: object) -> None:
        if "round 2" in doing and not any("round 2" in before for before, _, _ in self.told):
            self._at_second_round()
        self.told.append((doing, done, remaining_seconds))


def conduct(folder: Path, progress=None, **wishes) -> tuple[Run, Samples]:
    wish = PlanOptions(command=["loopmark", "run"], device="cpu", workloads=["regression"], threads=1, **wishes)
    plan = replace(make_plan(wish), warmup_ceiling_seconds=0.02, block_seconds=0.001)  # no test looks at the figures
    folder.mkdir(exist_ok=True)
    with worker_pool(plan, folder) as pool:
        facts = CommandFacts(plan, describe_machine("cpu"), datetime.now(UTC))
        return Runner(facts, progress or Silence()).run(pool)


def case_of(run: Run, loop: str, repeat: bool = False) -> Case:
    return next(case for case in run.cases if case.loop == loop and case.repeat == repeat)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Samples, Path, Silence]:
    folder, progress = tmp_path_factory.mktemp("runs") / "good", Silence()
    loops = ["foreach_optimizer", "amp_fp16", "cuda_graph", f"{EXAMPLES / 'own_loop.py'}:step", f"{BAD}:prints"]
    run, samples = conduct(folder, progress, loops=loops, budget_seconds=0.4, launches=2)
    return run, samples, folder, progress


def test_every_case_is_measured_in_every_launch_and_the_baseline_twice(good) -> None:
    run, samples, _, _ = good
    measured = [i for i, case in enumerate(run.cases) if case.status == "ok"]

    assert [case.label for case in run.cases][:2] == ["eager", "eager (again)"]
    assert len(measured) == 6
    for index in measured:
        blocks = samples.blocks[samples.blocks["case"] == index]
        assert set(blocks["launch"]) == {0, 1}
        assert (blocks.groupby("launch")["round"].nunique() >= 3).all()
        assert len(run.cases[index].launches) == 2


def test_phases_may_be_an_enumeration_of_the_persons_own(tmp_path: Path) -> None:
    run, samples = conduct(tmp_path, loops=[f"{EXAMPLES / 'own_words.py'}:step"], budget_seconds=0.1, launches=1)

    assert {case.status for case in run.cases} == {"ok"}, [case.reason for case in run.cases]
    assert set(samples.phases.loc[samples.phases["case"] == 2, "phase"]) == set(PHASES)
    assert [work.phase for work in run.cases[2].work] == list(PHASES)


def test_each_launch_of_each_case_is_a_process_of_its_own(good) -> None:
    pids = [launch.pid for case in good[0].cases for launch in case.launches]

    assert len(set(pids)) == len(pids)
    assert os.getpid() not in pids
    assert not any(psutil.pid_exists(pid) for pid in pids)


def test_what_the_machine_lacks_is_a_skip_with_its_reason(good) -> None:
    skipped = case_of(good[0], "cuda_graph")

    assert skipped.status == "skipped"
    assert skipped.reason is not None
    assert skipped.reason.startswith("cuda_graph needs a CUDA device; this ")


def test_the_phases_of_every_lapped_step_add_up_to_its_block(good) -> None:
    _, samples, _, _ = good
    key = ["case", "launch", "round", "block"]
    sums = samples.phases.groupby(key)["host_seconds"].sum()
    blocks = samples.blocks[samples.blocks["lapped"]].set_index(key)["host_seconds"]

    assert len(sums) == len(blocks) > 0
    assert sums.to_numpy() == pytest.approx(blocks.loc[sums.index].to_numpy())


def test_no_step_is_counted_twice_and_warm_up_is_kept_apart(good) -> None:
    run, samples, _, _ = good
    for (case, launch), blocks in samples.blocks.groupby(["case", "launch"]):
        taken = [s for b in blocks.itertuples() for s in range(b.first_step, b.first_step + b.steps)]
        warm = samples.warmup.query("case == @case and launch == @launch")["step"]
        assert len(set(taken)) == len(taken)
        assert min(taken) > max(warm)
        assert max(taken) < run.cases[case].launches[launch].steps


def test_the_same_seed_gives_every_launch_the_same_losses(good) -> None:
    _, samples, _, _ = good
    first = samples.losses.query("case == 0 and launch == 0").set_index("step")["loss"]
    second = samples.losses.query("case == 0 and launch == 1").set_index("step")["loss"]
    both = first.index.intersection(second.index)

    assert len(both) > 10
    assert (first[both] == second[both]).all()


def test_a_gradient_scaler_reports_its_skips_and_scale_and_others_have_none(good) -> None:
    scaled, plain = case_of(good[0], "amp_fp16").launches[0], case_of(good[0], "eager").launches[0]

    assert scaled.skipped_steps is not None
    assert scaled.final_scale is not None
    assert scaled.final_scale > 0
    assert plain.skipped_steps is None
    assert plain.final_scale is None


def test_memory_data_and_setup_are_part_of_the_run(good) -> None:
    case = case_of(good[0], "eager")

    assert case.data_sha256 is not None
    assert len(case.data_sha256) == 64
    assert case.batch_size == 64
    assert case.parameters == 11
    for launch in case.launches:
        assert launch.peak_memory_bytes is not None
        assert launch.peak_memory_bytes > 2**20
        assert 0 < launch.setup_seconds < launch.first_step_seconds
        assert launch.compile_cache == "none"
        assert launch.compile_seconds == 0


def test_each_measured_cases_step_is_counted_once_phase_by_phase(good) -> None:
    run = good[0]
    for case in run.cases:
        work = {one.phase: one for one in case.work}
        assert bool(work) == (case.status == "ok")
        if work:
            assert set(work) == set(case.phases)
            assert sum(work["backward"].flops.values()) >= sum(work["forward"].flops.values()) > 0
            assert work["optimizer"].least_bytes > 4 * (case.parameters or 0)


def test_the_run_can_be_read_back_as_it_was(good) -> None:
    run, samples, folder, _ = good
    read_run, read_samples = store.read(folder)

    assert read_run == run
    assert read_samples.blocks.equals(samples.blocks)
    assert read_samples.phases.astype({"phase": "str"}).equals(samples.phases)  # read as categories


def test_what_a_loop_prints_goes_to_its_log_and_nowhere_else(good) -> None:
    logs = list((good[2] / "logs").iterdir())

    assert len(logs) == 2  # one per launch; empty logs are removed
    assert all("a word from the loop" in log.read_text() for log in logs)


def test_progress_names_case_and_round_and_ends_near_the_end(good) -> None:
    told = good[3].told

    assert any("launch 2/2 · regression · foreach_optimizer · round 3" in doing for doing, _, _ in told)
    fractions = [done for _, done, _ in told]
    assert fractions == sorted(fractions)
    assert 0.8 < fractions[-1] <= 1
    assert told[-1][2] is not None


def test_the_judged_run_has_a_row_for_every_case_and_a_noise_floor(good) -> None:
    summary = summarise(good[0], good[1])

    assert len(summary.rows) == len(good[0].cases)
    assert summary.workloads[0].noise_floor is not None


@pytest.fixture(scope="module")
def bad(tmp_path_factory: pytest.TempPathFactory) -> Run:
    names = ("raises", "raises_at_once", "is_killed", "exits", "runs_out_of_memory", "yields_an_unknown_phase",
             "yields_nothing", "gets_an_unnamed_signal", "loses_its_loss", "forks")  # fmt: skip
    folder = tmp_path_factory.mktemp("runs") / "bad"
    return conduct(folder, loops=[f"{BAD}:{name}" for name in names], budget_seconds=0.3, launches=1)[0]


@pytest.mark.parametrize(
    ("loop", "says"),
    [
        ("raises", r"misbehaving\.py:\d+: ValueError: the loop's own mistake"),
        ("raises_at_once", r"misbehaving\.py:\d+: ValueError: wrong from the start"),
        ("is_killed", "killed by SIGKILL"),
        ("exits", r"misbehaving\.py:\d+: SystemExit: 3"),
        ("runs_out_of_memory", "ran out of memory"),
        ("yields_an_unknown_phase", r"misbehaving\.py:\d+: the step yields 3, which is no phase"),
        ("yields_nothing", "yields no phase"),
        ("gets_an_unnamed_signal", "killed by a signal"),
        ("loses_its_loss", "ok"),
        ("forks", "ok"),
    ],
)
def test_a_case_that_goes_wrong_is_a_row_with_its_reason(bad: Run, loop: str, says: str) -> None:
    case = case_of(bad, f"misbehaving:{loop}")

    if says == "ok":  # unusual, but no failure
        assert (case.status, case.reason) == ("ok", None)
        return
    assert case.status == "failed"
    assert case.reason is not None
    assert re.search(says, case.reason)
    assert "\n" not in case.reason


def test_the_others_go_on_when_cases_go_wrong(bad: Run) -> None:
    assert case_of(bad, "eager").status == "ok"
    assert case_of(bad, "eager", repeat=True).status == "ok"
    assert case_of(bad, "eager").launches


def test_a_hung_case_is_ended_at_its_limit_and_leaves_no_process(tmp_path: Path) -> None:
    before = set(psutil.Process().children(recursive=True))  # an earlier test may have left some
    start = time.monotonic()
    run, _ = conduct(tmp_path / "run", loops=[f"{BAD}:hangs"], budget_seconds=0.3, launches=1, limit_seconds=4.0)
    case = case_of(run, "misbehaving:hangs")

    assert case.status == "timed_out"
    assert case.reason == "gave no answer within 4 s and was ended; --limit allows more"
    assert case_of(run, "eager").launches
    assert time.monotonic() - start < 120
    left = [child for child in psutil.Process().children(recursive=True) if child not in before]
    assert not [child for child in left if child.status() == "zombie"]


def test_an_interrupted_run_keeps_what_was_measured(tmp_path: Path) -> None:
    def press_ctrl_c() -> None:
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()

    run, samples = conduct(tmp_path / "run", Silence(press_ctrl_c), loops=["eager"], budget_seconds=60.0, launches=2)

    assert run.interrupted
    assert len(case_of(run, "eager").launches) == 1
    assert len(samples.blocks) > 0
    assert store.read_run(tmp_path / "run") == run


def test_a_run_interrupted_before_it_measured_anything_says_so(tmp_path: Path) -> None:
    class AtOnce(Silence):
        def tell(self, doing: str, done: float, remaining_seconds: float | None, *_: object) -> None:
            raise KeyboardInterrupt

    run, samples = conduct(tmp_path / "run", AtOnce(), loops=["eager"])

    assert run.interrupted
    assert {case.reason for case in run.cases if case.status == "skipped"} >= {NEVER_REACHED}
    assert samples.blocks.empty


def test_a_step_of_ones_own_may_be_the_baseline_and_is_measured_twice(tmp_path: Path) -> None:
    own = f"{EXAMPLES / 'own_loop.py'}:step"
    run, samples = conduct(tmp_path / "run", loops=[own], baseline=own, budget_seconds=0.1, launches=1)
    assert [(case.loop, case.repeat, case.status) for case in run.cases] == [
        ("own_loop:step", False, "ok"), ("own_loop:step", True, "ok"),
    ]  # fmt: skip
    (workload,) = summarise(run, samples).workloads
    assert workload.base.case.label == "own_loop:step"


def test_an_own_workload_is_measured_like_any_other(tmp_path: Path) -> None:
    wish = PlanOptions(
        command=["loopmark", "run"],
        device="cpu",
        workloads=[f"{EXAMPLES / 'own_workload.py'}:make_task"],
        loops=["fused_optimizer"],
        threads=1,
        budget_seconds=0.3,
        launches=1,
        batch_size=50,
    )
    plan = make_plan(wish)
    with worker_pool(plan, tmp_path) as pool:
        run, _ = Runner(CommandFacts(plan, describe_machine("cpu"), datetime.now(UTC)), Silence()).run(pool)

    assert [case.status for case in run.cases] == ["ok"] * 3
    assert run.cases[0].batch_size == 50
    assert run.cases[0].parameters == 4 * 64 + 64 + 64 * 3 + 3


THREE_BATCHES = """
import torch
from loopmark import Task

class Loader:
    def __iter__(self):
        return ((torch.ones(rows, 2), torch.ones(rows, 1)) for rows in (8, 8, 5))

def make_task(device, batch_size=8, seed=0):
    return Task(torch.nn.Linear(2, 1), torch.nn.functional.mse_loss, torch.optim.SGD, Loader())
"""


def test_each_block_of_a_short_epoch_holds_whole_epochs_and_the_loader_is_looked_at(tmp_path: Path) -> None:
    file = tmp_path / "three.py"
    file.write_text(THREE_BATCHES)
    wish = PlanOptions(command=[], device="cpu", workloads=[f"{file}:make_task"], budget_seconds=0.1, launches=1)
    plan = replace(make_plan(wish), loops=("eager",), threads=1, warmup_ceiling_seconds=0.5)
    with worker_pool(plan, tmp_path) as pool:
        run, samples = Runner(CommandFacts(plan, describe_machine("cpu"), datetime.now(UTC)), Silence()).run(pool)

    assert [case.status for case in run.cases] == ["ok"] * 2, [case.reason for case in run.cases]
    assert {launch.cycle_steps for case in run.cases for launch in case.launches} == {3}
    assert (samples.blocks["steps"] % 3 == 0).all()
    assert run.cases[0].units_per_step["samples"] == pytest.approx(7, abs=0.1)
    assert run.cases[0].loading is not None
    assert (run.cases[0].loading.epoch_steps, run.cases[0].loading.whole_epochs) == (3, True)
    assert run.cases[1].loading is None


def test_a_compile_is_cold_in_the_first_launch_and_warm_in_the_second(tmp_path: Path) -> None:
    run, _ = conduct(tmp_path / "run", loops=["compile"], budget_seconds=0.3, launches=2)
    case = case_of(run, "compile")
    if case.status == "skipped":
        pytest.skip(case.reason or "")

    assert [launch.compile_cache for launch in case.launches] == ["cold", "warm"]
    assert case.launches[0].compile_seconds > case.launches[1].compile_seconds > 0
    assert case_of(run, "eager").compilation is None
    for launch in case.launches:
        assert (launch.compilation.compiled, launch.compilation.graphs_per_step) == (1, 1)
        assert 0 < launch.compilation.share < 1


@pytest.mark.parametrize(("switches", "warns"), [([1, 2, 1, 0], True), ([1, 1, 0, 0], False), ([], False)])
def test_a_run_on_a_busy_machine_is_warned_of(switches: list[int], warns: bool) -> None:
    blocks = pd.DataFrame({"involuntary_switches": switches, "steal_seconds": [0.0] * len(switches)})
    assert [text.partition(" of the blocks")[0] for text in busy(blocks)] == (
        ["other processes took the cores away in 75 %"] if warns else []
    )
