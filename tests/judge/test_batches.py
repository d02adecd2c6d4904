import pytest

from loopmark.bench.judge.batches import BatchFinding, BatchRow, find
from tests.support.searches import attempt, case, refused


def size(row: BatchRow | None) -> int | None:
    return row.attempt.batch_size if row else None


def equals(finding: BatchFinding) -> list[int | None]:
    return [size(row) for row in finding.equals]


def test_throughput_is_samples_a_step_over_its_seconds_with_an_interval() -> None:
    (row,) = find(case(attempt(64, 0.01))).rows
    assert row.samples_per_second is not None

    assert row.samples_per_second.value == pytest.approx(6400)
    assert row.samples_per_second.low < 6400 < row.samples_per_second.high


def test_the_best_is_the_one_with_the_most_samples_a_second_and_not_the_largest() -> None:
    finding = find(case(attempt(64, 0.010), attempt(128, 0.012), attempt(256, 0.05), refused(512)))

    assert size(finding.best) == size(finding.recommended) == 128
    assert size(finding.largest) == 256
    assert equals(finding) == [128]


def test_of_those_that_overlap_with_the_best_the_smallest_is_to_be_used() -> None:
    finding = find(case(attempt(64, 0.0130), attempt(128, 0.02001, 0.05), attempt(256, 0.0400, 0.05)))

    assert size(finding.best) == 256
    assert equals(finding) == [128, 256]
    assert size(finding.recommended) == 128


def test_sizes_are_shown_in_their_order_whatever_order_they_were_tried_in() -> None:
    finding = find(case(attempt(64), refused(256), attempt(128), attempt(32)))

    assert [size(row) for row in finding.rows] == [32, 64, 128, 256]


def test_every_process_of_a_size_counts_and_how_far_those_of_the_best_differ_is_the_noise() -> None:
    once, again = attempt(64, 0.010, 0.001), attempt(64, 0.011, 0.001)
    finding = find(case(once, attempt(32, 0.0054, 0.001), again=(again,)))

    assert size(finding.best) == 64
    assert finding.noise == pytest.approx(0.1)
    assert finding.rows[-1].processes == pytest.approx((0.010, 0.011))
    assert equals(finding) == [32, 64]  # 5,926 and 6,095 a second differ by less than the noise


def test_beyond_the_noise_a_smaller_size_is_slower() -> None:
    finding = find(case(attempt(64, 0.010, 0.001), attempt(32, 0.006, 0.001), again=(attempt(64, 0.0101, 0.001),)))

    assert equals(finding) == [64]


def test_one_process_alone_tells_nothing_of_the_noise() -> None:
    assert find(case(attempt(64))).noise is None


def test_where_nothing_fits_nothing_is_claimed() -> None:
    finding = find(case(refused(2), refused(1), status="failed"))

    assert (finding.best, finding.largest, finding.recommended, finding.equals) == (None, None, None, ())


def test_too_few_blocks_bound_nothing_and_so_exclude_nothing() -> None:
    few = attempt(64, 0.01)
    few = type(few)(**{**vars(few), "block_seconds": few.block_seconds[:3]})
    assert equals(find(case(few, attempt(128, 0.018)))) == [64, 128]


def test_where_processes_of_one_size_differ_by_more_than_sizes_do_none_is_to_be_used() -> None:
    finding = find(case(attempt(64, 0.010, 0.001), attempt(128, 0.0150, 0.001), again=(attempt(128, 0.0198, 0.001),)))

    assert finding.noise == pytest.approx(0.32, abs=0.01)
    assert finding.best is not None
    assert finding.recommended is None
