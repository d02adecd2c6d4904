import sys
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest
import torch

from loopmark.loops import compiled
from loopmark.loops.catalog import WORKLOADS, find_loop
from tests.support.tiny import CPU, drive, losses_of, make_tiny_task, prepared


def test_a_model_that_is_one_of_torchs_own_modules_is_really_compiled() -> None:
    loop = find_loop("compile")
    if reason := loop.lacks(CPU):
        pytest.skip(reason)
    torch.compiler.reset()
    counters = torch._dynamo.utils.counters
    counters.clear()
    drive(*prepared(loop, WORKLOADS["regression_mlp"].make(CPU, "small", None, 0)))  # a Sequential
    assert counters["stats"]["unique_graphs"] == 1
    torch.compiler.reset()


@pytest.mark.parametrize("name", ["SGD", "Adam"])
def test_a_rate_that_a_schedule_moves_compiles_no_graph_for_each_step_and_is_seen_as_a_number(
    name: str,
) -> None:
    loop, steps = find_loop("compile_optimizer"), 12
    if reason := loop.lacks(CPU):
        pytest.skip(reason)

    def scheduled(loop_name: str) -> tuple[list[float], object]:
        task = make_tiny_task()
        task.make_optimizer = partial(getattr(torch.optim, name), lr=0.1)
        task.make_scheduler = lambda made: torch.optim.lr_scheduler.CosineAnnealingLR(made, 10 * steps)
        losses = losses_of(*prepared(find_loop(loop_name), task), steps)
        return losses, task.optimizer.state_dict()["param_groups"][0]["lr"]

    torch.compiler.reset()
    counters = torch._dynamo.utils.counters
    expected, rate = scheduled("eager")
    counters.clear()
    losses, compiled_rate = scheduled("compile_optimizer")
    assert losses == pytest.approx(expected, rel=1e-3)
    assert type(compiled_rate) is float
    assert compiled_rate == rate
    assert counters["stats"]["unique_graphs"] == 2  # the second, once the rate moves
    torch.compiler.reset()


@pytest.mark.parametrize("options", [{"foreach": True}, {"fused": True}])
def test_an_update_that_takes_no_tensor_as_its_rate_gets_a_number(options: dict[str, bool]) -> None:
    task = make_tiny_task()
    task.make_optimizer = partial(torch.optim.Adam, lr=0.1, **options)
    task.make_scheduler = lambda made: torch.optim.lr_scheduler.CosineAnnealingLR(made, 10)
    with torch.compiler.set_stance("force_eager"):
        assert all(losses_of(*prepared(find_loop("compile_optimizer"), task), 3))


@pytest.mark.parametrize(("device", "place"), [("cpu", "on a CPU"), ("cuda:0", "on a GPU")])
def test_a_machine_without_pythons_headers_skips_compile_with_the_reason(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, device: str, place: str
) -> None:
    monkeypatch.setattr(compiled.sysconfig, "get_path", lambda _: str(tmp_path))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (9, 0))
    monkeypatch.setattr(compiled.shutil, "which", lambda name: name)
    monkeypatch.setitem(sys.modules, "triton", ModuleType("triton"))

    assert f"{place} needs Python's headers" in (find_loop("compile").lacks(torch.device(device)) or "")

    (tmp_path / "Python.h").touch()
    assert find_loop("compile").lacks(torch.device(device)) is None
