from pathlib import Path

import pytest

from loopmark.bench.measure.doctor.kernel import CLOCK, address_randomisation, clock_source, container, virtual_machine
from tests.support.hosts import REAL, VIRTUAL, host


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
        ({".dockerenv": ""}, "yes, says /.dockerenv"),
        ({"run/.containerenv": ""}, "yes, says /run/.containerenv"),
        ({"run/systemd/container": "lxc\n"}, "yes: lxc"),
        ({"proc/1/cgroup": "0::/kubepods/pod7\n"}, "yes, says /proc/1/cgroup"),
        ({"proc/1/cgroup": "0::/init.scope\n"}, "none is noticed"),
    ],
)
def test_a_container_is_told_with_the_mark_that_it_was_known_by(
    tmp_path: Path, files: dict[str, str], reading: str
) -> None:
    assert container(host(tmp_path, files)).reading == reading
