"""The verdicts on a loop, and their rate of false alarms."""

from dataclasses import asdict, replace

import numpy as np
import pytest

from loopmark.bench.judge.finding import Finding
from loopmark.bench.plugin.findings import ExtraInfo, against_loop, against_stored, confidence_of, read_extra_info
from loopmark.bench.plugin.measurement import Measurement, Stop
from tests.support.synthetic import Truth, hold_down, make_run

PLAIN = ExtraInfo(
    workload="resnet", loop="compile", device="cpu", size="small", batch_size=64, parameters=10, threads=2,
    machine="imaginary-0a1b2c", torch="2.13.0", step_logs=(), ratio_logs=(), noise_floor=0.0, phases={},
)  # fmt: skip


def kept(rng: np.random.Generator, ratio: float = 1.0, launches: int = 5) -> ExtraInfo:
    return replace(PLAIN, ratio_logs=tuple(rng.normal(np.log(ratio), 0.02, launches)))


def judged(
    head: ExtraInfo, base: ExtraInfo, threshold: float = 0.0, false_alarms: float = 0.05, claims: int = 1
) -> Finding:
    found = against_stored(head, base, threshold, confidence_of(false_alarms, claims))
    assert isinstance(found, Finding)
    return found


def test_of_unchanged_loops_no_more_are_called_slower_than_was_allowed() -> None:
    rng = np.random.default_rng(1)
    alarms = sum(judged(kept(rng), kept(rng)).verdict == "slower" for _ in range(1000))

    assert 20 < alarms < 75  # 5 % are 50; three standard deviations are 21


def test_several_claims_share_the_false_alarms_of_one_test() -> None:
    rng = np.random.default_rng(2)
    alarms = 0
    for _ in range(500):
        head = kept(rng)
        alarms += any(judged(head, kept(rng), claims=3).verdict == "slower" for _ in range(3))

    assert alarms < 45  # 5 % are 25


@pytest.mark.parametrize(("ratio", "threshold", "verdict"), [(1.2, 0.05, "slower"), (0.7, 0.05, "faster")])
def test_a_difference_that_is_there_is_found(ratio: float, threshold: float, verdict: str) -> None:
    rng = np.random.default_rng(3)

    assert judged(kept(rng, ratio), kept(rng), threshold, 0.01).verdict == verdict


@pytest.mark.parametrize("side", ["head", "base"])
def test_nothing_below_the_noise_floor_of_either_run_is_called_a_difference(side: str) -> None:
    rng = np.random.default_rng(4)
    sides = {"head": kept(rng, 1.2), "base": kept(rng)}
    sides[side] = replace(sides[side], noise_floor=0.5)

    assert judged(sides["head"], sides["base"], 0.05).verdict == "inconclusive"


def test_a_loop_that_shares_no_round_with_eager_is_not_compared() -> None:
    assert against_stored(PLAIN, PLAIN, 0.05, 0.98) == "one of the two has no round in common with its baseline"


@pytest.mark.parametrize(("case", "verdict"), [(2, "slower"), (0, "inconclusive")])
def test_a_loop_that_lost_its_loss_is_a_regression_however_fast_and_against_one_that_did_it_is_open(
    case: int, verdict: str
) -> None:
    run, samples = make_run([Truth("eager"), Truth("eager", repeat=True), Truth("compile", 0.005)])
    samples.losses.loc[samples.losses["case"] == case, "loss"] = float("nan")
    found = against_loop(Measurement.of(run, samples), "compile", "eager", 0.05, 0.98)

    assert found.verdict == verdict
    assert found.broken == (verdict == "slower")
    assert found.note == f"{run.cases[case].loop}'s loss was NaN or infinite at step 0: its speed means nothing"


def test_a_loop_that_lost_its_loss_since_is_a_regression_and_one_that_had_lost_it_before_is_not_compared() -> None:
    rng = np.random.default_rng(6)
    fast, base = kept(rng, 0.8), kept(rng)
    now = against_stored(replace(fast, lost_at_step=3), base, 0.05, 0.98)
    before = against_stored(fast, replace(base, lost_at_step=3), 0.05, 0.98)

    assert isinstance(now, Finding)
    assert now.broken
    assert now.note is not None
    assert "loss was NaN or infinite at step 3" in now.note
    assert isinstance(before, str)
    assert "loss was NaN or infinite at step 3" in before


@pytest.mark.parametrize(
    ("what", "says"), [({"threads": 1}, "the threads differ"), ({"data_sha256": "b" * 64}, "data")]
)
def test_a_loop_at_other_work_is_not_compared(what: dict[str, object], says: str) -> None:
    rng = np.random.default_rng(7)
    base = replace(kept(rng), data_sha256="a" * 64)
    found = against_stored(replace(kept(rng), **{"data_sha256": "a" * 64, **what}), base, 0.05, 0.98)

    assert isinstance(found, str)
    assert says in found


def test_what_is_kept_of_a_loop_is_read_back_as_it_was() -> None:
    run, samples = make_run([Truth("eager"), Truth("eager", repeat=True), Truth("compile", 0.005)])
    made = ExtraInfo.of(Measurement.of(run, samples), "compile")

    assert read_extra_info({"extra_info": {"loopmark": asdict(made)}}) == made
    assert len(made.step_logs) == len(made.ratio_logs) == 5


def test_a_throttled_turn_counts_nowhere_where_it_was_taken_again() -> None:
    run, samples = make_run([Truth("eager"), Truth("eager", repeat=True), Truth("compile")], rounds=4)
    held = Measurement.of(run, hold_down(samples, 2))

    assert against_loop(held, "compile", "eager", 0.05, 0.98).verdict in ("same", "inconclusive")
    assert np.exp(ExtraInfo.of(held, "compile").step_logs) == pytest.approx(0.010, rel=0.3)
    assert held.rounds("compile") == pytest.approx([0.010] * 5 * 4, rel=0.5)
    assert held.rounds_per_launch("compile", lapped=False) == (4,) * 5
    phases = held.phase_rounds("compile")
    assert phases["forward"] == pytest.approx([0.003] * 5 * 4, rel=0.5)
    assert [len(rounds) for rounds in phases.values()] == [5 * 4] * 6


@pytest.mark.parametrize(("status", "skipped"), [("skipped", True), ("failed", False), ("timed_out", False)])
def test_a_baseline_that_cannot_be_measured_stops_the_test_with_its_reason(status, skipped) -> None:
    run, samples = make_run([Truth("eager", status=status, reason="why"), Truth("compile")])

    with pytest.raises(Stop, match="eager, the baseline of every loop: why") as stop:
        Measurement.of(run, samples)
    assert stop.value.skipped == skipped


def test_another_machine_or_torch_is_named_beside_the_verdict() -> None:
    rng = np.random.default_rng(5)
    found = judged(replace(kept(rng), machine="other-0a1b2c", torch="2.14.0"), kept(rng))

    assert found.note == "machine imaginary-0a1b2c → other-0a1b2c; torch 2.13.0 → 2.14.0"


def seconds_and_ratio(rng: np.random.Generator, own: float, eager: float) -> ExtraInfo:
    """A loop that takes ``own`` seconds a step, with an eager that takes ``eager``."""
    steps, eagers = (np.log(seconds) + rng.normal(0, 0.005, 5) for seconds in (own, eager))
    return replace(PLAIN, step_logs=tuple(map(float, steps)), ratio_logs=tuple(map(float, steps - eagers)))


def test_a_loop_whose_ratio_rose_because_eager_became_faster_is_not_called_slower() -> None:
    rng = np.random.default_rng(9)
    base = seconds_and_ratio(rng, 0.008, 0.010)
    found = judged(seconds_and_ratio(rng, 0.008, 0.008), base, 0.05)
    assert found.verdict == "inconclusive"
    assert "eager became faster" in (found.note or "")
    assert judged(seconds_and_ratio(rng, 0.010, 0.010), base, 0.05).verdict == "slower"


def test_a_ratio_to_an_eager_that_no_longer_trained_says_nothing() -> None:
    rng = np.random.default_rng(10)
    plain = kept(rng)
    found = against_stored(replace(plain, eager_lost_at_step=3), kept(rng), 0.05, 0.95)
    assert isinstance(found, str)
    assert "eager's loss was NaN or infinite at step 3 now" in found


def test_a_baseline_that_cannot_run_is_named_with_the_way_to_another() -> None:
    with pytest.raises(Stop, match="own:step, the baseline of every loop: boom; name another with baseline="):
        Measurement.of(*make_run([Truth("own:step", status="failed", reason="boom")], baseline="own:step"))
