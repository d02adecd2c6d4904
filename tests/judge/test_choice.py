"""The loops to use: for long runs, for shorter ones, and the combination that was not tried."""

from dataclasses import replace

import pytest

from loopmark.bench.judge.choice import Choice, choose
from loopmark.bench.judge.statistics import Estimate
from loopmark.bench.judge.summary import Row, WorkloadSummary
from loopmark.bench.records.run import Case

STEP = 0.010


def row(loop: str, speedup: float = 1.0, late: float = 0.0, excludes: tuple[str, ...] = (), code: str = "x") -> Row:
    """A loop with a true speedup, known to 1 %, that starts ``late`` seconds after the baseline."""
    case = Case(
        "resnet",
        loop,
        False,
        "ok",
        None,
        64,
        1,
        None,
        ("forward",),
        None,
        (),
        code=(code,) * bool(code),
        excludes=excludes,
    )
    if loop == "eager":
        return Row(case, "eager", Estimate(STEP, STEP, STEP))
    gain = STEP * (1 - 1 / speedup)
    steps = Estimate(late / gain, 0.9 * late / gain, 1.1 * late / gain) if speedup > 1 else None
    ratio = Estimate(speedup, 0.99 * speedup, 1.01 * speedup)
    verdict = "faster" if speedup > 1 else "slower"
    seconds = STEP / speedup
    return Row(case, "eager", Estimate(seconds, seconds, seconds), ratio, verdict, break_even_steps=steps)  # type: ignore[arg-type]


def chosen(*rows: Row) -> Choice | None:
    every = (row("eager"), *rows)
    return choose(WorkloadSummary("resnet", "eager", every, 0.01), [one for one in rows if one.verdict])


def names(choice: Choice | None) -> tuple[str, str | None]:
    assert choice is not None
    return choice.long.case.loop, choice.short.case.loop if choice.short else None


def test_the_fastest_loop_is_for_all_runs_if_it_starts_as_soon_as_the_baseline() -> None:
    choice = chosen(row("fused_optimizer", 1.3), row("compile", 1.2, late=10))
    assert names(choice) == ("fused_optimizer", None)
    assert choice is not None
    assert choice.overtakes is None


def test_a_loop_that_starts_at_once_is_for_the_runs_before_a_compilation_has_paid_off() -> None:
    choice = chosen(row("compile", 1.25, late=10.0), row("channels_last", 1.1))
    assert names(choice) == ("compile", "channels_last")
    assert choice is not None
    assert choice.overtakes is not None
    # Ten seconds over the difference of the steps, and not of compile's and eager's.
    assert choice.overtakes.value == pytest.approx(10.0 / (STEP / 1.1 - STEP / 1.25))
    assert choice.overtakes.low < choice.overtakes.value < choice.overtakes.high


def test_the_baseline_is_for_short_runs_if_nothing_else_is_ahead_of_it_that_early() -> None:
    choice = chosen(row("compile", 1.25, late=10.0), row("compile_optimizer", 1.05, late=12.0))
    assert names(choice) == ("compile", None)
    assert choice is not None
    assert choice.overtakes is not None
    assert choice.overtakes.value == pytest.approx(10.0 / (STEP - STEP / 1.25))


def test_of_several_loops_the_one_that_is_overtaken_last_is_for_shorter_runs() -> None:
    early = row("channels_last", 1.02), row("fused_optimizer", 1.2, late=0.1)
    assert names(chosen(row("compile", 1.25, late=10.0), *early)) == ("compile", "fused_optimizer")


def test_a_later_start_is_not_worth_it_unless_the_loop_is_shown_to_be_faster() -> None:
    choice = chosen(row("compile", 1.11, late=10.0), row("channels_last", 1.1))
    assert names(choice) == ("channels_last", None)
    assert choice is not None
    assert choice.overtakes is None
    assert choice.unsettled is not None
    assert choice.unsettled.case.loop == "compile"


def test_every_loop_that_starts_earlier_counts_and_not_only_the_one_that_is_overtaken_last() -> None:
    early = row("channels_last", 1.24), row("fused_optimizer", 1.2, late=0.0)
    rivals = row("compile_optimizer", 1.24, late=9.9), row("fused_optimizer", 1.1)
    assert names(chosen(row("compile", 1.25, late=10.0), *early)) == ("channels_last", None)
    assert names(chosen(row("compile", 1.25, late=10.0), *rivals)) == ("compile_optimizer", "fused_optimizer")


def test_a_speed_that_may_be_equal_is_no_matter_without_a_later_start() -> None:
    choice = chosen(row("fused_optimizer", 1.11), row("channels_last", 1.1))
    assert names(choice) == ("fused_optimizer", None)
    assert choice is not None
    assert choice.unsettled is None


def test_no_run_is_so_short_that_a_few_steps_matter() -> None:
    choice = chosen(row("compile", 1.25, late=0.1))
    assert names(choice) == ("compile", None)
    assert choice is not None
    assert choice.overtakes is None


def test_of_two_equal_speedups_the_earlier_start_is_for_all_runs() -> None:
    assert names(chosen(row("compile", 1.1, late=10.0), row("channels_last", 1.1))) == ("channels_last", None)


def test_nothing_is_chosen_if_no_loop_is_faster() -> None:
    assert chosen(row("amp_bf16", 0.8)) is None
    assert chosen() is None


@pytest.mark.parametrize(
    ("others", "untried"),
    [
        ((), None),
        ((row("fused_optimizer", 1.1),), "compile+fused_optimizer"),
        ((row("fused_optimizer", 1.1), row("fused_optimizer+compile", 0.9)), None),
        ((row("compile_max_autotune", 1.1),), None),
        ((row("amp_bf16", 0.7),), None),
        ((row("tf32", 1.2, excludes=("compile",)),), None),
        ((row("tf32", 1.2), row("fused_optimizer", 1.1)), "compile+tf32+fused_optimizer"),
        ((row("own:step", 1.2, code=""),), None),
    ],
)  # fmt: skip
def test_faster_loops_that_go_together_and_were_not_tried_together_are_worth_trying(
    others: tuple[Row, ...], untried: str | None
) -> None:
    choice = chosen(row("compile", 1.25, excludes=("compile_max_autotune",)), *others)
    assert choice is not None
    assert choice.untried == untried


def test_two_accumulations_do_not_go_together() -> None:
    choice = chosen(row("accumulate_2", 1.25), row("accumulate_4", 1.2))
    assert choice is not None
    assert choice.untried is None


def test_an_older_run_does_not_know_what_goes_together() -> None:
    old = [replace(one, case=replace(one.case, code=())) for one in (row("compile", 1.25), row("tf32", 1.2))]
    choice = chosen(*old)
    assert choice is not None
    assert choice.untried is None
