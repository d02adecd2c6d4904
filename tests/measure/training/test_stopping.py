import math

from loopmark.bench.measure.training.stopping import PATIENCE, PATIENCE_STEPS, Stopping
from loopmark.bench.records.training import Ending, Target, Until

ACCURACY = Target("accuracy", 0.9, higher_is_better=True)
BITS = Target("bits per byte", 4.0, higher_is_better=False)
EPOCH = 20


def endings(
    qualities: list[float], until: Until = "convergence", target: Target = ACCURACY, epoch: int = EPOCH
) -> tuple[list[Ending | None], Stopping]:
    stopping = Stopping(target, until, budget_seconds=1000.0, untrained=qualities[0])
    heard = [stopping.hear(n * epoch, 0.1 * n, quality) for n, quality in enumerate(qualities[1:], start=1)]
    return heard, stopping


def test_until_the_target_is_until_the_target() -> None:
    assert endings([0.1, 0.5, 0.9], "target")[0] == [None, "reached the target"]
    assert endings([8.0, 4.5, 4.0], "target", BITS)[0] == [None, "reached the target"]


def test_until_convergence_goes_on_after_the_target() -> None:
    assert endings([0.1, 0.95, 0.97])[0] == [None, None]


def test_training_has_converged_at_its_best_when_quality_rises_no_more() -> None:
    heard, stopping = endings([0.1, 0.5, 0.8, *[0.8] * PATIENCE])
    assert heard[-1] == "converged"
    assert heard[:-1] == [None] * (len(heard) - 1)
    assert stopping.converged_at_step == 2 * EPOCH


def test_a_rise_below_a_hundredth_of_all_that_was_gained_does_not_count() -> None:
    crawl = [0.1, 0.8, *[0.8 + 0.001 * n for n in range(1, PATIENCE + 1)]]
    heard, stopping = endings(crawl)
    assert heard[-1] == "converged"
    assert stopping.converged_at_step == EPOCH


def test_epochs_of_one_step_are_given_as_many_steps_as_others() -> None:
    heard, _ = endings([0.1, 0.5, *[0.5] * (PATIENCE_STEPS - 1)], epoch=1)
    assert heard == [None] * PATIENCE_STEPS
    assert endings([0.1, 0.5, *[0.5] * PATIENCE_STEPS], epoch=1)[0][-1] == "converged"


def test_what_never_rose_has_not_converged_and_goes_on_to_its_budget() -> None:
    assert endings([0.1] * 20)[0] == [None] * 19
    assert Stopping(ACCURACY, "convergence", 1.0, 0.1).hear(EPOCH, 1.0, 0.1) == "spent its budget"


def test_quality_that_is_not_a_number_is_no_rise_and_hides_none() -> None:
    heard, stopping = endings([0.1, math.nan, 0.5, *[math.nan] * PATIENCE])
    assert heard[-1] == "converged"
    assert stopping.converged_at_step == 2 * EPOCH


def test_an_untrained_model_that_could_not_be_measured_is_no_obstacle() -> None:
    assert endings([math.nan, 0.5, 0.8, *[0.8] * PATIENCE])[0][-1] == "converged"
