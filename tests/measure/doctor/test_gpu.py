"""Checks of a GPU, from a driver with prepared answers."""

from collections.abc import Callable
from typing import Any

import pynvml
import pytest

from loopmark.bench.measure.doctor.examine import GPU_CHECKS
from loopmark.bench.measure.doctor.gpu import (
    GpuSettings,
    clocks,
    compute_mode,
    energy_counter,
    instances,
    link,
    memory_errors,
    other_processes,
    persistence_mode,
    power_limit,
    temperature,
    throttling,
)
from loopmark.bench.records.checks import CheckResult
from tests.support.nvml_fake import UUID, install

REASONS = "nvmlDeviceGetCurrentClocksEventReasons"
Find = Callable[..., CheckResult]


@pytest.fixture
def find(monkeypatch: pytest.MonkeyPatch) -> Find:
    """Run a check on a driver that gives only these answers."""

    def run(check: Callable[[GpuSettings], CheckResult], **answers: Any) -> CheckResult:
        install(monkeypatch, **answers)
        return check(GpuSettings(UUID))

    return run


@pytest.mark.parametrize("check", GPU_CHECKS)
def test_a_driver_that_says_nothing_leaves_everything_unknown_and_nothing_good(find: Find, check: Any) -> None:
    assert find(check).state == "not known"


def test_nothing_that_is_asked_could_change_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = install(monkeypatch)
    gpu = GpuSettings(UUID)
    for check in GPU_CHECKS:
        check(gpu)
    assert len(driver.asked) > 15
    assert all(name == "nvmlInit" or name.startswith("nvmlDeviceGet") for name in driver.asked)


@pytest.mark.parametrize(
    ("check", "answers", "state", "commands"),
    [
        (persistence_mode, {"nvmlDeviceGetPersistenceMode": 1}, "good", ()),
        (persistence_mode, {"nvmlDeviceGetPersistenceMode": 0}, "could be better",
         (f"sudo nvidia-smi -i {UUID} -pm 1",)),
        (compute_mode, {"nvmlDeviceGetComputeMode": 0}, "good", ()),
        (compute_mode, {"nvmlDeviceGetComputeMode": 3}, "bad", (f"sudo nvidia-smi -i {UUID} -c DEFAULT",)),
        (instances, {"nvmlDeviceGetMigMode": [0, 0]}, "good", ()),
        (instances, {"nvmlDeviceGetMigMode": [1, 1]}, "could be better", (f"sudo nvidia-smi -i {UUID} -mig 0",)),
        (energy_counter, {"nvmlDeviceGetTotalEnergyConsumption": 5}, "good", ()),
    ],
)  # fmt: skip
def test_a_mode_is_told_with_the_command_that_changes_it(
    find: Find, check: Any, answers: dict[str, Any], state: str, commands: tuple[str, ...]
) -> None:
    found = find(check, **answers)
    assert (found.state, found.commands) == (state, commands)


def errors(corrected: int, uncorrected: int) -> Callable[[int, int], int]:
    def count(kind: int, since: int) -> int:
        assert since == pynvml.NVML_VOLATILE_ECC
        return {
            pynvml.NVML_MEMORY_ERROR_TYPE_CORRECTED: corrected,
            pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED: uncorrected,
        }[kind]

    return count


@pytest.mark.parametrize(
    ("modes", "counts", "state", "says"),
    [
        ([1, 1], (0, 0), "good", "ECC on; 0 uncorrected, 0 corrected"),
        ([0, 0], None, "good", "ECC off"),
        ([1, 1], (4, 0), "could be better", "4 corrected"),
        ([1, 1], (4, 1), "bad", "1 uncorrected"),
        ([1, 0], (0, 0), "could be better", "off after the next start"),
    ],
)
def test_memory_errors_are_told_with_whether_they_are_corrected(
    find: Find, modes: list[int], counts: tuple[int, int] | None, state: str, says: str
) -> None:
    counter = {"nvmlDeviceGetTotalEccErrors": errors(*counts)} if counts else {}
    found = find(memory_errors, nvmlDeviceGetEccMode=modes, **counter)
    assert found.state == state
    assert says in found.reading


def limits(limit: int, usual: int | None, enforced: int | None) -> dict[str, int]:
    given = {
        "nvmlDeviceGetPowerManagementLimit": limit,
        "nvmlDeviceGetPowerManagementDefaultLimit": usual,
        "nvmlDeviceGetEnforcedPowerLimit": enforced,
    }
    return {name: watts * 1000 for name, watts in given.items() if watts is not None}


@pytest.mark.parametrize(
    ("answers", "state", "says"),
    [
        (limits(700, 700, 700), "good", "700 W of 700 W by default"),
        (limits(700, 600, 700), "good", "700 W of 600 W by default"),
        (limits(400, 700, 400), "could be better", "400 W of 700 W by default"),
        (limits(700, 700, 500), "could be better", "500 W in force"),
        (limits(700, None, None), "good", "700 W"),
    ],
)
def test_a_power_limit_below_the_boards_own_could_be_better(
    find: Find, answers: dict[str, int], state: str, says: str
) -> None:
    found = find(power_limit, nvmlDeviceGetPowerUsage=71_000, **answers)
    assert found.state == state
    assert says in found.reading
    assert "71 W drawn just now" in found.reading


def test_the_command_for_a_lowered_power_limit_names_the_boards_own(find: Find) -> None:
    assert find(power_limit, **limits(400, 700, 400)).commands == (f"sudo nvidia-smi -i {UUID} -pl 700",)


@pytest.mark.parametrize(
    ("bits", "state", "reading"),
    [
        (0x00, "good", "none just now"),
        (0x01, "good", "none just now, with nothing to do"),
        (0x02, "good", "none just now"),
        (0x04, "could be better", "power cap"),
        (0x05, "could be better", "power cap"),
        (0x44, "bad", "power cap, hardware thermal slowdown"),
        (0x80, "bad", "hardware power brake"),
    ],
)
def test_a_clock_held_down_by_heat_or_by_the_supply_is_bad(find: Find, bits: int, state: str, reading: str) -> None:
    found = find(throttling, **{REASONS: bits})
    assert (found.state, found.reading) == (state, reading)


@pytest.mark.parametrize(
    ("degrees", "state"), [(40, "good"), (74, "good"), (75, "could be better"), (85, "bad"), (95, "bad")]
)
def test_a_temperature_is_held_against_the_boards_own_limit(find: Find, degrees: int, state: str) -> None:
    slowdown = {pynvml.NVML_TEMPERATURE_THRESHOLD_SLOWDOWN: 90}.get
    found = find(temperature, nvmlDeviceGetTemperature=degrees, nvmlDeviceGetTemperatureThreshold=slowdown)
    assert (found.state, found.reading) == (state, f"{degrees} °C; it slows down at 90 °C")


@pytest.mark.parametrize(("margin", "state"), [(40, "good"), (10, "could be better"), (2, "bad")])
def test_a_board_that_gives_only_its_margin_is_held_against_that(find: Find, margin: int, state: str) -> None:
    found = find(temperature, nvmlDeviceGetTemperature=50, nvmlDeviceGetMarginTemperature=margin)
    assert (found.state, found.reading) == (state, f"50 °C; it slows down at {50 + margin} °C")


def test_a_temperature_without_a_limit_is_told_and_not_judged(find: Find) -> None:
    found = find(temperature, nvmlDeviceGetTemperature=40)
    assert found.state == "not known"
    assert found.reading.startswith("40 °C")


def application_clocks(target: int, usual: int) -> Callable[[int, int], int]:
    def tell(kind: int, which: int) -> int:
        assert kind == pynvml.NVML_CLOCK_SM
        return {pynvml.NVML_CLOCK_ID_APP_CLOCK_TARGET: target, pynvml.NVML_CLOCK_ID_APP_CLOCK_DEFAULT: usual}[which]

    return tell


@pytest.mark.parametrize(
    ("answers", "state"),
    [
        ({REASONS: 0x02}, "good"),
        ({REASONS: 0x01, "nvmlDeviceGetClock": application_clocks(1200, 1410)}, "good"),
        ({REASONS: 0x01, "nvmlDeviceGetClock": application_clocks(1410, 1410)}, "could be better"),
        ({REASONS: 0x01}, "could be better"),
    ],
)
def test_a_clock_that_somebody_holds_is_good_and_one_that_nobody_does_could_be_better(
    find: Find, answers: dict[str, Any], state: str
) -> None:
    now, highest = {1: 345, 2: 2619}, {1: 1980, 2: 2619}
    found = find(clocks, nvmlDeviceGetClockInfo=now.get, nvmlDeviceGetMaxClockInfo=highest.get, **answers)
    assert found.state == state
    assert found.reading.startswith("multiprocessors 345 of 1,980 MHz, memory 2,619 of 2,619 MHz; ")


def test_the_command_that_holds_a_clock_takes_it_from_the_driver_or_leaves_it_open(find: Find) -> None:
    known = find(clocks, **{REASONS: 0, "nvmlDeviceGetClock": application_clocks(1410, 1410)})
    assert known.commands == (f"sudo nvidia-smi -i {UUID} -lgc 1410",)
    assert find(clocks, **{REASONS: 0}).commands == (f"sudo nvidia-smi -i {UUID} -lgc MHZ",)


@pytest.mark.parametrize(("processes", "state", "reading"), [([], "good", "none"), ([object()] * 2, "bad", "2")])
def test_others_on_the_gpu_are_bad(find: Find, processes: list[object], state: str, reading: str) -> None:
    found = find(other_processes, nvmlDeviceGetComputeRunningProcesses=processes)
    assert (found.state, found.reading) == (state, reading)


@pytest.mark.parametrize(
    ("generation", "lanes", "state"), [(5, 16, "good"), (5, 8, "could be better"), (1, 16, "not known")]
)
def test_a_link_with_lanes_missing_could_be_better_and_a_slow_one_may_only_be_idle(
    find: Find, generation: int, lanes: int, state: str
) -> None:
    found = find(
        link,
        nvmlDeviceGetCurrPcieLinkGeneration=generation,
        nvmlDeviceGetMaxPcieLinkGeneration=5,
        nvmlDeviceGetCurrPcieLinkWidth=lanes,
        nvmlDeviceGetMaxPcieLinkWidth=16,
    )
    assert found.state == state
    assert found.reading.startswith(f"generation {generation} of 5, {lanes} of 16 lanes")
