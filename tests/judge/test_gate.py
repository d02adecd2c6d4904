import math
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pytest

from loopmark.bench.errors import BadInput
from loopmark.bench.judge.finding import Finding, Judgement, Outcome
from loopmark.bench.judge.gate import WRONG_PASS, check, judge_metrics, verdict
from loopmark.bench.judge.run_comparison import MetricComparison
from loopmark.bench.judge.settings import Thresholds
from loopmark.bench.judge.statistics import Estimate
from loopmark.bench.records.run import Case, Run
from loopmark.bench.records.samples import Samples
from tests.support.judgements import judgement
from tests.support.synthetic import Truth, make_run

EAGER, AGAIN, COMPILE = Truth("eager"), Truth("eager", repeat=True), Truth("compile", 0.008)
LOOPS = (EAGER, AGAIN, COMPILE)
Measured = tuple[Run, Samples]


def measured(*truths: Truth, **options: object) -> Measured:
    given = {"launches": 6, "rounds": 6, "steps": 1, "drift": 0.01, **options}
    return make_run(list(truths or LOOPS), **given)  # type: ignore[arg-type]


def checked(
    head: Measured, base: Measured, thresholds: Thresholds | None = None, false_alarms: float = 0.01
) -> Judgement:
    return check(head, base, thresholds or Thresholds(), false_alarms)


def with_cases(side: Measured, **changes: object) -> Measured:
    """``side``, with every measured case changed."""
    run, samples = side
    cases = tuple(replace(case, **changes) if case.status == "ok" else case for case in run.cases)  # type: ignore[arg-type]
    return replace(run, cases=cases), samples


def with_case(side: Measured, index: int, case: Case) -> Measured:
    run, samples = side
    return replace(run, cases=(*run.cases[:index], case, *run.cases[index + 1 :])), samples


def elsewhere(side: Measured) -> Measured:
    run, samples = side
    return replace(run, machine=replace(run.machine, cpu="Other CPU")), samples


def found(judged: Judgement, loop: str, metric: str) -> Finding:
    (finding,) = (f for f in judged.findings if (f.loop, f.metric) == (loop, metric))
    return finding


def metrics(findings: Iterable[Finding]) -> set[tuple[str, str]]:
    return {(finding.loop, finding.metric) for finding in findings}


BASE = measured(seed=1)


def test_unchanged_code_is_no_regression() -> None:
    judged = checked(measured(seed=2), BASE)

    assert judged.outcome == "no regression"
    assert {finding.verdict for finding in judged.findings if finding.decides} == {"same"}
    assert judged.warnings == ()


def test_a_loop_that_became_slower_is_a_regression_by_its_ratio_to_eager() -> None:
    judged = checked(measured(EAGER, AGAIN, Truth("compile", 0.0096), seed=2), BASE)
    ratio = found(judged, "compile", "step / eager")

    assert metrics(judged.regressions) == {("compile", "step / eager")}
    assert ratio.change is not None
    assert ratio.change.low < 1.2 < ratio.change.high
    assert (ratio.base, ratio.head) == (pytest.approx(0.8, rel=0.02), pytest.approx(0.96, rel=0.02))


def test_a_slower_eager_is_a_regression_of_its_seconds_and_makes_no_other_loop_faster_for_good() -> None:
    judged = checked(measured(Truth("eager", 0.013), Truth("eager", 0.013, repeat=True), COMPILE, seed=2), BASE)

    assert metrics(judged.regressions) == {("eager", "step")}
    assert found(judged, "compile", "step").verdict == "same"


def test_a_machine_that_slows_everything_by_a_little_leaves_the_ratios_the_same() -> None:
    slower = [replace(truth, step_seconds=truth.step_seconds * 1.05) for truth in LOOPS]
    judged = checked(measured(*slower, seed=2), BASE)

    assert judged.outcome == "no regression"
    assert found(judged, "compile", "step / eager").verdict == "same"
    assert found(judged, "compile", "step").base == pytest.approx(0.008, rel=0.02)


def test_a_faster_loop_is_no_regression() -> None:
    judged = checked(measured(EAGER, AGAIN, Truth("compile", 0.006), seed=2), BASE)

    assert judged.outcome == "no regression"
    assert found(judged, "compile", "step / eager").verdict == "faster"


def test_the_repetition_of_eager_is_no_loop_of_its_own() -> None:
    judged = checked(measured(seed=2), BASE)
    assert len([f for f in judged.findings if (f.loop, f.metric) == ("eager", "step")]) == 1


def test_more_memory_than_allowed_is_a_regression() -> None:
    run, samples = measured(seed=2)
    launches = tuple(replace(launch, peak_memory_bytes=600 * 2**20) for launch in run.cases[2].launches)
    judged = checked(with_case((run, samples), 2, replace(run.cases[2], launches=launches)), BASE)

    assert metrics(judged.regressions) == {("compile", "peak memory")}


def test_memory_that_was_counted_otherwise_is_not_compared() -> None:
    judged = checked(with_cases(measured(seed=2), memory_kind="resident set since launch"), BASE)

    assert "peak memory" not in {finding.metric for finding in judged.findings}
    assert any("resident set since launch" in warning for warning in judged.warnings)


def test_a_phase_decides_only_where_it_has_a_threshold_of_its_own() -> None:
    slower = measured(EAGER, AGAIN, Truth("compile", 0.0096), seed=2)
    shown, deciding = checked(slower, BASE), checked(slower, BASE, Thresholds(phases={"forward": 0.05}))

    assert found(shown, "compile", "forward").verdict == "slower"
    assert not found(shown, "compile", "forward").decides
    assert ("compile", "forward") in metrics(deciding.regressions)
    assert ("compile", "backward") not in metrics(deciding.regressions)


def test_a_threshold_of_a_metric_that_neither_run_has_is_bad_input() -> None:
    with pytest.raises(BadInput, match="did you mean 'forward'"):
        checked(BASE, BASE, Thresholds(phases={"forwad": 0.05}))


def test_on_another_machine_only_ratios_to_eager_are_compared() -> None:
    fast = [replace(truth, step_seconds=truth.step_seconds / 3) for truth in LOOPS]
    judged = checked(elsewhere(measured(*fast, seed=2)), BASE, Thresholds(phases={"forward": 0.05}))

    assert metrics(judged.findings) == {("compile", "step / eager")}
    assert judged.outcome == "no regression"
    assert "CPU Imaginary CPU → Other CPU" in judged.differences
    assert any("another machine" in fact for fact in judged.facts)
    assert any("forward" in fact for fact in judged.facts)


def test_another_device_of_the_machine_counts_as_another_machine() -> None:
    run, samples = measured(seed=2, device=True)
    other = replace(run, plan=replace(run.plan, device="cuda:1"))
    first = replace(run, plan=replace(run.plan, device="cuda:0"))

    assert {f.metric for f in checked((other, samples), (run, samples)).findings} == {"step / eager"}
    assert "step" in {f.metric for f in checked((first, samples), (run, samples)).findings}


@pytest.mark.parametrize(("now", "metrics_then"), [("AVX2", {"step / eager"}), (None, {"step / eager", "step"})])
def test_a_processor_with_other_instructions_is_another_machine_whatever_it_is_called(
    now: str | None, metrics_then: set[str]
) -> None:
    run, samples = BASE
    before = replace(run, environment=replace(run.environment, cpu_capability="AVX512"))
    after = replace(run, name="later", environment=replace(run.environment, cpu_capability=now))
    found = {f.metric for f in checked((after, samples), (before, samples)).findings}

    assert found & {"step / eager", "step"} == metrics_then


def test_a_slower_ratio_is_a_regression_on_another_machine_too() -> None:
    judged = checked(elsewhere(measured(EAGER, AGAIN, Truth("compile", 0.0096), seed=2)), BASE)
    assert judged.outcome == "regression"


@pytest.mark.parametrize(
    ("head", "says"),
    [
        (with_cases(BASE, batch_size=32), "different batch sizes, 64 in the baseline and 32 in the run"),
        (with_cases(BASE, batch_size=None), "64 in the baseline and unknown in the run"),
        (with_cases(BASE, data_sha256="cd" * 32), "data, SHA-256 abababababab in the baseline and cdcdcdcdcdcd"),
        (with_cases(BASE, parameters=5), "different numbers of parameters, 77000 in the baseline and 5 in the run"),
        ((replace(BASE[0], plan=replace(BASE[0].plan, size="large")), BASE[1]), "different sizes, small in"),
        (measured(device=True), "the baseline was measured on cpu and the run on cuda"),
        (measured(workloads=("gpt",)), "only the baseline has it (resnet eager, resnet compile)"),
        (elsewhere(measured(EAGER, AGAIN)), "only the baseline has it (resnet compile)"),
    ],
)  # fmt: skip
def test_where_nothing_fair_can_be_compared_it_is_refused_with_the_reason_first(head: Measured, says: str) -> None:
    judged = checked(head, BASE)

    assert judged.outcome == "not comparable"
    assert judged.findings == ()
    assert says in (judged.refusal or "")
    assert "\n" not in (judged.refusal or "")


def test_eager_alone_on_another_machine_leaves_nothing_to_compare() -> None:
    base = measured(EAGER, AGAIN)
    assert "no other loop was measured in both" in (checked(elsewhere(base), base).refusal or "")


def test_a_loop_that_is_other_work_now_is_left_out_and_the_rest_is_compared() -> None:
    head = measured(seed=2)
    judged = checked(with_case(head, 2, replace(head[0].cases[2], batch_size=32)), BASE)

    assert {finding.loop for finding in judged.findings} == {"eager"}
    assert any("different batch sizes" in warning and "resnet compile" in warning for warning in judged.warnings)


@pytest.mark.parametrize("status", ["failed", "timed_out"])
def test_a_loop_that_trained_and_fails_now_is_a_regression_on_that_machine(status: str) -> None:
    head = measured(EAGER, AGAIN, Truth("compile", status=status, reason="RuntimeError: boom"), seed=2)  # type: ignore[arg-type]
    broken = found(checked(head, BASE), "compile", "step")

    assert broken.broken
    assert "RuntimeError: boom" in (broken.note or "")
    assert checked(elsewhere(head), BASE).outcome == "not comparable"  # that machine may just have less memory


def test_a_loop_whose_loss_is_lost_is_broken_however_fast() -> None:
    run, samples = measured(EAGER, AGAIN, Truth("compile", 0.001), seed=2)
    losses = samples.losses.copy()
    losses.loc[(losses["case"] == 2) & (losses["step"] == 5), "loss"] = np.nan
    judged = checked((run, replace(samples, losses=losses)), BASE)

    assert metrics(judged.regressions) == {("compile", "step")}
    assert "not finite at step 5" in (found(judged, "compile", "step").note or "")


def test_a_loop_that_is_skipped_now_leaves_it_open_on_that_machine_and_is_only_named_elsewhere() -> None:
    head = measured(EAGER, AGAIN, Truth("compile", status="skipped", reason="no compiler"), Truth("tf32"), seed=2)
    base = measured(*LOOPS, Truth("tf32"), seed=1)
    judged, other = checked(head, base), checked(elsewhere(head), base)

    assert judged.outcome == "inconclusive"
    assert "was skipped: no compiler" in (found(judged, "compile", "step").note or "")
    assert other.outcome == "no regression"
    assert any("was skipped: no compiler (resnet compile)" in warning for warning in other.warnings)


def test_a_phase_with_a_threshold_that_the_run_lacks_leaves_it_open() -> None:
    head = measured(seed=2)
    phases = head[1].phases
    renamed = replace(head[1], phases=phases.assign(phase=phases["phase"].replace("forward", "ahead")))
    judged = checked((head[0], renamed), BASE, Thresholds(phases={"forward": 0.1}))

    assert judged.outcome == "inconclusive"
    assert "phase forward is in the baseline only" in (found(judged, "compile", "forward").note or "")


def test_an_eager_that_became_faster_makes_no_other_loop_a_regression() -> None:
    faster = measured(Truth("eager", 0.008), Truth("eager", 0.008, repeat=True), COMPILE, seed=2)
    judged = checked(faster, BASE)
    ratio = found(judged, "compile", "step / eager")

    assert ratio.verdict == "inconclusive"
    assert "eager became faster" in (ratio.note or "")
    assert judged.outcome == "inconclusive"
    slower = measured(Truth("eager", 0.008), Truth("eager", 0.008, repeat=True), Truth("compile", 0.010), seed=2)
    assert checked(slower, BASE).outcome == "regression"


def test_other_threads_are_other_work_on_one_machine_and_another_machines_own_affair() -> None:
    run, samples = measured(seed=2)
    head = replace(run, plan=replace(run.plan, threads=1)), samples

    assert "different numbers of threads, 2 in the baseline and 1 in the run" in (checked(head, BASE).refusal or "")
    assert checked(elsewhere(head), BASE).refusal is None


def test_a_loop_that_fails_at_other_work_is_not_called_broken() -> None:
    run, samples = measured(EAGER, AGAIN, Truth("compile", status="failed", reason="boom"), seed=2)
    judged = checked((replace(run, plan=replace(run.plan, size="large")), samples), BASE)

    assert judged.outcome == "not comparable"


def test_what_the_compiler_held_in_the_launch_that_compiled_is_not_the_loops_memory() -> None:
    def compiled(seed: int) -> Measured:
        run, samples = measured(EAGER, AGAIN, replace(COMPILE, compile_seconds=3.0), seed=seed)
        launches = run.cases[2].launches
        cold = replace(launches[0], peak_memory_bytes=600 * 2**20)
        return with_case((run, samples), 2, replace(run.cases[2], launches=(cold, *launches[1:])))

    memory = found(checked(compiled(2), compiled(1)), "compile", "peak memory")
    assert memory.verdict == "same"
    assert memory.base == pytest.approx(500 * 2**20)


def test_figures_that_are_none_prove_nothing() -> None:
    nothing = Estimate(math.nan, math.nan, math.nan).exp()

    assert verdict(nothing, 0.05, 0.0) == "inconclusive"


def test_a_loop_that_is_skipped_on_both_sides_is_not_worth_a_word() -> None:
    loops = (*LOOPS, Truth("cuda_graph", status="skipped", reason="no GPU"))
    assert checked(measured(*loops, seed=2), measured(*loops, seed=1)).warnings == ()


@pytest.mark.parametrize("swap", [False, True])
def test_a_loop_that_only_one_run_has_is_named(swap: bool) -> None:
    few, many = BASE, measured(*LOOPS, Truth("tf32"), seed=2)
    judged = checked(few, many) if swap else checked(many, few)

    assert f"not compared: only the {'baseline' if swap else 'run'} has it (resnet tf32)" in judged.warnings
    assert judged.outcome == "no regression"


def test_without_eager_on_both_sides_seconds_decide_on_one_machine_and_nothing_does_elsewhere() -> None:
    head = measured(Truth("eager", status="failed", reason="boom"), COMPILE, seed=2)
    base = measured(Truth("eager", status="failed", reason="boom"), COMPILE, seed=1)

    assert found(checked(head, base), "compile", "step").decides
    assert "one side has no eager" in (checked(elsewhere(head), base).refusal or "")


def test_one_launch_on_a_side_leaves_it_open_and_says_what_to_do() -> None:
    judged = checked(measured(launches=1, seed=2), BASE)

    assert judged.outcome == "inconclusive"
    assert "more --launches" in (found(judged, "compile", "step / eager").note or "")


def test_an_interrupted_run_is_compared_by_what_it_holds_and_says_so() -> None:
    run, samples = measured(seed=2)
    judged = checked((replace(run, interrupted=True), samples), BASE)

    assert judged.outcome == "no regression"
    assert any("the run was interrupted" in warning for warning in judged.warnings)


def test_a_run_against_itself_is_remarked_on() -> None:
    assert "the run and its baseline are the same run; give another one" in checked(BASE, BASE).warnings


def test_runs_without_a_sample_are_refused() -> None:
    run, _ = BASE
    assert checked((run, Samples.empty()), (run, Samples.empty())).outcome == "not comparable"


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (1.06, 1.20, "slower"), (1.04, 1.20, "inconclusive"), (0.96, 1.04, "same"), (0.80, 0.94, "faster"),
        (0.80, 1.04, "inconclusive"), (0.0, math.inf, "inconclusive"),
    ],
)  # fmt: skip
def test_a_verdict_needs_the_whole_interval(low: float, high: float, said: str) -> None:
    assert verdict(Estimate((low + high) / 2, low, high), 0.05, 0.0) == said


def test_nothing_within_the_noise_floor_is_called_a_difference_nor_for_that_the_same() -> None:
    assert verdict(Estimate(1.07, 1.06, 1.08), 0.05, 0.10) == "inconclusive"
    assert verdict(Estimate(0.93, 0.92, 0.94), 0.05, 0.10) == "inconclusive"
    assert verdict(Estimate(1.2, 1.15, 1.3), 0.05, None) == "inconclusive"
    assert verdict(Estimate(1.0, 0.99, 1.01), 0.05, None) == "same"


def outcomes(sigma: float, slower: float, *, looks: int, launches: int, times: int, seed: int) -> list[Outcome]:
    """The outcomes of ``times`` comparisons of several loops, one of which is ``slower`` by that share."""
    rng = np.random.default_rng(seed)
    made: list[Outcome] = []
    for _ in range(times):
        base, head = rng.normal(0, sigma, (2, looks, launches))
        head[0] += math.log(1 + slower)
        several = [
            MetricComparison(("w", f"loop {i}"), "step / eager", "ratio", base[i], head[i], decides=True)
            for i in range(looks)
        ]
        made.append(judgement(*judge_metrics(several, Thresholds(ratio=0.0), 0.05)).outcome)
    return made


def test_a_check_of_many_loops_cries_wolf_no_more_often_than_was_asked() -> None:
    # A threshold of zero is the worst case. The standard error of a share of 600 is 0.9 %.
    alarms = outcomes(0.02, 0.0, looks=8, launches=5, times=600, seed=3).count("regression")
    assert alarms / 600 <= 0.05 + 0.02


def test_without_a_threshold_unchanged_launches_with_other_spreads_raise_no_more_alarms() -> None:
    rng = np.random.default_rng(4)
    alarms = 0
    for _ in range(600):
        look = MetricComparison(
            ("w", "l"), "step / eager", "ratio", rng.normal(0, 0.005, 4), rng.normal(0, 0.03, 8), decides=True
        )
        alarms += judge_metrics([look], Thresholds(ratio=0.0), 0.05)[0].verdict == "slower"
    assert alarms / 600 == pytest.approx(0.05, abs=0.025)


def test_a_loop_that_is_a_tenth_slower_among_many_is_found() -> None:
    found_out = outcomes(0.02, 0.15, looks=8, launches=8, times=200, seed=5).count("regression")
    assert found_out / 200 > 0.95


def test_what_is_slower_by_just_more_than_allowed_seldom_passes() -> None:
    rng = np.random.default_rng(6)
    passed = 0
    for _ in range(600):
        base, head = rng.normal(0, 0.01, 6), rng.normal(math.log(1.05), 0.01, 6)
        (judged,) = judge_metrics(
            [MetricComparison(("w", "l"), "step / eager", "ratio", base, head, decides=True)], Thresholds(), 0.01
        )
        passed += judgement(judged).outcome == "no regression"
    assert passed / 600 == pytest.approx(WRONG_PASS, abs=0.025)


def test_whole_checks_of_unchanged_code_raise_no_alarm() -> None:
    made = [measured(rounds=3, seed=seed, launch_noise=0.01) for seed in range(10, 40)]
    judged = [checked(head, base).outcome for base, head in zip(made[::2], made[1::2], strict=True)]
    assert "regression" not in judged
    assert judged.count("no regression") > len(judged) / 2


def test_the_false_alarms_are_shared_by_the_findings_that_decide_and_by_no_others() -> None:
    base, head = np.random.default_rng(7).normal(0, 0.01, (2, 5))

    def low(deciding: int, shown: int) -> float:
        looks = [
            MetricComparison(("w", str(i)), "step / eager", "ratio", base, head, decides=i < deciding)
            for i in range(deciding + shown)
        ]
        change = judge_metrics(looks, Thresholds(), 0.01)[0].change
        assert change is not None
        return change.low

    assert low(4, 0) == low(4, 20)
    assert low(4, 0) < low(1, 0)


OWN = (Truth("own:step"), Truth("own:step", repeat=True), COMPILE)


def test_the_ratio_to_another_baseline_bears_its_name_and_has_the_threshold_of_ratios() -> None:
    slower = measured(*OWN[:2], Truth("compile", 0.0096), baseline="own:step", seed=2)
    judged = checked(slower, measured(*OWN, baseline="own:step"), Thresholds(ratio=0.07))
    assert metrics(judged.regressions) == {("compile", "step / own:step")}
    assert found(judged, "compile", "step / own:step").threshold == 0.07
    assert "each loop's ratio to the own:step of its own run" in judged.facts[0]


def test_a_ratio_that_rose_only_because_another_baseline_became_faster_is_inconclusive() -> None:
    gained = measured(Truth("own:step", 0.008), Truth("own:step", 0.008, repeat=True), COMPILE, baseline="own:step")
    judged = checked(gained, measured(*OWN, baseline="own:step", seed=2))
    assert "own:step became faster" in (found(judged, "compile", "step / own:step").note or "")


def test_ratios_to_different_baselines_are_not_compared_and_one_line_says_so() -> None:
    other = measured(*OWN, EAGER, baseline="own:step", seed=2)
    judged = checked(other, BASE)
    assert {metric for loop, metric in metrics(judged.findings) if loop == "compile"} >= {"step"}
    assert not any(finding.unit == "ratio" for finding in judged.findings)
    why = "the ratios are to eager in the baseline and to own:step in the run, so none compare"
    assert judged.facts[0] == f"same machine: seconds and bytes are compared; {why}"
    assert f"on another machine only ratios compare, but {why} (" in (checked(elsewhere(other), BASE).refusal or "")
