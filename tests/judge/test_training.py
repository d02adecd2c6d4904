import math
from dataclasses import replace

import numpy as np
import pytest

from loopmark.bench.judge.statistics import falls
from loopmark.bench.judge.training import Learning, TrainedRow, summarise_training
from loopmark.bench.records.training import Target
from tests.support.trainings import EPOCH, Taught, make_training


def row(taught: list[Taught], loop: str, **options) -> TrainedRow:
    (workload,) = summarise_training(*make_training(taught, **options)).workloads
    return next(one for one in workload.rows if one.loop == loop and not one.repeat)


def learnt(taught: list[Taught], loop: str, **options) -> Learning:
    learning = row(taught, loop, **options).learning
    assert learning is not None
    return learning


def test_steps_to_the_target_are_averaged_over_seeds_with_an_interval() -> None:
    learning = learnt([Taught("eager")], "eager")
    assert [one.steps_to_target for one in learning.trials] == [3 * EPOCH, 4 * EPOCH, 5 * EPOCH]
    assert learning.steps is not None
    assert learning.steps.value == pytest.approx(EPOCH * (3 * 4 * 5) ** (1 / 3))
    assert learning.steps.low < 3 * EPOCH < 5 * EPOCH < learning.steps.high
    assert learning.steps.low > 0


def test_getting_going_is_left_aside_and_told_apart() -> None:
    learning = learnt([Taught("eager", start_seconds=20.0)], "eager", seeds=(0,))
    assert learning.seconds is not None
    assert learning.seconds.value == pytest.approx(3 * EPOCH * 0.01)
    assert learning.start_seconds == pytest.approx(20.0 + 0.02)


def test_a_cold_start_is_that_of_the_comparison_which_compiled_first() -> None:
    training, samples = make_training([Taught("eager"), Taught("compile", error=1e-7, compile_seconds=2.0)], seeds=(1,))
    proofs = tuple(
        replace(proof, compile_seconds=20.0, compile_cache="cold") if proof.loop == "compile" else proof
        for proof in training.proofs
    )
    (workload,) = summarise_training(replace(training, proofs=proofs), samples).workloads
    learning = workload.rows[-1].learning
    assert learning is not None
    assert learning.start_seconds == pytest.approx(0.02 + 0.05 + 20.0 - 2.0)


def test_one_seed_gives_a_figure_and_no_interval() -> None:
    learning = learnt([Taught("eager")], "eager", seeds=(0,))
    assert learning.steps is not None
    assert math.isinf(learning.steps.high)


def test_a_target_that_one_seed_missed_has_no_typical_time() -> None:
    learning = learnt([Taught("eager", qualities=(0.5, 0.89, 0.89))], "eager")
    assert learning.reached == 0
    assert learning.steps is learning.seconds is None
    assert learning.learns == 3


def test_quality_that_was_good_only_before_training_reaches_nothing() -> None:
    target = Target("accuracy", 0.05, higher_is_better=True)
    learning = learnt([Taught("eager", qualities=(0.01, 0.01))], "eager", target=target)
    assert learning.reached == learning.learns == 0


def test_a_loss_that_is_better_when_lower_reaches_its_target_from_above() -> None:
    target = Target("bits per byte", 0.08, higher_is_better=False)
    learning = learnt([Taught("eager", qualities=(0.09, 0.07))], "eager", target=target, seeds=(0,))
    assert learning.trials[0].steps_to_target == 2 * EPOCH
    assert learning.trials[0].best_quality == 0.07


def test_loops_are_compared_seed_by_seed() -> None:
    made = [Taught("eager"), Taught("half", step_seconds=0.005), Taught("slow", epochs_to_target=6)]
    half, slow = learnt(made, "half"), learnt(made, "slow")
    assert half.seconds_ratio is not None
    assert half.seconds_ratio.value == pytest.approx(2)
    assert half.seconds_ratio.low > 1.9
    assert half.steps_ratio is not None
    assert half.steps_ratio.value == pytest.approx(1)
    assert slow.steps_ratio is not None
    assert slow.steps_ratio.value == pytest.approx((6 / 3 * 7 / 4 * 8 / 5) ** (1 / 3))


def test_joules_are_told_where_they_were_counted() -> None:
    learning = learnt([Taught("eager", joules_a_step=2.0)], "eager", seeds=(0,))
    assert learning.joules is not None
    assert learning.joules.value == pytest.approx(2.0 * 3 * EPOCH)
    assert learnt([Taught("eager")], "eager").joules is None


def test_a_loop_that_diverges_does_not_learn_and_says_where() -> None:
    bad = Taught(
        "bad", qualities=(0.2, math.nan), ending="diverged", diverged_at_step=25, divergence="not a number"
    )  # fmt: skip
    learning = learnt([Taught("eager"), bad], "bad")
    assert learning.learns == 0
    assert learning.diverged is not None
    assert learning.diverged.trial.diverged_at_step == 25
    assert learning.steps_ratio is None


def test_each_epoch_has_its_mean_loss_and_its_quality() -> None:
    looks = learnt([Taught("eager")], "eager", seeds=(0,)).trials[0].evaluations
    assert [look.epochs for look in looks] == [0, 1, 2, 3]
    assert looks[0].loss is None
    assert looks[1].loss == pytest.approx(np.mean([2.3 / (1 + step / 20) for step in range(EPOCH)]))
    assert looks[3].quality == pytest.approx(0.9)


def test_a_case_that_failed_has_its_reason_and_no_figures() -> None:
    failed = row([Taught("eager"), Taught("bad", status="failed", reason="it broke")], "bad")
    assert failed.learning is None
    assert failed.ended is not None
    assert failed.equivalence.why_not == "it broke"


def test_a_workload_without_a_target_is_compared_and_not_trained() -> None:
    made = row([Taught("eager"), Taught("compile", error=1e-7)], "compile", target=None)
    assert made.equivalence.verdict == "within rounding"
    assert made.learning is None


def test_the_repetition_of_eager_is_compared_and_not_trained() -> None:
    (workload,) = summarise_training(*make_training([Taught("eager")])).workloads
    assert [(one.repeat, one.learning is None) for one in workload.rows] == [(False, False), (True, True)]


def test_a_steady_fall_is_seen_and_wandering_is_not() -> None:
    random = np.random.default_rng(0)
    noise = random.normal(0, 1, 200)
    assert falls(noise - np.linspace(0, 5, 200)) < 1e-6
    assert falls(noise + np.linspace(0, 5, 200)) > 0.999
    assert falls([3.0, 2.0, 1.0, 0.5, 0.2]) < 1e-9
    assert falls([1.0, 1.0, 1.0, 1.0, 1.0]) == 1.0
    assert falls([1.0, 2.0, 0.5]) == 1.0
    assert falls([3.0, 2.0, math.nan, 0.5, 0.2]) == 1.0


def test_wandering_losses_are_said_to_fall_as_often_as_promised() -> None:
    random = np.random.default_rng(1)
    found = np.mean([falls(random.normal(0, 1, 40)) < 0.05 for _ in range(2000)])
    assert 0.035 < found < 0.065


def test_ranks_are_shared_by_equal_values_as_spearman_has_it() -> None:
    from scipy.stats import spearmanr

    values = [5.0, 5.0, 4.0, 4.0, 4.0, 3.0, 6.0, 1.0, 2.0]
    expected = spearmanr(range(len(values)), values, alternative="less")
    assert falls(values) == pytest.approx(expected.pvalue)


def test_a_training_is_judged_against_the_baseline_of_its_plan() -> None:
    taught = [Taught("own:step"), Taught("eager", epochs_to_target=6)]
    (workload,) = summarise_training(*make_training(taught, baseline="own:step")).workloads
    own, again, eager = workload.rows
    assert (workload.baseline, own.is_baseline, again.repeat) == ("own:step", True, True)
    assert own.learning.steps_ratio is None
    assert eager.learning.steps_ratio.value > 1.4


def test_no_loop_is_sooner_at_a_target_that_the_first_steps_reach() -> None:
    def half(epochs: int) -> Learning:
        steps = (("eager", 0.01), ("half", 0.005))
        made = [Taught(loop, epochs_to_target=epochs, step_seconds=step) for loop, step in steps]
        return learnt(made, "half", seeds=(0,))

    near, far = half(1), half(3)
    assert near.first_steps_decide  # five steps are timed one by one, of twenty
    assert near.seconds_ratio is None
    assert not far.first_steps_decide
    assert far.seconds_ratio is not None
