import itertools
from dataclasses import replace

import pytest

from loopmark.bench.measure.warmup import WarmUp, is_steady, unsteady, warm_up
from loopmark.bench.report.takeaway import warnings_of
from tests.support.synthetic import Truth, make_run


def steps(*seconds: float):
    """A function that takes these times in turn, and the last one from then on."""
    return itertools.chain(seconds, itertools.repeat(seconds[-1])).__next__


def test_steps_of_one_speed_are_steady_after_two_looks() -> None:
    warm = warm_up(steps(0.1), ceiling_seconds=60)

    assert warm.steady
    assert len(warm.seconds) == 11
    assert warm.steady_step_seconds == 0.1
    assert warm.excess_seconds == pytest.approx(0)


def test_a_compile_in_the_first_step_is_all_excess() -> None:
    warm = warm_up(steps(20.0, 0.1), ceiling_seconds=60)

    assert warm.steady
    assert warm.excess_seconds == pytest.approx(19.9)


def test_a_second_compile_some_steps_later_is_waited_for() -> None:
    warm = warm_up(steps(5.0, *[0.2] * 4, 9.0, 0.1), ceiling_seconds=60)

    assert warm.steady
    assert warm.steady_step_seconds == 0.1
    assert warm.excess_seconds == pytest.approx(4.9 + 4 * 0.1 + 8.9)


def test_steps_that_keep_getting_faster_end_at_the_ceiling_and_say_so() -> None:
    faster_and_faster = (0.5 * 0.9**taken for taken in itertools.count())
    warm = warm_up(faster_and_faster.__next__, ceiling_seconds=2)

    assert not warm.steady
    assert sum(warm.seconds[1:]) < 2.5


def test_the_ceiling_does_not_count_the_first_step() -> None:
    assert warm_up(steps(300.0, 0.01), ceiling_seconds=5).steady


def test_a_handful_of_microsecond_steps_is_not_enough() -> None:
    assert not is_steady([1e-4] * 100)
    assert is_steady([1e-4] * 2500)


def test_steps_slower_than_the_ceiling_still_give_a_median() -> None:
    warm = warm_up(steps(7.0), ceiling_seconds=5)

    assert len(warm.seconds) == 6
    assert warm.steady_step_seconds == 7.0


def test_excess_is_never_negative() -> None:
    assert WarmUp((0.1, 0.1, 0.3, 0.3, 0.3, 0.3, 0.3), steady=True).excess_seconds == 0


def test_a_warning_of_many_cases_is_shown_once_whatever_the_number_of_launches() -> None:
    run, _ = make_run([Truth("eager"), Truth("compile")])
    eager, compiled = run.cases
    late = [replace(launch, steady=False) for launch in eager.launches]
    cases = (replace(eager, launches=tuple(late)), replace(compiled, launches=(late[0], *compiled.launches[1:])))
    (warning,) = warnings_of(replace(run, warnings=tuple(unsteady(cases, 3.0))))
    assert warning.startswith("resnet, eager; resnet, compile: launches were still getting faster when their warm-up")
