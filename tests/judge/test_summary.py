import dataclasses
import math
import statistics
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from loopmark.bench.judge.statistics import Estimate
from loopmark.bench.judge.summary import Row, Summary, lost_at_step, summarise
from loopmark.bench.records.run import Case, Run
from loopmark.bench.records.samples import Samples
from loopmark.bench.records.store import write
from tests.support.synthetic import PHASES, Truth, make_run

EAGER, AGAIN = Truth("eager"), Truth("eager", repeat=True)
QUIET = {"launch_noise": 0.0, "block_noise": 0.0, "drift": 0.0}


def judged(*truths: Truth, **options: float) -> Summary:
    return summarise(*make_run(list(truths), **options))


def with_case(run: Run, index: int, case: Case) -> Run:
    return replace(run, cases=(*run.cases[:index], case, *run.cases[index + 1 :]))


def with_launches(run: Run, index: int, **changes: object) -> Run:
    case = run.cases[index]
    launches = tuple(replace(launch, **changes) for launch in case.launches)
    return with_case(run, index, replace(case, launches=launches))


def only_launches(samples: Samples, case: int, count: int) -> Samples:
    """``samples`` with only the first ``count`` launches of ``case``."""
    tables = {}
    for name in ("phases", "blocks", "warmup", "losses"):
        table = getattr(samples, name)
        tables[name] = table[(table["case"] != case) | (table["launch"] < count)]
    return Samples(**tables)


def test_every_case_has_its_row_in_the_runs_order() -> None:
    run, samples = make_run([EAGER, AGAIN, Truth("tf32", status="skipped", reason="no GPU"), Truth("amp")])
    assert [row.case for row in summarise(run, samples).rows] == list(run.cases)


def test_workloads_are_judged_apart_each_against_its_own_baseline() -> None:
    run, samples = make_run([EAGER, AGAIN, Truth("amp", 0.005)], ("resnet", "gpt"))
    slower = samples.blocks["case"].isin([3, 4])  # only gpt's eager and its repetition
    samples.blocks.loc[slower, "host_seconds"] *= 3
    resnet, gpt = summarise(run, samples).workloads
    assert (resnet.workload, gpt.workload) == ("resnet", "gpt")
    assert resnet.rows[2].speedup.value == pytest.approx(2, rel=0.02)
    assert gpt.rows[2].speedup.value == pytest.approx(6, rel=0.02)
    assert resnet.noise_floor != gpt.noise_floor


def test_a_run_of_known_truth_is_told_as_it_is() -> None:
    truths = [EAGER, AGAIN, Truth("fast", 0.008), Truth("slow", 0.0125), Truth("same")]
    workload = judged(*truths, launches=8, seed=3).workloads[0]
    eager, again, fast, slow, same = workload.rows
    assert [row.verdict for row in (fast, slow)] == ["faster", "slower"]
    assert same.verdict in ("same", "inconclusive")
    assert fast.speedup.low < 1.25 < fast.speedup.high
    assert slow.speedup.low < 0.8 < slow.speedup.high
    assert 0 < workload.noise_floor < 0.03
    assert (workload.baseline, workload.base) == ("eager", eager)
    assert again.step_seconds.value == pytest.approx(eager.step_seconds.value, rel=0.02)


def test_nothing_changed_is_hardly_ever_called_a_change() -> None:
    names = tuple(f"w{i}" for i in range(60))
    run, samples = make_run([EAGER, AGAIN, Truth("same")], names, rounds=4, steps=1, launch_noise=0.02, seed=5)
    summary = summarise(run, replace(samples, phases=Samples.empty().phases))
    verdicts = [workload.rows[2].verdict for workload in summary.workloads]
    assert sum(verdict in ("faster", "slower") for verdict in verdicts) <= 3


def test_the_baseline_and_its_repetition_have_no_verdict() -> None:
    eager, again = judged(EAGER, AGAIN).rows
    assert (eager.verdict, again.verdict) == (None, None)
    assert eager.speedup is None
    assert again.speedup.low < 1.01  # the repetition's speedup is the evidence for the noise floor
    assert eager.is_baseline
    assert not again.is_baseline


def test_any_loop_may_be_the_baseline_and_eager_is_then_a_loop_like_others() -> None:
    truths = [Truth("own:step"), Truth("own:step", repeat=True), Truth("eager", 0.0125)]
    (workload,) = judged(*truths, launches=8, baseline="own:step").workloads
    own, again, eager = workload.rows
    assert (workload.baseline, workload.base) == ("own:step", own)
    assert [row.is_baseline for row in workload.rows] == [True, False, False]
    assert again.verdict is None
    assert (eager.verdict, eager.baseline) == ("slower", "own:step")
    assert eager.speedup.value == pytest.approx(0.8, rel=0.02)


def test_the_noise_floor_is_how_far_from_1_the_repetitions_speedup_may_be() -> None:
    workload = judged(EAGER, AGAIN, launch_noise=0.02).workloads[0]
    speedup = workload.rows[1].speedup
    assert workload.noise_floor == pytest.approx(max(math.log(speedup.high), -math.log(speedup.low)))


def test_a_difference_below_the_floor_is_no_difference() -> None:
    run, samples = make_run([EAGER, AGAIN, Truth("other", 0.0098)], launches=8, launch_noise=0.001)
    assert summarise(run, samples).rows[2].verdict == "faster"
    shaken = samples.blocks["case"] == 1
    samples.blocks.loc[shaken, "host_seconds"] *= 1 + 0.1 * (samples.blocks.loc[shaken, "launch"] % 2)
    assert summarise(run, samples).rows[2].verdict != "faster"


def test_without_a_repetition_the_floor_is_unknown_and_nothing_is_claimed() -> None:
    workload = judged(EAGER, Truth("fast", 0.008), Truth("same")).workloads[0]
    assert workload.noise_floor is None
    assert workload.rows[1].verdict == "inconclusive"
    assert workload.rows[2].verdict == "inconclusive"


def test_without_a_baseline_nothing_is_compared_and_the_steps_are_still_told() -> None:
    workload = judged(Truth("amp", 0.008), AGAIN).workloads[0]
    assert workload.base is None
    assert workload.noise_floor is None
    for row in workload.rows:
        assert (row.speedup, row.verdict, row.break_even_steps) == (None, None, None)
        assert row.step_seconds is not None


@pytest.mark.parametrize("status", ["skipped", "failed", "timed_out"])
def test_a_case_that_did_not_end_well_has_only_its_reason(status: str) -> None:
    run, samples = make_run([EAGER, AGAIN, Truth("amp")])
    ended = run.cases[2].ended(status, "out of memory")  # type: ignore[arg-type]
    row = summarise(with_case(run, 2, ended), samples).rows[2]
    assert row == Row(ended, "eager")
    assert row.case.reason == "out of memory"
    assert row.phases == {}
    assert row.samples_per_second is None


def test_a_failed_baseline_leaves_the_others_uncompared() -> None:
    run, samples = make_run([EAGER, AGAIN, Truth("amp", 0.005)])
    workload = summarise(with_case(run, 0, run.cases[0].ended("failed", "boom")), samples).workloads[0]
    assert workload.base is None
    assert workload.noise_floor is None
    assert workload.rows[2].verdict is None


def test_a_failed_repetition_leaves_the_floor_unknown_and_nothing_claimed() -> None:
    run, samples = make_run([EAGER, AGAIN, Truth("amp", 0.005)])
    workload = summarise(with_case(run, 1, run.cases[1].ended("failed", "boom")), samples).workloads[0]
    assert workload.noise_floor is None
    assert workload.rows[2].verdict == "inconclusive"


def test_a_loop_that_loses_its_loss_is_never_called_faster() -> None:
    run, samples = make_run([EAGER, AGAIN, Truth("amp", 0.005)])
    losses = samples.losses.copy()
    losses.loc[(losses["case"] == 2) & (losses["step"] >= 17), "loss"] = float("nan")
    row = summarise(run, dataclasses.replace(samples, losses=losses)).rows[2]
    assert row.lost_at_step == 17
    assert lost_at_step(losses) == {2: 17}
    assert lost_at_step(samples.losses) == {}
    assert row.verdict is None
    assert row.break_even_steps is None


def test_a_case_of_one_launch_is_told_but_not_judged() -> None:
    run, samples = make_run([EAGER, AGAIN, Truth("amp", 0.005)], rounds=20)
    row = summarise(run, only_launches(samples, 2, 1)).rows[2]
    assert row.speedup.value == pytest.approx(2, rel=0.05)
    assert (row.speedup.low, row.speedup.high) == (0, math.inf)
    assert row.verdict == "inconclusive"
    assert row.break_even_steps is None


def test_a_repetition_of_one_launch_measures_no_floor() -> None:
    run, samples = make_run([EAGER, AGAIN, Truth("amp", 0.005)], rounds=20)
    assert summarise(run, only_launches(samples, 1, 1)).workloads[0].noise_floor is None


def test_missing_rounds_do_not_move_the_speedup() -> None:
    run, samples = make_run([EAGER, AGAIN, Truth("amp", 0.005)], drift=0.6)
    whole = summarise(run, samples).rows[2].speedup
    kept = (samples.blocks["case"] != 2) | (samples.blocks["round"] % 3 != samples.blocks["launch"] % 3)
    partly = summarise(run, replace(samples, blocks=samples.blocks[kept])).rows[2].speedup
    assert partly.value == pytest.approx(whole.value, rel=0.01)


def test_a_run_interrupted_before_its_first_plain_block_is_still_judged() -> None:
    run, samples = make_run([EAGER, AGAIN])
    plain_of_again = (samples.blocks["case"] == 1) & ~samples.blocks["lapped"]
    row = summarise(run, replace(samples, blocks=samples.blocks[~plain_of_again])).rows[1]
    assert row.step_seconds is None
    assert row.speedup is None
    assert row.host_phases


def test_a_run_without_any_sample_is_judged_to_say_nothing() -> None:
    run, _ = make_run([EAGER, AGAIN])
    assert summarise(run, Samples.empty()).rows == tuple(Row(case, "eager") for case in run.cases)


def test_a_launch_of_too_few_rounds_for_an_interval_does_not_break_the_throughput() -> None:
    row = judged(EAGER, launches=1, rounds=3).rows[0]
    assert row.step_seconds.high == math.inf
    assert row.samples_per_second.low == 0
    assert row.samples_per_second.high == math.inf
    assert row.samples_per_second.value == pytest.approx(64 / row.step_seconds.value)


def test_throughput_is_the_batch_over_the_step_with_the_ends_swapped() -> None:
    row = judged(EAGER).rows[0]
    step = row.step_seconds
    expected = Estimate(64 / step.value, 64 / step.high, 64 / step.low)
    assert row.samples_per_second == expected


def test_phases_are_the_true_shares_and_add_up_to_the_lapped_step() -> None:
    row = judged(EAGER, **QUIET).rows[0]
    lapped = 0.010 * EAGER.lap_cost
    assert row.host_phases == pytest.approx({phase: share * lapped for phase, share in PHASES.items()})
    assert list(row.phases) == list(PHASES)
    assert row.device_phases is None
    assert sum(row.phases.values()) == pytest.approx(row.step_seconds.value * row.instrumentation.value)


def test_a_gpus_phases_are_the_devices_and_the_hosts_are_kept_beside_them() -> None:
    row = judged(EAGER, device=True, **QUIET).rows[0]
    assert row.phases is row.device_phases
    assert sum(row.device_phases.values()) == pytest.approx(0.010 * EAGER.lap_cost)
    assert sum(row.host_phases.values()) == pytest.approx(0.003 * EAGER.lap_cost)


def test_instrumentation_is_what_a_lap_costs() -> None:
    row = judged(Truth("eager", lap_cost=1.04)).rows[0]
    assert row.instrumentation.low <= 1.04 <= row.instrumentation.high
    assert row.instrumentation.value == pytest.approx(1.04, abs=0.01)


def test_a_dearer_start_is_made_up_for_after_its_cost_over_what_each_step_saves() -> None:
    run, samples = make_run([EAGER, AGAIN, Truth("compile", 0.008)], **QUIET)
    run = with_launches(run, 0, setup_seconds=1.0, excess_seconds=0.5)
    run = with_launches(run, 2, setup_seconds=2.0, excess_seconds=9.5)
    found = summarise(run, samples).rows[2].break_even_steps
    assert found.value == pytest.approx(10.0 / 0.002)
    assert (found.low, found.high) == pytest.approx((5000, 5000))


def test_after_the_break_even_steps_both_loops_have_taken_the_same_time() -> None:
    run, samples = make_run([EAGER, AGAIN, Truth("compile", 0.007, compile_seconds=30)], **QUIET)
    eager, _, compiled = summarise(run, samples).rows
    steps = compiled.break_even_steps.value

    def total(row: Row) -> float:
        first = row.case.launches[0]
        return first.setup_seconds + first.excess_seconds + steps * row.step_seconds.value

    assert steps > 0
    assert total(compiled) == pytest.approx(total(eager))


def test_the_break_even_interval_is_the_speedups_turned_round() -> None:
    row = judged(EAGER, AGAIN, Truth("compile", 0.008, compile_seconds=10)).rows[2]
    found, speedup = row.break_even_steps, row.speedup
    assert found.low < found.value < found.high
    # The smallest speedup takes longest to pay.
    assert found.high / found.value == pytest.approx((speedup.value - 1) / (speedup.low - 1))


def test_a_faster_loop_that_starts_no_later_pays_from_its_first_step() -> None:
    run, samples = make_run([EAGER, AGAIN, Truth("fused", 0.008)])
    run = with_launches(run, 0, setup_seconds=3.0)
    found = summarise(run, samples).rows[2].break_even_steps
    assert (found.low, found.value, found.high) == (0, 0, 0)


@pytest.mark.parametrize(("later", "pays"), [(0.05, False), (0.5, True)])
def test_a_start_that_is_later_by_less_than_the_baseline_s_own_differ_is_not_late(later: float, pays: bool) -> None:
    run, samples = make_run([EAGER, AGAIN, Truth("fused", 0.008)], **QUIET)
    eager = run.cases[0]
    seconds = (1.0, 1.0, 1.05, 1.1, 30.0)  # the last one had cold caches
    starts = [replace(launch, setup_seconds=one) for launch, one in zip(eager.launches, seconds, strict=True)]
    eager = replace(eager, launches=tuple(starts))
    fused = replace(run.cases[2], launches=tuple(replace(o, setup_seconds=1.05 + later) for o in run.cases[2].launches))
    found = summarise(replace(run, cases=(eager, run.cases[1], fused)), samples).rows[2].break_even_steps
    assert found is not None
    assert (found.value > 0) is pays


def test_a_loop_that_is_not_faster_never_breaks_even() -> None:
    truths = [EAGER, AGAIN, Truth("slow", 0.0125, compile_seconds=5), Truth("same", compile_seconds=5)]
    assert [row.break_even_steps for row in judged(*truths).rows] == [None] * 4


def test_the_start_is_the_first_launchs_because_later_ones_find_warm_caches() -> None:
    row = judged(EAGER, Truth("compile", 0.008, compile_seconds=10)).rows[1]
    assert row.compile_seconds == 10
    assert row.compile_cache == "cold"
    assert row.first_step_seconds == row.case.launches[0].first_step_seconds > 10


def test_a_warm_first_launch_is_no_cold_start_where_the_one_before_it_failed() -> None:
    run, samples = make_run([EAGER, Truth("compile", 0.008, compile_seconds=10)])
    case = replace(run.cases[1], launches=run.cases[1].launches[1:])
    first = replace(case.launches[0], first_step_seconds=99.0)
    run = with_case(run, 1, replace(case, launches=(first, *case.launches[1:])))
    found = summarise(run, samples).rows[1].first_step_seconds
    assert found == statistics.median(launch.first_step_seconds for launch in run.cases[1].launches)


def test_peak_memory_is_the_largest_of_any_launch_and_absent_where_unknown() -> None:
    run, samples = make_run([EAGER, Truth("amp")])
    launches = [replace(launch, peak_memory_bytes=100 + launch.index) for launch in run.cases[0].launches]
    launches[1] = replace(launches[1], peak_memory_bytes=None)
    run = with_case(run, 0, replace(run.cases[0], launches=tuple(launches)))
    run = with_launches(run, 1, peak_memory_bytes=None)
    assert [row.peak_memory_bytes for row in summarise(run, samples).rows] == [104, None]


def test_skipped_steps_add_up_over_launches_and_the_last_scale_is_kept() -> None:
    run, samples = make_run([EAGER, Truth("amp_fp16")])
    scales = (1024.0, 512.0, 2048.0, 4096.0, 256.0)
    launches = tuple(
        replace(launch, skipped_steps=launch.index, final_scale=scale)
        for launch, scale in zip(run.cases[1].launches, scales, strict=True)
    )
    eager, fp16 = summarise(with_case(run, 1, replace(run.cases[1], launches=launches)), samples).rows
    assert (fp16.skipped_steps, fp16.final_scale) == (0 + 1 + 2 + 3 + 4, 256.0)
    assert (eager.skipped_steps, eager.final_scale) == (None, None)


def test_a_scaler_that_skipped_nothing_says_zero_not_nothing() -> None:
    run, samples = make_run([Truth("amp_fp16")])
    assert summarise(with_launches(run, 0, skipped_steps=0, final_scale=65536.0), samples).rows[0].skipped_steps == 0


def test_judging_leaves_the_samples_as_they_were() -> None:
    run, samples = make_run([EAGER, AGAIN])
    before = samples.blocks.copy(deep=True)
    summarise(run, samples)
    assert before.equals(samples.blocks)


def test_the_order_of_the_rows_of_the_tables_does_not_matter() -> None:
    run, samples = make_run([EAGER, AGAIN, Truth("amp", 0.008)])
    rng = np.random.default_rng(0)

    def shuffled(name: str) -> object:
        table = getattr(samples, name)
        return table.iloc[rng.permutation(len(table))]

    mixed = Samples(**{name: shuffled(name) for name in ("phases", "blocks", "warmup", "losses")})
    one, other = summarise(run, samples).rows[2], summarise(run, mixed).rows[2]
    assert one.speedup.low == pytest.approx(other.speedup.low, rel=1e-12)
    assert one.host_phases == pytest.approx(other.host_phases, rel=1e-12)


def test_reading_and_judging_a_run_work_where_torch_is_not_installed(tmp_path: Path) -> None:
    write(tmp_path, *make_run([EAGER, AGAIN, Truth("amp", 0.005)]))
    code = (
        "import sys; sys.modules['torch'] = None\n"  # as if it were not installed: importing it now fails
        "from loopmark.bench.judge.summary import summarise\n"
        "from loopmark.bench.records.store import read\n"
        "from pathlib import Path\n"
        "print(summarise(*read(Path(sys.argv[1]))).rows[2].verdict)\n"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], cwd=root, capture_output=True, text=True, timeout=60
    )
    assert (done.stdout.strip(), done.stderr) == ("faster", "")


def test_the_energy_of_a_step_is_the_mean_over_launches_and_absent_where_nothing_counts_it() -> None:
    run, samples = make_run([EAGER, AGAIN], launches=3)
    launches = tuple(replace(one, joules_per_step=j) for one, j in zip(run.cases[0].launches, (1, 2, 3), strict=True))
    eager, again = summarise(with_case(run, 0, replace(run.cases[0], launches=launches)), samples).rows
    assert eager.joules_per_step is not None
    assert eager.joules_per_step.value == pytest.approx(2)
    assert eager.joules_per_step.low < 1 < 3 < eager.joules_per_step.high
    assert eager.joules_per_sample is not None
    assert eager.joules_per_sample.value == pytest.approx(2 / 64)
    assert again.joules_per_step is None


def test_a_launch_that_compiled_from_nothing_does_not_count_for_the_peak_of_memory() -> None:
    run, samples = make_run([Truth("compile", compile_seconds=9.0)], launches=3)
    launches = [replace(one, peak_memory_bytes=100 + (one.index == 0) * 50) for one in run.cases[0].launches]
    run = with_case(run, 0, replace(run.cases[0], launches=tuple(launches)))
    assert summarise(run, samples).rows[0].peak_memory_bytes == 100
