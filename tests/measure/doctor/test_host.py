from collections.abc import Sequence

import pytest

from loopmark.bench.measure.cgroup import numbers
from loopmark.bench.measure.doctor.host import spans


@pytest.mark.parametrize(
    ("values", "text"), [((), ""), ((3,), "3"), ((0, 1), "0-1"), ((7, 2, 0, 1), "0-2,7"), (range(0, 6, 2), "0,2,4")]
)
def test_cores_are_told_as_the_kernel_tells_them(values: Sequence[int], text: str) -> None:
    assert spans(values) == text
    assert numbers(text) == tuple(sorted(values))
