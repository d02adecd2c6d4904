from itertools import islice

import pytest

from loopmark.bench.measure.training.trials import LEG_STEPS, legs


@pytest.mark.parametrize("epoch", [1, 5, 22, LEG_STEPS, LEG_STEPS + 1, 432, 1000])
def test_quality_is_measured_at_the_end_of_each_epoch_and_often_enough_within(epoch: int) -> None:
    taken = list(islice(legs(epoch), 200))
    ends = {sum(taken[: n + 1]) for n in range(len(taken))}
    assert {n * epoch for n in range(1, sum(taken) // epoch + 1)} <= ends
    assert max(taken) <= LEG_STEPS
    assert min(taken) > 0


def test_where_nobody_knows_how_long_an_epoch_is_it_is_measured_as_often() -> None:
    assert list(islice(legs(None), 3)) == [LEG_STEPS] * 3
    assert list(islice(legs(0), 3)) == [LEG_STEPS] * 3
