"""The techniques that change how the optimizer is created."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from loopmark.loops.catalog import WORKLOADS, find_loop
from loopmark.loops.task import Task
from loopmark.loops.technique import Skip
from tests.support.tiny import CPU, drive, make_tiny_task, prepared


@pytest.mark.parametrize("workload", WORKLOADS)
@pytest.mark.parametrize("option", ["fused", "foreach"])
def test_the_option_is_really_set(workload: str, option: str) -> None:
    task, _ = prepared(find_loop(f"{option}_optimizer"), WORKLOADS[workload].make(CPU, "small", None, 0))
    assert [group[option] for group in task.optimizer.param_groups] == [True]


@pytest.mark.parametrize("option", ["fused", "foreach"])
def test_eager_leaves_the_choice_to_torch(option: str) -> None:
    task, _ = prepared(find_loop("eager"), make_tiny_task())
    assert task.optimizer.param_groups[0][option] is None


@pytest.mark.parametrize("option", ["fused", "foreach"])
def test_an_optimizer_without_the_option_is_skipped_with_the_reason(option: str) -> None:
    task = Task(nn.Linear(1, 1), F.mse_loss, partial(torch.optim.LBFGS, lr=0.1), [])
    with pytest.raises(
        Skip, match=f"^{option}_optimizer needs an optimizer that accepts {option}=True; LBFGS does not$"
    ):
        find_loop(f"{option}_optimizer").prepare(task)


def test_a_function_that_hides_the_option_is_named_with_the_line_to_change() -> None:
    def make_optimizer(parameters):
        return torch.optim.AdamW(parameters)

    task = Task(nn.Linear(1, 1), F.mse_loss, make_optimizer, [])
    with pytest.raises(Skip, match=r"AdamW does, but tests/loops/test_optimizers.py:\d+ .*\(parameters, \*\*options\)"):
        find_loop("fused_optimizer").prepare(task)


@pytest.mark.parametrize("name", ["fused_optimizer", "foreach_optimizer"])
def test_the_update_really_runs_the_chosen_kernels(name: str) -> None:
    task, step = prepared(find_loop(name), make_tiny_task())
    drive(task, step)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        drive(task, step)
    operations = {event.key for event in profile.key_averages()}
    assert ("aten::_fused_adamw_" in operations) == (name == "fused_optimizer")
    assert ("aten::_foreach_addcdiv_" in operations) == (name == "foreach_optimizer")


def test_a_compiled_optimizer_still_shows_the_options_it_takes() -> None:
    task = WORKLOADS["resnet"].make(CPU, "small", None, 0)  # SGD, which has no capturable
    find_loop("compile_optimizer").prepare(task)
    assert task.optimizer_takes("fused")
    assert not task.optimizer_takes("capturable")
