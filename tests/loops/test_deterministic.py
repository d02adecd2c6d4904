import os

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from loopmark.loops.catalog import find_loop
from loopmark.loops.loop import EAGER
from loopmark.loops.switches import deterministic
from loopmark.loops.task import Batches, Task
from tests.support.tiny import losses_of, make_tiny_task, prepared


@pytest.fixture(autouse=True)
def _no_workspace_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)


def test_it_turns_on_torchs_deterministic_algorithms_and_what_they_need() -> None:
    torch.backends.cudnn.benchmark = True
    prepared(find_loop("deterministic"), make_tiny_task())
    assert torch.are_deterministic_algorithms_enabled()
    assert not torch.is_deterministic_algorithms_warn_only_enabled()
    assert not torch.backends.cudnn.benchmark
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"


def test_a_persons_own_workspace_for_cublas_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    prepared(find_loop("deterministic"), make_tiny_task())
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":16:8"


def test_it_gives_the_same_losses_twice_and_on_a_cpu_eagers_own() -> None:
    losses = [losses_of(*prepared(find_loop("deterministic"), make_tiny_task()), 5) for _ in range(2)]
    torch.use_deterministic_algorithms(False)
    assert losses[0] == losses[1] == losses_of(*prepared(EAGER, make_tiny_task()), 5)


def test_an_operation_that_has_no_deterministic_kernel_fails_by_name() -> None:
    class Scatters(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.zeros(4).put_(torch.tensor([0, 0, 1, 1]), self.weight * x.mean(), accumulate=False)

    data = torch.randn(4, 1)
    batches = Batches(data, data, batch_size=4, seed=0)
    task = Task(Scatters(), lambda p, t: F.mse_loss(p, t[:, 0]), torch.optim.SGD, batches)
    with pytest.raises(RuntimeError, match=r"put_.* does not have a deterministic implementation"):
        losses_of(*prepared(find_loop("deterministic"), task), 1)


def test_it_comes_before_every_other_technique_so_that_all_of_them_are_held_to_it() -> None:
    loop = find_loop("fused_optimizer+channels_last+amp_bf16+deterministic")
    assert loop.name.startswith("deterministic+")
    assert loop.techniques[0] is deterministic
