import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from loopmark.loops import compiled
from loopmark.loops.catalog import WORKLOADS, find_loop
from tests.support.tiny import CPU, drive, prepared


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
