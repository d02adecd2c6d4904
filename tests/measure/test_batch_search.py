"""The sizes that a search proposes; then searches with stand-ins for processes, and one with real processes."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from loopmark.bench.errors import BadInput
from loopmark.bench.judge.batches import find
from loopmark.bench.measure import batch_search
from loopmark.bench.measure.answers import Finished, Ready, Rows, Turn, Warm
from loopmark.bench.measure.batch_search import NEVER_REACHED, BatchSearch, SizeSearch, between, expected_seconds
from loopmark.bench.measure.clock import Block
from loopmark.bench.measure.machine import CommandFacts
from loopmark.bench.measure.meters import Disturbance
from loopmark.bench.measure.plan import PlanOptions, make_plan
from loopmark.bench.measure.pool import CaseEnded, WorkerProcess, worker_pool
from loopmark.bench.measure.warmup import WarmUp
from loopmark.bench.records.batch_sizes import BATCH_SIZES_FILE, BatchCase, BatchSizes, read_batch_sizes
from tests.support import synthetic

PATIENCE = 60


def searched(
    fits: Callable[[int], bool], rate: Callable[[int], float] = float, *, first: int = 64, most: int | None = None
) -> tuple[list[int], SizeSearch]:
    """The proposed sizes in order, and the search at its end."""
    search, tried = SizeSearch(first, most), []
    while (size := search.next()) is not None:
        assert len(tried) < PATIENCE, f"still not done after {tried}"
        tried.append(size)
        search.hear(size, rate(size) if fits(size) else None)
    return tried, search


def test_what_always_fits_is_doubled_up_to_the_rows_of_the_data() -> None:
    tried, search = searched(lambda _: True, most=1437)

    assert tried == [64, 128, 256, 512, 1024, 1437]
    assert search.largest == 1437
    assert search.too_large is None


def test_without_an_end_to_the_data_it_goes_on_doubling() -> None:
    search = SizeSearch(64)
    for size in (64, 128, 256):
        assert search.next() == size
        search.hear(size, float(size))
    assert search.next() == 512


def test_what_never_fits_is_halved_down_to_one() -> None:
    tried, search = searched(lambda _: False)

    assert tried == [64, 32, 16, 8, 4, 2, 1]
    assert search.largest is None
    assert search.too_large == 1


@pytest.mark.parametrize("first", [1, 3, 64, 100, 5000])
@pytest.mark.parametrize("limit", [1, 2, 5, 7, 63, 64, 65, 1000, 1023, 1024, 1025, 99_999])
def test_the_largest_that_fits_is_found_to_within_an_eighth_from_wherever_it_begins(first: int, limit: int) -> None:
    tried, search = searched(lambda size: size <= limit, first=first)

    assert len(set(tried)) == len(tried)
    assert search.largest is not None
    assert search.too_large is not None
    assert search.largest <= limit < search.too_large
    assert search.too_large - search.largest <= max(1, search.largest // 8)


def test_what_lies_between_is_tried_at_round_sizes() -> None:
    tried, _ = searched(lambda size: size <= 1000)

    assert tried == [64, 128, 256, 512, 1024, 768, 896, 960]


@pytest.mark.parametrize(
    ("fits", "too_large", "middle"), [(64, 65, None), (64, 128, 96), (1, 2, None), (1, 4, 2), (1000, 1024, None)]
)
def test_half_way_is_a_round_size_strictly_between(fits: int, too_large: int, middle: int | None) -> None:
    assert between(fits, too_large) == middle


def test_data_with_fewer_rows_than_the_first_size_is_taken_whole() -> None:
    assert searched(lambda _: True, first=64, most=50)[0] == [50]


def test_the_rows_may_become_known_on_the_way() -> None:
    search = SizeSearch(64)
    search.hear(64, 1.0)
    search.most = 100

    assert search.next() == 100
    search.hear(100, 2.0)
    assert search.next() is None


def test_while_the_smallest_is_the_fastest_what_is_smaller_is_tried_too() -> None:
    peak = {64: 100.0, 128: 90.0, 32: 120.0, 16: 110.0}
    tried, _ = searched(lambda _: True, lambda size: peak.get(size, 50.0), most=256)

    assert tried == [64, 128, 32, 16, 256]


def test_a_throughput_with_two_peaks_is_seen_at_every_doubling() -> None:
    tried, search = searched(lambda size: size <= 600, lambda size: {64: 50.0, 128: 90.0, 256: 60.0}.get(size, 95.0))

    assert tried == [64, 128, 256, 512, 1024, 768, 640, 576]
    assert search.largest == 576


def test_ties_are_no_reason_to_go_smaller() -> None:
    assert searched(lambda _: True, lambda _: 7.0, most=256)[0] == [64, 128, 256]


def test_half_of_the_fastest_is_not_asked_for_again_when_it_cannot_run() -> None:
    tried, _ = searched(lambda size: size != 32, lambda size: 1 / size, most=128)

    assert tried == [64, 128, 32]


MIB = 2**20
QUIET = Disturbance(0, 0.0, math.nan, "", 0)
EXAMPLES = Path(__file__).parents[1] / "examples"


class Silence:
    """Progress without a reader."""

    def tell(self, doing: str, done: float, remaining_seconds: float | None, *_: object) -> None:
        assert 0 <= done <= 1


@dataclass
class Truth:
    """The true properties of a machine and a loop."""

    step_seconds: Callable[[int], float] = lambda size: 0.001 + size * 1e-5
    peak_bytes: Callable[[int], int] = lambda size: 300 * MIB + size * MIB
    data_rows: int | None = None
    ends: Callable[[int], CaseEnded | BaseException | None] = lambda size: None
    made: Callable[[int], int] = lambda size: size
    """The rows of a batch for a requested size."""
    per_step: Callable[[int], float] = float
    stated: Callable[[int], int] = lambda size: size
    started: list[int] = field(default_factory=list)
    """The sizes tried in a process, in order."""


class StandIn(WorkerProcess):
    """A process that answers at once."""

    pid = 2**30  # no process has this id

    def __init__(self, truth: Truth, size: int) -> None:
        self._truth, self._size = truth, size

    def ask(self, request: str, arguments: dict[str, Any], limit_seconds: float, ours: bool) -> Any:
        truth, size = self._truth, self._size
        step = truth.step_seconds(size)
        if request == "warm" and (end := truth.ends(size)):
            raise end
        return {
            "set_up": lambda: Ready(0.1, truth.stated(size), 10, False, None),
            "rows": lambda: Rows(truth.made(size), truth.data_rows, truth.per_step(size)),
            "warm": lambda: Warm(WarmUp((step,) * 6, True), (), step, 0.0, "none", (), "resident set", True),
            "take_turn": lambda: Turn(tuple((0, _block(step, i), QUIET) for i, _ in enumerate(arguments["order"]))),
            "finish": lambda: Finished(1, truth.peak_bytes(size), "resident set", None, None, None),
        }[request]()

    def kill(self) -> None:
        """There is nothing to end."""


def _block(step: float, number: int) -> Block:
    return Block(1, step * (1 + 0.001 * (number % 3)), math.nan)


class StandInPool:
    """Starts stand-ins."""

    def __init__(self, folder: Path, truth: Truth) -> None:
        self.folder, self._truth = folder, truth

    def start(self, workload: str, loop: str, *, batch_size: int, **_: Any) -> StandIn:
        self._truth.started.append(batch_size)
        return StandIn(self._truth, batch_size)


@pytest.fixture
def search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., BatchSizes]:
    def conduct(truth: Truth, *, free_bytes: int = 2**50, loops: tuple[str, ...] = (), **wishes: Any) -> BatchSizes:
        monkeypatch.setattr(batch_search, "safe_bytes", lambda: free_bytes)
        monkeypatch.setattr(batch_search, "apart", lambda function, *arguments: function(*arguments))
        wish = PlanOptions(
            ["loopmark"], workloads=["regression"], loops=["eager", *loops], device="cpu", threads=1, **wishes
        )
        made = BatchSearch(CommandFacts(make_plan(wish), synthetic.machine(), datetime.now(UTC)), Silence())
        return made.run(StandInPool(tmp_path, truth))

    return conduct


def only(hunt: BatchSizes) -> BatchCase:
    (case,) = hunt.cases
    return case


def sizes(case: BatchCase, *, fit: bool) -> list[int]:
    return sorted(attempt.batch_size for attempt in case.attempts if attempt.fits == fit)


def test_the_data_is_the_ceiling_where_all_of_it_fits(search) -> None:
    case = only(search(Truth(data_rows=442), batch_size=64))

    assert sizes(case, fit=True) == [64, 128, 256, 442]
    assert (case.status, case.stop, case.data_rows) == ("ok", "data", 442)
    assert case.memory_kind == "resident set"


def test_a_batch_that_is_expected_to_take_more_memory_than_is_safe_is_never_started(search) -> None:
    truth = Truth()
    case = only(search(truth, free_bytes=1000 * MIB, batch_size=64))

    assert max(truth.started) <= 700  # 300 MiB, and one more for each sample
    assert case.stop == "host memory"
    assert sizes(case, fit=True)[-1] == 640
    refused = [attempt for attempt in case.attempts if not attempt.fits]
    assert refused
    for attempt in refused:
        assert not attempt.tried
        assert attempt.forecast_bytes is not None
        assert attempt.forecast_bytes > 1000 * MIB == attempt.allowed_bytes


@pytest.mark.parametrize("kind", ["device memory", "host memory"])
def test_running_out_of_memory_is_an_answer_and_the_search_goes_on_below(search, kind) -> None:
    case = only(
        search(Truth(ends=lambda size: CaseEnded("failed", "no room", ran_out_of=kind) if size > 200 else None))
    )

    assert case.status == "ok"
    assert sizes(case, fit=True)[-1] == 192
    assert case.stop == kind
    assert [attempt.reason for attempt in case.attempts if not attempt.fits] == ["no room"] * 3


def test_a_loop_that_fits_at_no_size_fails_and_says_why(search) -> None:
    case = only(search(Truth(ends=lambda _: CaseEnded("failed", "no room", ran_out_of="host memory")), batch_size=8))

    assert sizes(case, fit=False) == [1, 2, 4, 8]
    assert (case.status, case.stop) == ("failed", "host memory")
    assert case.reason == "even a batch of 1 does not fit: no room"


def test_a_loop_that_fails_for_another_reason_is_not_tried_smaller(search, tmp_path: Path) -> None:
    truth = Truth(ends=lambda _: CaseEnded("failed", "own.py:3: ValueError"))
    with pytest.raises(BadInput, match=r"nothing was measured: regression, every loop: own\.py:3: ValueError"):
        search(truth)

    assert len(truth.started) == 1
    assert not (tmp_path / BATCH_SIZES_FILE).exists()


def test_a_loop_that_fails_from_some_size_on_is_searched_below_it(search) -> None:
    case = only(search(Truth(ends=lambda size: CaseEnded("failed", "odd") if size > 64 else None), batch_size=32))

    assert sizes(case, fit=True)[-1] == 64
    assert (case.status, case.stop) == ("ok", "failure")


def test_what_cannot_run_is_skipped_and_not_searched(search) -> None:
    truth = Truth(data_rows=100)
    hunt = search(truth, loops=("cuda_graph",))

    assert [case.status for case in hunt.cases] == ["ok", "skipped"]
    assert "cuda_graph needs a CUDA device" in str(hunt.cases[1].reason)
    assert hunt.cases[1].attempts == ()


def test_a_task_that_no_loop_can_change_is_told_and_nothing_is_kept(search, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="nothing was measured: regression, every loop: not of that kind"):
        search(Truth(ends=lambda _: CaseEnded("skipped", "not of that kind")))

    assert not (tmp_path / BATCH_SIZES_FILE).exists()


def test_batches_that_do_not_grow_as_asked_claim_nothing(search) -> None:
    """A DataLoader reports 128 but has only 100 rows: 128 samples a step would be wrong."""
    case = only(search(Truth(made=lambda size: min(size, 100), data_rows=100), batch_size=64))

    assert sizes(case, fit=True) == [64, 100]
    assert case.stop == "data"


def test_samples_a_second_are_of_the_rows_that_a_step_has_on_average(search) -> None:
    """An epoch of 100 rows in batches of 64 has a second batch of 36."""
    case = only(search(Truth(data_rows=64, per_step=lambda size: 50.0), batch_size=64))
    (row,) = find(case).rows

    assert row.samples_per_second is not None
    assert row.step_seconds is not None
    assert row.samples_per_second.value == pytest.approx(50 / row.step_seconds.value)


def test_a_workload_that_ignores_the_batch_size_fails_and_says_so(search) -> None:
    with pytest.raises(BadInput, match="makes batches of 32 and ignores --batch-size"):
        search(Truth(stated=lambda _: 32), batch_size=64)


def test_the_search_ends_when_the_next_size_would_take_longer_than_is_left(search) -> None:
    truth = Truth(step_seconds=lambda size: size * 0.01)
    case = only(search(truth, batch_size=64, budget_seconds=12.0))

    assert set(truth.started) == {64}
    assert case.attempts[-1].batch_size == 128
    assert not case.attempts[-1].tried
    assert (case.status, case.stop) == ("ok", "time")


def test_an_attempt_that_takes_too_long_ends_the_search_with_what_there_is(search) -> None:
    case = only(search(Truth(ends=lambda size: CaseEnded("timed_out", "slow") if size > 64 else None), batch_size=64))

    assert sizes(case, fit=True) == [64]
    assert (case.status, case.stop) == ("ok", "time")


def test_a_first_attempt_that_hangs_is_timed_out(search) -> None:
    case = only(search(Truth(ends=lambda _: CaseEnded("timed_out", "slow"))))

    assert (case.status, case.stop) == ("timed_out", "time")


def test_the_fastest_sizes_are_timed_again_in_turns_in_processes_of_their_own(search) -> None:
    speed = {64: 100.0, 128: 90.0, 256: 50.0, 200: 99.0}
    truth = Truth(data_rows=200, step_seconds=lambda size: size / speed.get(size, 60.0))
    case = only(search(truth, batch_size=64, budget_seconds=1000.0))

    assert [attempt.batch_size for attempt in case.again] == [64, 128, 200] * 2
    assert truth.started[-6:] == [64, 128, 200] * 2


def test_some_of_the_budget_is_kept_for_timing_the_fastest_again(search) -> None:
    case = only(search(Truth(step_seconds=lambda size: size * 0.01), batch_size=64, budget_seconds=30.0))

    assert case.stop == "time"
    assert case.again


def test_ctrl_c_keeps_what_was_found_and_says_what_was_not_reached(search, tmp_path) -> None:
    truth = Truth(data_rows=10**9, ends=lambda size: KeyboardInterrupt() if size > 100 else None)
    hunt = search(truth, batch_size=64, loops=("foreach_optimizer",))

    assert hunt.interrupted
    assert sizes(hunt.cases[0], fit=True) == [64]
    assert hunt.cases[0].stop is None
    assert (hunt.cases[1].status, hunt.cases[1].reason) == ("skipped", NEVER_REACHED)
    assert read_batch_sizes(tmp_path) == hunt


def test_nothing_is_expected_of_time_before_anything_was_timed() -> None:
    assert expected_seconds((), 64) == 0


def test_real_processes_are_searched_and_each_ending_is_told(tmp_path: Path) -> None:
    loops = [f"{EXAMPLES / 'misbehaving.py'}:{name}" for name in ("raises_at_once", "is_killed")]
    wish = PlanOptions(["loopmark"], workloads=["regression"], loops=loops, device="cpu", threads=1, batch_size=200)
    plan = replace(make_plan(wish), budget_seconds=20.0)
    with worker_pool(plan, tmp_path) as pool:
        hunt = BatchSearch(CommandFacts(plan, synthetic.machine(), datetime.now(UTC)), Silence()).run(pool)
    eager, raises, killed = hunt.cases

    assert sizes(eager, fit=True)[-1] == eager.data_rows
    assert eager.stop == "data"
    assert all((np.array(attempt.block_seconds) > 0).all() for attempt in eager.attempts)
    assert all(attempt.peak_memory_bytes for attempt in eager.attempts)
    assert "wrong from the start" in str(raises.reason)
    assert "SIGKILL" in str(killed.reason)
    assert killed.stop == "host memory"
