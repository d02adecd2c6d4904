"""A survey recovers the known truth of its operations, chooses the best size, and says why one is left out."""

from dataclasses import replace
from itertools import count, cycle

import pytest

from loopmark.bench.measure.ceilings.sampling import Microbenchmark
from loopmark.bench.measure.ceilings.survey import FoundCeilings, survey
from loopmark.bench.measure.meters import Disturbance, DisturbanceMeter
from loopmark.bench.records.ceilings import Ceiling, LeftOut
from tests.measure.ceilings.fakes import FakeClock, fake_target


def surveyed(
    clock: FakeClock, *benchmarks: Microbenchmark, budget_seconds: float = 15.0, seed: int = 0
) -> FoundCeilings:
    return survey(benchmarks, budget_seconds, seed, now=clock.now)


def the_only(found: tuple[Ceiling, ...] | tuple[LeftOut, ...]) -> object:
    assert len(found) == 1
    return found[0]


def test_a_known_rate_is_recovered_exactly() -> None:
    clock = FakeClock()
    one = the_only(surveyed(clock, fake_target(clock, lambda _: 0.0625, sizes=(1000,))).ceilings)
    assert isinstance(one, Ceiling)
    assert (one.value, one.low, one.high) == pytest.approx((16_000.0,) * 3)
    assert one.steady


def test_known_seconds_are_recovered_and_fewer_are_better() -> None:
    clock = FakeClock()
    benchmark = fake_target(clock, {1: 3e-6, 2: 2e-6, 4: 2.5e-6}.__getitem__, unit="seconds")
    one = the_only(surveyed(clock, benchmark).ceilings)
    assert isinstance(one, Ceiling)
    assert one.best_size == 2
    assert one.value == pytest.approx(2e-6)


@pytest.mark.parametrize("best", [1, 2, 4])
def test_the_size_of_the_best_median_wins(best: int) -> None:
    clock = FakeClock()
    benchmark = fake_target(clock, lambda size: size * (0.01 if size == best else 0.012))
    one = the_only(surveyed(clock, benchmark).ceilings)
    assert isinstance(one, Ceiling)
    assert one.best_size == best
    assert one.value == pytest.approx(100.0)
    assert [tried.size for tried in one.tried] == [1, 2, 4]


def test_one_lucky_sample_wins_nothing() -> None:
    clock = FakeClock()
    calls = count()

    def seconds(size: int) -> float:
        if size == 1:
            return 0.03
        return 0.001 if next(calls) % 40 == 39 else 0.08  # 2 bytes in 0.08 s, sometimes in almost no time

    one = the_only(surveyed(clock, fake_target(clock, seconds, sizes=(1, 2))).ceilings)
    assert isinstance(one, Ceiling)
    assert one.best_size == 1
    assert one.value == pytest.approx(1 / 0.03)


def test_a_first_operation_that_takes_long_does_not_count() -> None:
    clock = FakeClock()
    calls = count()
    benchmark = fake_target(clock, lambda _: 0.7 if next(calls) == 0 else 0.01, sizes=(1,))
    one = the_only(surveyed(clock, benchmark).ceilings)
    assert isinstance(one, Ceiling)
    assert one.value == pytest.approx(100.0)
    assert one.high == pytest.approx(100.0)


def test_a_size_that_is_clearly_beaten_leaves_its_samples_to_the_others() -> None:
    clock = FakeClock()
    benchmark = fake_target(clock, {1: 0.01, 2: 0.03, 4: 0.05}.__getitem__)
    one = the_only(surveyed(clock, benchmark).ceilings)
    assert isinstance(one, Ceiling)
    samples = {tried.size: len(tried.values) for tried in one.tried}
    assert samples[2] == samples[4] == 6
    assert samples[1] > 100


def test_a_size_that_is_as_good_as_the_best_stays_to_the_end() -> None:
    clock = FakeClock()
    wobble = cycle([0.9, 1.0, 1.1, 1.05, 0.95])
    benchmark = fake_target(clock, lambda size: 0.02 * size * next(wobble), sizes=(1, 2))
    one = the_only(surveyed(clock, benchmark).ceilings)
    assert isinstance(one, Ceiling)
    assert abs(len(one.tried[0].values) - len(one.tried[1].values)) <= 1


def test_a_size_that_would_take_too_long_is_never_begun() -> None:
    clock = FakeClock()
    surveyed(clock, fake_target(clock, lambda size: 0.02 * size, sizes=(1, 4, 10_000)))
    assert "float32 4" in clock.log
    assert "float32 10000" not in clock.log


def test_the_budget_is_kept() -> None:
    clock = FakeClock()
    benchmarks = [
        fake_target(clock, lambda size: 0.01 * size, name=name) for name in ("float32", "bfloat16", "float16")
    ]
    surveyed(clock, *benchmarks, budget_seconds=15.0)
    assert 14.0 < clock.time_seconds <= 15.0


def test_a_small_budget_goes_to_fewer_sizes_and_every_target_has_a_ceiling() -> None:
    clock = FakeClock()
    benchmarks = [
        fake_target(clock, lambda size: 0.006 * size, name=name, sizes=(1, 2, 3, 4)) for name in ("float32", "bfloat16")
    ]
    found = surveyed(clock, *benchmarks, budget_seconds=1.5)
    assert [one.dtype for one in found.ceilings] == ["float32", "bfloat16"]
    assert all(one.samples >= 6 for one in found.ceilings)
    assert clock.time_seconds <= 1.5


def test_a_type_that_is_too_slow_is_left_out_with_what_it_took() -> None:
    clock = FakeClock()
    slow = fake_target(clock, lambda size: 2.0 * size, name="float16")
    found = surveyed(clock, slow, fake_target(clock, lambda size: 0.01 * size))
    left_out = the_only(found.left_out)
    assert isinstance(left_out, LeftOut)
    assert left_out.dtype == "float16"
    assert left_out.reason == (
        "at the smallest size, 1, it took 2 s, and a budget of 15 s allows 0.75 s; give a longer --budget"
    )
    assert clock.log.count("float16 1") == 1


def test_a_type_that_cannot_be_multiplied_is_left_out_with_what_torch_said() -> None:
    clock = FakeClock()
    error = RuntimeError('"addmm_impl_cpu_" not implemented\nfor this type')
    broken = fake_target(clock, lambda _: 0.01, name="float16", refuses=lambda _: error)
    found = surveyed(clock, broken, fake_target(clock, lambda size: 0.01 * size))
    assert [one.dtype for one in found.ceilings] == ["float32"]
    left_out = the_only(found.left_out)
    assert isinstance(left_out, LeftOut)
    assert '"addmm_impl_cpu_" not implemented for this type' in left_out.reason


def test_a_large_size_that_memory_has_no_room_for_leaves_the_smaller_ones() -> None:
    clock = FakeClock()
    benchmark = fake_target(
        clock, lambda size: 0.01 * size, refuses=lambda size: MemoryError("no room") if size == 4 else None
    )
    one = the_only(surveyed(clock, benchmark).ceilings)
    assert isinstance(one, Ceiling)
    assert [tried.size for tried in one.tried] == [1, 2]


def test_what_fails_in_the_middle_is_left_out_and_the_others_go_on() -> None:
    clock = FakeClock()
    calls = count()

    def seconds(_: int) -> float:
        if next(calls) > 30:
            raise RuntimeError("the device is gone")
        return 0.02

    failing = fake_target(clock, seconds, name="float16", sizes=(1,))
    found = surveyed(clock, failing, fake_target(clock, lambda size: 0.01 * size), budget_seconds=100.0)
    assert "float32" in [one.dtype for one in found.ceilings]
    assert all(one.samples < 31 for one in found.ceilings if one.dtype == "float16")


def test_what_fails_before_it_has_samples_enough_says_why() -> None:
    clock = FakeClock()
    calls = count()

    def seconds(_: int) -> float:
        if next(calls) > 17:  # after a try, the warm-up and a few samples
            raise RuntimeError("the device is gone")
        return 0.02

    left_out = the_only(surveyed(clock, fake_target(clock, seconds, sizes=(1,))).left_out)
    assert isinstance(left_out, LeftOut)
    assert "the device is gone" in left_out.reason


def test_a_budget_that_is_spent_before_there_are_samples_enough_is_the_reason() -> None:
    clock = FakeClock()
    benchmarks = [fake_target(clock, lambda _: 0.7, name=str(number), sizes=(1,)) for number in range(2)]
    found = surveyed(clock, *benchmarks)
    assert found.ceilings == ()
    assert all(
        "left time for" in one.reason and "of the 6 samples that an interval takes; give a longer" in one.reason
        for one in found.left_out
    )


def test_a_clock_that_stands_still_measures_nothing() -> None:
    clock = FakeClock()
    left_out = the_only(surveyed(clock, fake_target(clock, lambda _: 0.0)).left_out)
    assert isinstance(left_out, LeftOut)
    assert "took no time on the clock" in left_out.reason


def test_drift_favours_no_size() -> None:
    clock = FakeClock()

    def seconds(size: int) -> float:  # all sizes slow down over time; size 2 is always 2 % better
        return 0.02 * size * (0.98 if size == 2 else 1.0) * (1 + clock.time_seconds / 100)

    one = the_only(surveyed(clock, fake_target(clock, seconds, sizes=(1, 2, 3)), budget_seconds=60.0).ceilings)
    assert isinstance(one, Ceiling)
    assert one.best_size == 2


def test_the_seed_decides_the_order() -> None:
    logs = []
    for seed in (0, 0, 1):
        clock = FakeClock()
        surveyed(clock, fake_target(clock, lambda size: 0.02 * size), seed=seed)
        logs.append(clock.log)
    assert logs[0] == logs[1]
    assert logs[0] != logs[2]


class Meter(DisturbanceMeter):
    """Reports two switches in every sample, and a power cap in some."""

    def __init__(self) -> None:
        self._capped = False

    def begin(self) -> None:
        self._capped = not self._capped

    def end(self, own_processes: int) -> Disturbance:
        reasons = "power cap, thermal slowdown" if self._capped else ""
        return Disturbance(2, 0.5, float("nan"), reasons, int(self._capped))


def test_what_disturbs_the_samples_is_kept_beside_them() -> None:
    clock = FakeClock()
    benchmark = fake_target(clock, lambda _: 0.02, sizes=(1,))
    one = the_only(survey([benchmark], 15.0, 0, Meter(), now=clock.now).ceilings)
    assert isinstance(one, Ceiling)
    assert one.disturbance is not None
    assert one.disturbance.involuntary_switches == 2 * one.samples
    assert one.disturbance.steal_seconds == pytest.approx(0.5 * one.samples)
    assert one.disturbance.throttle_reasons == ("power cap", "thermal slowdown")
    assert one.disturbance.foreign_processes == 1
    assert one.disturbance.sampled_seconds == pytest.approx(0.02 * one.samples)


def test_the_best_product_runs_for_two_seconds_more_and_tells_what_it_holds() -> None:
    clock = FakeClock()
    hot: list[float] = []

    def seconds(size: int) -> float:
        if clock.time_seconds < 12.9:
            return 0.01
        hot.append(clock.time_seconds)
        return 0.01 if clock.time_seconds < 14 else 0.0125

    fast, slow = (
        replace(fake_target(clock, rate, name=name, sizes=(1000,), unit="flops per second"), kind="matrix product")
        for name, rate in (("bfloat16", seconds), ("float32", lambda _: 0.05))
    )
    copy = fake_target(clock, lambda _: 0.001, name="copy", sizes=(10**6,))
    found = {one.dtype: one for one in survey([slow, fast, copy], 15.0, 0, now=clock.now, soak=True).ceilings}

    assert found["bfloat16"].value == pytest.approx(100_000)
    assert found["bfloat16"].held == pytest.approx(80_000)
    assert found["float32"].held is found["copy"].held is None
    assert clock.time_seconds == pytest.approx(15.0, abs=0.5)


def test_without_a_soak_nothing_is_said_to_be_held() -> None:
    clock = FakeClock()
    one = the_only(surveyed(clock, fake_target(clock, lambda _: 0.0625, sizes=(1000,))).ceilings)
    assert isinstance(one, Ceiling)
    assert one.held is None
