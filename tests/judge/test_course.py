"""The course of a watched script: drifts, slow steps and what they share, of steps with a known truth."""

import numpy as np
import pandas as pd
import pytest

from loopmark.bench.judge.course import NO_PATTERN, Course, SlowSteps, course_of, in_stretches
from loopmark.bench.records.samples import Samples

STEP = 0.010
SHARES = {"data": 0.4, "forward": 0.2, "backward": 0.3, "optimizer": 0.1}
STEPS = 2000


def steps_of(
    seconds: np.ndarray, events: dict[int, str] | None = None, memory: np.ndarray | None = None
) -> pd.DataFrame:
    """The table of steps; a step belongs to blocks of five, with laps and without in turn."""
    count = len(seconds)
    named = events or {}
    return pd.DataFrame(
        {
            "case": 0,
            "step": np.arange(count),
            "ended_seconds": np.cumsum(seconds),
            "host_seconds": seconds,
            "device_seconds": np.nan,
            "lapped": np.arange(count) // 5 % 4 % 3 == 0,
            "events": [named.get(step, "") for step in range(count)],
            "samples": 64.0,
            "memory_bytes": np.full(count, np.nan) if memory is None else memory,
        }
    )


def phases_of(steps: pd.DataFrame, beyond: str = "other after optimizer") -> pd.DataFrame:
    """The laps of these steps: what a step takes beyond a typical one is of the phase ``beyond``."""
    lapped = steps[steps["lapped"]]
    parts = [
        pd.DataFrame({"step": lapped["step"], "phase": phase, "host_seconds": share * STEP})
        for phase, share in SHARES.items()
    ]
    rest = (lapped["host_seconds"] - STEP).clip(0)
    table = pd.concat([*parts, pd.DataFrame({"step": lapped["step"], "phase": beyond, "host_seconds": rest})])
    return table.assign(case=0, launch=0, device_seconds=np.nan)


def blocks_of(steps: pd.DataFrame, cost: float = 1.0) -> pd.DataFrame:
    """The blocks of these steps, where laps make a step slower by the factor ``cost``."""
    number = steps["step"] // 5
    blocks = (
        steps.assign(block=number)
        .groupby("block")
        .agg(lapped=("lapped", "first"), host_seconds=("host_seconds", "sum"), steps=("step", "size"))
    )
    blocks["host_seconds"] *= np.where(blocks["lapped"], cost, 1.0)
    blocks["round"] = blocks.index // 4
    return blocks.reset_index(drop=True).assign(case=0, launch=0, device_seconds=np.nan)


def course(steps: pd.DataFrame, cost: float = 1.0) -> Course:
    found = course_of(steps, phases_of(steps), blocks_of(steps, cost))
    assert found is not None
    return found


def noise(seed: int = 0, size: int = STEPS) -> np.ndarray:
    """Step times around 10 ms that vary by 3 %."""
    values: np.ndarray = STEP * np.exp(np.random.default_rng(seed).normal(0, 0.03, size))
    return values


def slow(steps: pd.DataFrame) -> dict[str, SlowSteps]:
    return {one.kind: one for one in course(steps).slow}


@pytest.mark.parametrize("seed", range(5))
def test_nothing_drifts_or_stands_out_in_plain_noise(seed: int) -> None:
    found = course(steps_of(noise(seed)))
    assert (found.drift, found.grown_bytes, found.slow) == (None, None, ())


def test_steps_that_get_slower_have_their_growth_with_an_interval() -> None:
    found = course(steps_of(noise() * np.linspace(1, 1.2, STEPS))).drift
    assert found is not None
    assert found.low <= 1.2 / 1.02 - 1 <= found.high  # the first tenth is not judged
    assert found.high - found.low < 0.05


def test_steps_that_get_faster_have_a_negative_growth() -> None:
    found = course(steps_of(noise() * np.linspace(1.2, 1, STEPS))).drift
    assert found is not None
    assert found.high < 0


def test_a_slow_start_is_no_drift() -> None:
    seconds = noise()
    seconds[: STEPS // 20] *= 3
    found = course(steps_of(seconds))
    assert (found.drift, found.slow) == (None, ())


def test_a_growth_of_one_per_cent_is_not_told() -> None:
    assert course(steps_of(noise() * np.linspace(1, 1.01, STEPS))).drift is None


def test_a_wave_of_the_machine_is_no_drift() -> None:
    seconds = noise() * (1 + 0.1 * np.sin(np.linspace(0, 12 * np.pi, STEPS)))
    assert course(steps_of(seconds)).drift is None


MEMORY = 500 * 2**20


def test_memory_that_rises_steadily_creeps() -> None:
    memory = np.full(STEPS, np.nan)
    memory[::50] = MEMORY + np.linspace(0, 100 * 2**20, STEPS // 50)
    grown = course(steps_of(noise(), memory=memory)).grown_bytes
    assert grown == pytest.approx(50 * 2**20, rel=0.1)


@pytest.mark.parametrize(
    "rise",
    [
        np.minimum(np.linspace(0, 1e9, STEPS // 50), 2e8),  # it stops rising early
        np.linspace(0, 1e6, STEPS // 50),  # too little
        1e8 * np.random.default_rng(0).random(STEPS // 50),  # it goes up and down
    ],
)
def test_memory_that_settles_or_varies_does_not_creep(rise: np.ndarray) -> None:
    memory = np.full(STEPS, np.nan)
    memory[::50] = MEMORY + rise
    assert course(steps_of(noise(), memory=memory)).grown_bytes is None


@pytest.mark.parametrize("period", [7, 100, 250])
def test_slow_steps_with_a_period_are_told_with_it(period: int) -> None:
    seconds = noise()
    seconds[period - 1 :: period] += 5 * STEP
    found = slow(steps_of(seconds))
    assert list(found) == [f"every {period}th step"]
    one = found[f"every {period}th step"]
    late = sum(step >= STEPS // 10 for step in range(period - 1, STEPS, period))
    assert one.count == late
    assert one.phase == "other after optimizer"
    assert one.share == pytest.approx(5 * STEP * late / seconds.sum(), rel=0.1)
    assert one.longest_seconds == pytest.approx(6 * STEP, rel=0.05)


def test_two_periods_are_told_apart() -> None:
    seconds = noise()
    seconds[::90] += 5 * STEP
    seconds[25::200] += 8 * STEP
    assert set(slow(steps_of(seconds))) == {"every 90th step", "every 200th step"}


def test_slow_steps_with_an_event_are_told_by_it_and_not_by_their_period() -> None:
    seconds, events = noise(), {}
    for step in range(0, STEPS, 200):
        seconds[step] += 5 * STEP
        events[step] = "first of an epoch, validation"
    for step in range(100, STEPS, 400):
        seconds[step] += 9 * STEP
        events[step] = "checkpoint"
    found = slow(steps_of(seconds, events))
    assert set(found) == {"validation", "checkpoint"}
    assert (found["validation"].count, found["checkpoint"].count) == (9, 4)


def test_slow_steps_at_random_have_no_pattern() -> None:
    seconds = noise()
    seconds[np.random.default_rng(3).choice(np.arange(300, STEPS), 12, replace=False)] += 6 * STEP
    found = slow(steps_of(seconds))
    assert list(found) == [NO_PATTERN]
    assert found[NO_PATTERN].count == 12


def test_slow_steps_are_listed_by_their_share_of_the_time() -> None:
    seconds = noise()
    seconds[::100] += 3 * STEP
    seconds[50::400] += 40 * STEP
    shares = [one.share for one in course(steps_of(seconds)).slow]
    assert shares == sorted(shares, reverse=True)


def test_shares_of_the_phases_are_those_of_all_timed_steps() -> None:
    found = course(steps_of(np.full(STEPS, STEP)))
    assert {phase: share for phase, share in found.shares.items() if share} == pytest.approx(SHARES)
    assert (found.steps, found.lapped) == (STEPS, 0.5)
    assert found.typical_seconds == pytest.approx(STEP)


def test_the_cost_of_the_laps_is_that_of_blocks_with_them_over_blocks_without() -> None:
    found = course(steps_of(noise()), cost=1.02).lap_cost
    assert found is not None
    assert found.low <= 1.02 <= found.high
    assert found.high - found.low < 0.02


def test_the_cost_is_unknown_without_quads_that_have_both_kinds_of_blocks() -> None:
    steps = steps_of(noise()).assign(lapped=True)
    assert course(steps).lap_cost is None


def test_fewer_than_sixty_steps_have_no_course() -> None:
    steps = steps_of(noise(size=59))
    assert course_of(steps, phases_of(steps), blocks_of(steps)) is None


@pytest.mark.parametrize(("rounds", "stretches"), [(1, 1), (5, 2), (20, 10), (97, 10)])
def test_a_process_is_cut_into_at_most_ten_stretches_in_order(rounds: int, stretches: int) -> None:
    blocks = pd.DataFrame({"case": 0, "round": np.repeat(np.arange(rounds), 4), "launch": 0})
    whole = Samples.empty()
    cut = in_stretches(Samples(blocks.copy(), blocks.copy(), whole.warmup, whole.losses)).blocks  # type: ignore[arg-type]
    sizes = cut.groupby("launch").size()
    assert cut["launch"].is_monotonic_increasing
    assert list(sizes.index) == list(range(stretches))
    assert sizes.max() - sizes.min() <= 4
