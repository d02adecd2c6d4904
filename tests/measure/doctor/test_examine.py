"""All checks together: on an unknown machine, and on this one."""

import subprocess
import sys
from pathlib import Path

import pytest

from loopmark.bench.measure.doctor import examine as examination
from loopmark.bench.measure.doctor.examine import HOST_CHECKS, Device, examine
from loopmark.bench.measure.doctor.host import HostView, this_host
from loopmark.bench.records.checks import Diagnosis
from tests.support.hosts import CPU, host
from tests.support.nvml_fake import UUID, install, no_driver

TOLD_ANYWAY = {"container", "threads", "thread variables"}
"""Checks that use neither /proc nor /sys, or are good unless there is a mark against it."""


def on(device: Device, machine: HostView, monkeypatch: pytest.MonkeyPatch) -> Diagnosis:
    monkeypatch.setattr(examination, "find_device", lambda name, build: device)
    return examine(None, machine)


def test_of_a_machine_that_shows_nothing_nothing_is_claimed(tmp_path: Path) -> None:
    findings = [check(host(tmp_path)) for check in HOST_CHECKS]
    assert {finding.name for finding in findings if finding.state != "not known"} == TOLD_ANYWAY


@pytest.mark.parametrize("text", ["", "\x00\xff", "-", "99999999999999999999999", "a b c\n1 2 3\n: :\n[", "0-,,-1,1-"])
def test_no_nonsense_in_a_file_ends_it(tmp_path: Path, text: str) -> None:
    files = (
        "proc/loadavg", "proc/stat", "proc/meminfo", "proc/cpuinfo", "proc/pressure/cpu", "proc/pressure/memory",
        "proc/self/cgroup", "proc/sys/kernel/numa_balancing", "proc/sys/kernel/randomize_va_space",
        "sys/kernel/mm/transparent_hugepage/enabled", "sys/fs/cgroup/cpu.max", "sys/fs/cgroup/cpu.stat",
        f"{CPU}/cpufreq/boost", f"{CPU}/cpu0/topology/thread_siblings_list", f"{CPU}/cpu0/cpufreq/scaling_governor",
    )  # fmt: skip
    machine = host(tmp_path, dict.fromkeys(files, text))
    assert all(check(machine).reading for check in HOST_CHECKS)


def test_without_a_gpu_none_is_spoken_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = on(Device("cpu"), host(tmp_path), monkeypatch)
    assert {finding.area for finding in found.findings} == {"processor", "memory", "software"}
    assert "triton" not in {finding.name for finding in found.findings}


def test_a_gpu_is_looked_at_beside_the_processor_that_feeds_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, nvmlDeviceGetPersistenceMode=0)
    found = on(Device("cuda:0", UUID, ("NVIDIA H200",)), host(tmp_path), monkeypatch)
    names = {finding.name: finding.state for finding in found.findings}
    assert names["persistence mode"] == "could be better"
    assert names["power limit"] == "not known"
    assert {"load by others", "triton"} <= set(names)


def test_a_gpu_that_the_driver_does_not_know_is_said_to_be_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    no_driver(monkeypatch)
    found = on(Device("cuda:0", UUID), host(tmp_path), monkeypatch)
    (driver,) = [finding for finding in found.findings if finding.area == "GPU"]
    assert driver.state == "not known"
    assert UUID in driver.reading
    assert "Not Found" in driver.reading


def test_every_name_is_there_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)
    found = on(Device("cuda:0", UUID), host(tmp_path), monkeypatch)
    names = [(finding.area, finding.name) for finding in found.findings]
    assert len(set(names)) == len(names)


def test_what_could_be_better_says_what_to_do_and_everything_says_why() -> None:
    found = examine("cpu", this_host())
    assert all(finding.why.endswith(".") and finding.reading for finding in found.findings)
    assert all(finding.remedy for finding in found.of_state("bad", "could be better"))
    assert not any(finding.remedy or finding.commands for finding in found.of_state("good", "not known"))


def test_torch_is_not_imported_for_it() -> None:
    code = (
        "import sys; from loopmark.bench.measure.doctor.examine import examine; "
        "from loopmark.bench.measure.doctor.host import this_host; examine('cpu', this_host()); "
        "print(*[name for name in ('torch', 'numpy', 'pandas') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == []
