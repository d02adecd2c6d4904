from pathlib import Path

import pytest

from loopmark.bench.measure.doctor import software
from loopmark.bench.measure.doctor.software import TorchBuild
from tests.support.hosts import host

CPU_BUILD, CUDA_BUILD = TorchBuild("2.13.0+cpu", None), TorchBuild("2.13.0", "CUDA 13.0")


@pytest.mark.parametrize(
    ("build", "gpus", "uses_gpu", "state"),
    [
        (CPU_BUILD, (), False, "good"),
        (CUDA_BUILD, (), False, "good"),
        (CUDA_BUILD, ("NVIDIA H200",), True, "good"),
        (CPU_BUILD, ("NVIDIA H200",), False, "bad"),
        (CUDA_BUILD, ("NVIDIA H200",), False, "bad"),
        (None, (), False, "bad"),
    ],
)
def test_a_torch_that_leaves_a_gpu_unused_is_bad(
    build: TorchBuild | None, gpus: tuple[str, ...], uses_gpu: bool, state: str
) -> None:
    found = software.torch(build, gpus, uses_gpu)
    assert found.state == state
    if build:
        assert found.reading.startswith(f"{build.version}, for {build.accelerator or 'CPU alone'}")
    if state == "bad" and gpus:
        assert "NVIDIA H200" in found.reading


def test_the_installed_torch_is_told_as_it_tells_itself() -> None:
    import torch

    build = software.torch_build()
    assert build is not None
    assert build.version == torch.__version__
    assert (build.accelerator is None) == (torch.version.cuda is None and torch.version.hip is None)


def test_a_torch_that_is_not_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(software.importlib.util, "find_spec", lambda name: None)
    assert software.torch_build() is None
    assert software.triton().state == "could be better"


def programs(folder: Path, *names: str) -> dict[str, str]:
    for name in names:
        program = folder / name
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
    return {"PATH": str(folder)}


@pytest.mark.parametrize(
    ("present", "uses_gpu", "named", "state", "commands"),
    [
        ("g++", False, {}, "good", ()),
        ("clang", False, {"CXX": "clang"}, "good", ()),
        ("gcc", False, {}, "could be better", ("sudo apt-get install g++ python3-dev",)),
        ("gcc", True, {}, "good", ()),
        ("g++", True, {}, "could be better", ("sudo apt-get install gcc",)),
    ],
)
def test_the_compiler_is_the_one_that_the_device_needs(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    present: str,
    uses_gpu: bool,
    named: dict[str, str],
    state: str,
    commands: tuple[str, ...],
) -> None:
    monkeypatch.setattr(software.sys, "platform", "linux")
    monkeypatch.setattr(software.sysconfig, "get_path", lambda name: str(tmp_path))
    (tmp_path / "Python.h").touch()
    machine = host(tmp_path, variables=programs(tmp_path, present) | named)
    found = software.compiler(machine, uses_gpu)
    assert (found.state, found.commands) == (state, commands)


def test_a_compiler_without_pythons_headers_could_be_better(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(software.sysconfig, "get_path", lambda name: str(tmp_path))
    machine = host(tmp_path, variables=programs(tmp_path, "c++") | {"CXX": "c++"})
    assert software.compiler(machine, uses_gpu=False).commands == ("sudo apt-get install python3-dev",)


def test_git_is_looked_for_on_the_path(tmp_path: Path) -> None:
    assert software.git(host(tmp_path, variables={"PATH": str(tmp_path)})).state == "could be better"
    assert software.git(host(tmp_path, variables=programs(tmp_path, "git"))).state == "good"
