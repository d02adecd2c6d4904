"""The search on curves whose answer is known."""

from collections.abc import Callable

import pytest

from loopmark.bench.measure.batches.search import BatchSearch, between

PATIENCE = 60


def searched(
    fits: Callable[[int], bool], rate: Callable[[int], float] = float, *, first: int = 64, most: int | None = None
) -> tuple[list[int], BatchSearch]:
    """The sizes that were proposed, in order, and the search at its end."""
    search, tried = BatchSearch(first, most), []
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
    search = BatchSearch(64)
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
    search = BatchSearch(64)
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
