import pytest
import torch
from torch import Tensor

from loopmark.loops.goal import Split, at_random, at_the_end

ROWS = torch.arange(50)


def halves(split: Split) -> tuple[set[int], set[int]]:
    return set(split.inputs.tolist()), set(split.held_inputs.tolist())


@pytest.mark.parametrize("cut", [at_random, at_the_end])
@pytest.mark.parametrize(("share", "held"), [(0.2, 10), (0.05, 2), (0.0, 0), (1.0, 50)])
def test_every_row_is_in_one_part_and_none_in_both(cut, share: float, held: int) -> None:
    trained_on, held_out = halves(cut(ROWS, ROWS, share))
    assert len(held_out) == held
    assert trained_on | held_out == set(range(50))
    assert not trained_on & held_out


@pytest.mark.parametrize("cut", [at_random, at_the_end])
def test_a_rows_target_goes_where_the_row_goes(cut) -> None:
    split = cut(ROWS, -ROWS, 0.3)
    assert torch.equal(split.targets, -split.inputs)
    assert torch.equal(split.held_targets, -split.held_inputs)


def test_a_text_is_cut_at_one_place() -> None:
    split = at_the_end(ROWS, ROWS, 0.2)
    assert split.inputs.tolist() == list(range(40))
    assert split.held_inputs.tolist() == list(range(40, 50))


def test_rows_held_out_at_random_come_from_everywhere() -> None:
    held = at_random(ROWS, ROWS, 0.2).held_inputs.tolist()
    assert held == sorted(held)
    assert held[0] < 20
    assert held[-1] >= 30


def test_the_rows_held_out_are_the_same_whatever_the_runs_seed() -> None:
    def held(seed: int) -> Tensor:
        torch.manual_seed(seed)
        return at_random(ROWS, ROWS, 0.2).held_inputs

    assert torch.equal(held(0), held(1))


def test_cutting_draws_nothing_from_the_runs_own_random_numbers() -> None:
    before = torch.get_rng_state()
    at_random(ROWS, ROWS, 0.2)
    assert torch.equal(torch.get_rng_state(), before)
