"""Checks of the kernel, the environment and the programs that a run needs."""

from pathlib import Path

import pytest

from loopmark.bench.measure.doctor import software
from loopmark.bench.measure.doctor.software import (
    CLOCK,
    TorchBuild,
    address_randomisation,
    clock_source,
    container,
    thread_variables,
    threads,
    virtual_machine,
)
from tests.support.hosts import REAL, VIRTUAL, host

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
        assert found.reading.startswith(f"{build.version}, for {build.accelerator or 'CPU only'}")
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


@pytest.mark.parametrize(
    ("current", "available", "state"),
    [
        ("tsc", "tsc hpet", "good"),
        ("kvm-clock", "kvm-clock tsc", "good"),
        ("hpet", "tsc hpet acpi_pm", "bad"),
        ("acpi_pm", "acpi_pm", "could be better"),
        ("", "", "not known"),
    ],
)
def test_a_clock_that_takes_a_system_call_is_told_with_the_one_to_use(
    tmp_path: Path, current: str, available: str, state: str
) -> None:
    files = {f"{CLOCK}/current_clocksource": current, f"{CLOCK}/available_clocksource": available}
    found = clock_source(host(tmp_path, files))
    assert found.state == state
    assert (f"echo tsc | sudo tee /{CLOCK}/current_clocksource" in found.commands) == (state == "bad")


@pytest.mark.parametrize(("level", "reading"), [("0", "off"), ("1", "on, but for the heap"), ("2", "on")])
def test_address_randomisation_is_told_and_nobody_is_advised_to_switch_it_off(
    tmp_path: Path, level: str, reading: str
) -> None:
    found = address_randomisation(host(tmp_path, {"proc/sys/kernel/randomize_va_space": level}))
    assert (found.state, found.reading, found.remedy, found.commands) == ("good", reading, "", ())


def test_address_randomisation_that_is_not_shown_is_not_known(tmp_path: Path) -> None:
    assert address_randomisation(host(tmp_path)).state == "not known"


def test_a_virtual_machine_is_known_by_the_processors_mark(tmp_path: Path) -> None:
    found = virtual_machine(host(tmp_path, VIRTUAL | {"sys/class/dmi/id/sys_vendor": "QEMU\n"}))
    assert (found.state, found.reading) == ("could be better", "yes: QEMU")


def test_hardware_without_the_mark_is_taken_for_real(tmp_path: Path) -> None:
    assert virtual_machine(host(tmp_path, REAL)).state == "good"


@pytest.mark.parametrize("cpuinfo", ["", "processor\t: 0\nFeatures\t: fp asimd\n"])
def test_a_processor_that_has_no_such_mark_says_neither(tmp_path: Path, cpuinfo: str) -> None:
    assert virtual_machine(host(tmp_path, {"proc/cpuinfo": cpuinfo})).state == "not known"
    assert virtual_machine(host(tmp_path, {"sys/hypervisor/type": "xen\n"})).state == "could be better"


@pytest.mark.parametrize(
    ("files", "reading"),
    [
        ({".dockerenv": ""}, "yes, by /.dockerenv"),
        ({"run/.containerenv": ""}, "yes, by /run/.containerenv"),
        ({"run/systemd/container": "lxc\n"}, "yes: lxc"),
        ({"proc/1/cgroup": "0::/kubepods/pod7\n"}, "yes, by /proc/1/cgroup"),
        ({"proc/1/cgroup": "0::/init.scope\n"}, "none detected"),
    ],
)
def test_a_container_is_told_with_the_mark_that_it_was_known_by(
    tmp_path: Path, files: dict[str, str], reading: str
) -> None:
    assert container(host(tmp_path, files)).reading == reading


@pytest.mark.parametrize(
    ("variables", "state", "commands"),
    [
        ({}, "good", ()),
        ({"PATH": "/bin", "OMP_NUM_THREADS": ""}, "good", ()),
        ({"OMP_NUM_THREADS": "4", "MKL_NUM_THREADS": "2"}, "good", ()),
        ({"OMP_WAIT_POLICY": "passive"}, "good", ()),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, "could be better", ("unset OMP_WAIT_POLICY",)),
        ({"GOMP_CPU_AFFINITY": "0-1", "OMP_PROC_BIND": "true"}, "could be better",
         ("unset OMP_PROC_BIND GOMP_CPU_AFFINITY",)),
    ],
)  # fmt: skip
def test_variables_that_place_threads_or_let_them_spin_could_be_better(
    tmp_path: Path, variables: dict[str, str], state: str, commands: tuple[str, ...]
) -> None:
    found = thread_variables(host(tmp_path, variables=variables))
    assert (found.state, found.commands) == (state, commands)


def test_every_variable_that_is_set_is_told_with_its_value(tmp_path: Path) -> None:
    found = thread_variables(host(tmp_path, variables={"OMP_NUM_THREADS": "4", "MKL_NUM_THREADS": "2", "HOME": "/x"}))
    assert found.reading.startswith("MKL_NUM_THREADS=2, OMP_NUM_THREADS=4; ")


def test_the_threads_of_a_run_are_told_with_their_cores(tmp_path: Path) -> None:
    assert threads(host(tmp_path)).reading == "2 by default, on cores 0-1"
    assert threads(host(tmp_path, cores=(), threads=3)).reading == "3 by default, not pinned"
