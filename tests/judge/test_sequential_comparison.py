"""Two sides judged from synthetic launch pairs with a known truth."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from loopmark.bench.judge.sequential_comparison import (
    MEMORY,
    STEP,
    DecisionRules,
    SequentialComparison,
    judge_comparison,
    least_pairs,
    pair_values,
)
from loopmark.bench.records.comparison import BLOCKS, PHASES, Comparison, Pair, Side
from loopmark.bench.records.samples import table
from tests.support import synthetic

SHARES = {"forward": 0.3, "backward": 0.6, "optimizer": 0.1}


def side(**changed: object) -> Side:
    return Side(
        **{
            "given": {}, "workload": "resnet", "loop": "eager", "commit": None, "environment": synthetic.environment(),
            "batch_size": 64, "parameters": 10, "data_sha256": "ab", "phases": tuple(SHARES),
            "memory_kind": "resident set", "laps_count": True, **changed,
        }
    )  # fmt: skip


def launch_pair(
    random: np.random.Generator,
    index: int = 0,
    *,
    effects: dict[str, float] | None = None,
    memory: float = 1.0,
    noise: float = 0.01,
    drift: float = 0.3,
    lap_cost: float = 1.0,
    quads: int = 8,
) -> tuple[Pair, pd.DataFrame, pd.DataFrame]:
    """A launch pair whose head takes ``1 + effects[phase]`` times as long in each phase, on a machine that drifts."""
    blocks: list[dict[str, object]] = []
    phases: list[dict[str, object]] = []
    bias = random.normal(0, noise / 2)
    for quad in range(quads):
        first = bool(random.integers(2))
        for turn, head in enumerate((first, not first, not first, first)):
            weather = 0.005 * (1 + drift * (4 * quad + turn) / (4 * quads)) * math.exp(bias if head else 0)
            for lapped in (True, False):
                luck = math.exp(random.normal(0, noise))
                cost = {
                    phase: weather * luck * share * (1 + (effects or {}).get(phase, 0.0) * head)
                    for phase, share in SHARES.items()
                }
                place = dict(pair=index, quad=quad, turn=turn, head=head)
                seconds = sum(cost.values()) * (lap_cost if lapped else 1)
                blocks.append(
                    dict(
                        **place, lapped=lapped, steps=1, host_seconds=seconds, device_seconds=math.nan,
                        involuntary_switches=0, steal_seconds=0.0, throttle_reasons="", foreign_processes=0,
                    )
                )  # fmt: skip
                if lapped:
                    phases += [dict(**place, phase=p, host_seconds=s, device_seconds=math.nan) for p, s in cost.items()]
    peak = 400 * 2**20
    pair = Pair(index, False, 0.5, 2.0 * (index + 1), peak, round(peak * memory))
    return pair, table(BLOCKS, blocks), table(PHASES, phases)


def contest(
    rules: DecisionRules = DecisionRules(),  # noqa: B008
    most: int = 60,
    seed: int = 0,
    **truth: object,
) -> tuple[SequentialComparison, int]:
    random = np.random.default_rng(seed)
    sequential = SequentialComparison(rules, side(), side())
    for index in range(most):
        sequential.add(*launch_pair(random, index, **truth))  # type: ignore[arg-type]
        if sequential.decided:
            return sequential, index + 1
    return sequential, most


def verdicts(sequential: SequentialComparison) -> dict[str, str]:
    return {finding.metric: finding.verdict for finding in sequential.findings()}


def test_a_slower_head_is_called_slower_and_its_effect_lies_in_the_interval() -> None:
    sequential, pairs = contest(effects=dict.fromkeys(SHARES, 0.03))
    step = sequential.findings()[0]
    assert (step.metric, step.verdict) == (STEP, "slower")
    assert step.change is not None
    assert step.change.low <= 1.03 <= step.change.high
    assert pairs < 20


def test_a_faster_head_is_called_faster() -> None:
    sequential, _ = contest(effects=dict.fromkeys(SHARES, -0.05))
    assert verdicts(sequential)[STEP] == "faster"


def test_unchanged_code_is_called_the_same_within_the_margin() -> None:
    sequential, pairs = contest(noise=0.005)
    assert verdicts(sequential)[STEP] == "same"
    assert verdicts(sequential)[MEMORY] == "same"
    assert pairs < 40


def test_a_regression_in_one_phase_is_found_in_that_phase_alone() -> None:
    sequential, _ = contest(effects={"optimizer": 0.3})
    found = verdicts(sequential)
    assert found[STEP] == "slower"
    assert found["optimizer"] in ("slower", "inconclusive")  # the step may be decided first
    sequential, _ = contest(DecisionRules(step_threshold=0.5, margin=0.001), most=40, effects={"optimizer": 0.3})
    referee_phases = {f.metric: f.change for f in sequential.findings()}
    change = referee_phases["optimizer"]
    assert change is not None
    assert change.low > 1.2
    assert not referee_phases["forward"].excludes_zero or referee_phases["forward"].low < 1.01


def test_more_memory_is_a_regression_though_the_step_is_the_same() -> None:
    sequential, _ = contest(memory=1.2, noise=0.005)
    assert verdicts(sequential)[MEMORY] == "slower"


def test_a_little_more_memory_is_none() -> None:
    sequential, _ = contest(memory=1.02, noise=0.005)
    assert verdicts(sequential)[MEMORY] == "same"


def test_a_slowdown_within_the_threshold_is_no_regression() -> None:
    sequential, _ = contest(DecisionRules(step_threshold=0.05), effects=dict.fromkeys(SHARES, 0.02))
    assert verdicts(sequential)[STEP] == "same"


def test_few_launch_pairs_leave_everything_open() -> None:
    sequential, _ = contest(most=5, effects=dict.fromkeys(SHARES, 0.5))
    assert set(verdicts(sequential).values()) == {"inconclusive"}
    assert math.isinf(sequential.smallest_effect())


def test_launches_one_after_the_other_compare_by_their_medians_and_tell_no_uncertainty() -> None:
    pair, blocks, phases = launch_pair(np.random.default_rng(0), effects=dict.fromkeys(SHARES, 0.1), drift=0.0)
    values = pair_values(replace(pair, in_turns=False), blocks, phases, laps_count=True)
    assert values.logs[STEP] == math.log(values.head[STEP] / values.base[STEP]) == pytest.approx(0.1, abs=0.02)
    assert values.uncertainties == {}


def test_a_drift_that_both_sides_share_cancels() -> None:
    random = np.random.default_rng(8)
    logs = [pair_values(*launch_pair(random, noise=0.0, drift=1.0), laps_count=True).logs[STEP] for _ in range(50)]
    assert np.abs(logs).max() < 0.002


def test_one_disturbed_quad_does_not_move_a_launch() -> None:
    pair, blocks, phases = launch_pair(np.random.default_rng(9), noise=0.0, drift=0.0)
    blocks.loc[(blocks["quad"] == 3) & blocks["head"], "host_seconds"] *= 50
    assert pair_values(pair, blocks, phases, laps_count=True).logs[STEP] == pytest.approx(0, abs=1e-9)


def test_laps_that_do_not_run_as_plain_steps_do_have_no_say_in_the_step() -> None:
    pair, blocks, phases = launch_pair(np.random.default_rng(10), noise=0.0, drift=0.0)
    blocks.loc[blocks["lapped"] & blocks["head"], "host_seconds"] /= 2
    assert pair_values(pair, blocks, phases, laps_count=False).logs[STEP] == pytest.approx(0, abs=1e-9)
    assert pair_values(pair, blocks, phases, laps_count=True).logs[STEP] < -0.1


def test_a_phase_of_one_side_only_is_not_compared() -> None:
    pair, blocks, phases = launch_pair(np.random.default_rng(11))
    phases = phases[~(phases["head"] & (phases["phase"] == "optimizer"))]
    assert set(pair_values(pair, blocks, phases, laps_count=True).logs) == {STEP, MEMORY, "forward", "backward"}


def comparison(base: Side, head: Side) -> Comparison:
    return Comparison(
        name="x", command="loopmark ab", started="2026-01-01T00:00:00+00:00", seconds=20.0, interrupted=False,
        base=base, head=head, machine=synthetic.machine(), device="cpu", size="small", seed=0, budget_seconds=90.0,
        shared_server=True, pairs=(Pair(0, False, 0.5, 20.0, None, None),),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("truth", "outcome"),
    [
        (dict(effects=dict.fromkeys(SHARES, 0.05)), "regression"),
        (dict(noise=0.004), "no regression"),
        (dict(most=4), "inconclusive"),
        (dict(memory=1.3, noise=0.004), "regression"),
    ],
)
def test_step_and_memory_decide_the_outcome(truth: dict[str, object], outcome: str) -> None:
    sequential, _ = contest(**truth)  # type: ignore[arg-type]
    assert judge_comparison(comparison(side(), side()), sequential, DecisionRules()).outcome == outcome


def test_too_few_launch_pairs_for_a_verdict_say_how_many_it_needs_and_how_long_they_take() -> None:
    sequential, _ = contest(most=2)
    assert sequential.seconds_needed(20.0) == 10.0 * least_pairs(0.01)
    told = judge_comparison(comparison(side(), side()), sequential, DecisionRules())
    assert f"needs at least {least_pairs(0.01)} launch pairs, about 80 s here" in told.facts[1]


def test_fewer_false_alarms_need_more_launch_pairs_and_no_fewer_are_ever_enough() -> None:
    assert [least_pairs(rate) for rate in (0.05, 0.01, 0.001)] == sorted({least_pairs(r) for r in (0.05, 0.01, 0.001)})
    decided = contest(most=least_pairs(0.01) - 1, effects=dict.fromkeys(SHARES, 0.5), noise=0.0)[0]
    assert not decided.decided


def test_the_figures_of_a_row_are_apart_by_its_change() -> None:
    sequential, _ = contest(most=6, noise=0.2)
    for found in sequential.findings():
        assert found.change is not None
        if found.metric != MEMORY:
            assert found.head / found.base == pytest.approx(found.change.value)


def test_a_judgement_says_what_the_sides_differ_in() -> None:
    sequential, _ = contest(most=2)
    base = side(given={"rev": "main", "loop": "eager"}, commit="123456789abc")
    head = side(given={"rev": "HEAD"}, commit="abcdef123456", loop="compile", phases=("forward",))
    told = judge_comparison(comparison(base, head), sequential, DecisionRules())
    assert (told.base, told.head) == ("main (123456789abc) loop=eager", "HEAD (abcdef123456)")
    assert "rev main → HEAD" in told.differences
    assert "loop eager → compile" in told.differences
    assert any("different phases" in warning for warning in told.warnings)


def test_a_comparison_of_a_side_with_itself_says_so() -> None:
    sequential, _ = contest(most=2)
    assert any(
        "both sides are the same" in w
        for w in judge_comparison(comparison(side(), side()), sequential, DecisionRules()).warnings
    )


def test_a_difference_that_turns_round_meanwhile_is_no_verdict_and_the_reason_is_told() -> None:
    random = np.random.default_rng(3)
    sequential = SequentialComparison(DecisionRules(step_threshold=0.2, margin=0.001), side(), side())
    for index in range(60):  # of which the last fifteen or so change nothing
        slower = 0.1 if index < 10 else -0.1
        sequential.add(*launch_pair(random, index, effects=dict.fromkeys(SHARES, slower)))
    told = judge_comparison(comparison(side(), side()), sequential, DecisionRules())
    assert verdicts(sequential)[STEP] == "inconclusive"
    assert sequential.decided  # more launches would not help
    assert told.outcome == "inconclusive"
    step = next(finding for finding in told.findings if finding.metric == STEP)
    assert "the difference changed while it was measured" in (step.note or "")
    assert "no difference of the step fits all launch pairs" in told.facts


def test_a_head_that_lost_its_loss_is_broken_however_fast_it_is() -> None:
    random = np.random.default_rng(5)
    sequential = SequentialComparison(DecisionRules(), side(), side())
    pair, *tables = launch_pair(random, effects=dict.fromkeys(SHARES, -0.5))
    sequential.add(replace(pair, head_lost_at_step=7), *tables)
    assert sequential.decided
    told = judge_comparison(comparison(side(), side()), sequential, DecisionRules())
    assert told.outcome == "regression"
    (broken,) = told.regressions
    assert broken.broken
    assert "step 7" in (broken.note or "")


def test_memory_of_a_launch_that_compiled_with_an_empty_cache_is_not_the_loops() -> None:
    pair, blocks, phases = launch_pair(np.random.default_rng(4), memory=2.0)
    assert MEMORY in pair_values(pair, blocks, phases, laps_count=True).logs
    assert MEMORY not in pair_values(replace(pair, compiled=True), blocks, phases, laps_count=True).logs
