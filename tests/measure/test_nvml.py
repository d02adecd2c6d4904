"""A GPU driver's answers in our units; missing answers are unknown, not zero."""

import math
from types import SimpleNamespace

import pynvml
import pytest
import torch

from loopmark.bench.measure.nvml import GpuMonitor, device_names, driver_version, monitor_of
from loopmark.bench.records.run import GpuState
from tests.support.nvml_fake import UUID, install, no_driver

FIGURES = ("sm_clock_hertz", "memory_clock_hertz", "temperature_celsius", "power_watts", "power_limit_watts", "joules")


def of_pids(*pids: int) -> list[SimpleNamespace]:
    return [SimpleNamespace(pid=pid) for pid in pids]


def test_figures_come_in_our_units(monkeypatch: pytest.MonkeyPatch) -> None:
    clocks = {pynvml.NVML_CLOCK_SM: 1980, pynvml.NVML_CLOCK_MEM: 2619}
    install(
        monkeypatch,
        nvmlDeviceGetClockInfo=clocks.get,
        nvmlDeviceGetTemperature={pynvml.NVML_TEMPERATURE_GPU: 41}.get,
        nvmlDeviceGetPowerUsage=312_500,
        nvmlDeviceGetPowerManagementLimit=700_000,
        nvmlDeviceGetTotalEnergyConsumption=1_250,
        nvmlDeviceGetEccMode=[1, 0],
        nvmlDeviceGetMigMode=[0, 1],
    )
    gpu = GpuMonitor(UUID)

    assert {name: getattr(gpu, name)() for name in FIGURES} == {
        "sm_clock_hertz": 1.98e9,
        "memory_clock_hertz": 2.619e9,
        "temperature_celsius": 41,
        "power_watts": 312.5,
        "power_limit_watts": 700,
        "joules": 1.25,
    }
    assert (gpu.ecc(), gpu.mig()) == (True, False)  # as they are now, not after the next start
    assert gpu.state() == GpuState(41.0, 312.5, 700.0, 1.98e9, 2.619e9, ecc=True, mig=False)


def test_what_the_driver_does_not_say_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)
    gpu = GpuMonitor(UUID)

    assert all(math.isnan(getattr(gpu, name)()) for name in FIGURES)
    assert (gpu.ecc(), gpu.mig(), gpu.clock_reasons()) == (None, None, None)
    assert (gpu.throttle_reasons(), gpu.pids()) == ("", ())
    assert gpu.state() == GpuState()


def test_a_driver_older_than_pynvml_counts_no_processes_and_stops_no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, nvmlDeviceGetComputeRunningProcesses=pynvml.NVMLLibraryMismatchError("other versions"))
    assert GpuMonitor(UUID).pids() == ()


@pytest.mark.parametrize(
    "name", ["nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetCurrentClocksThrottleReasons"]
)
def test_why_a_clock_is_held_down_is_told_under_either_name_of_the_question(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    install(monkeypatch, **{name: 0x01 | 0x04 | 0x40})
    assert GpuMonitor(UUID).throttle_reasons() == "power cap, hardware thermal slowdown"
    install(monkeypatch, **{name: 0x01})
    assert GpuMonitor(UUID).throttle_reasons() == ""
    assert GpuMonitor(UUID).clock_reasons() == 0x01


def test_an_unhindered_clock_is_known_to_be_so(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, nvmlDeviceGetCurrentClocksEventReasons=0)
    assert GpuMonitor(UUID).clock_reasons() == 0


def test_the_temperature_is_told_where_only_the_newer_question_is_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, nvmlDeviceGetTemperatureV=lambda sensor: 55)
    assert GpuMonitor(UUID).temperature_celsius() == 55


def test_an_instance_has_its_boards_clocks_its_own_processes_and_no_power_that_is_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    install(
        monkeypatch,
        nvmlDeviceGetDeviceHandleFromMigDeviceHandle="board",
        nvmlDeviceGetClockInfo=1980,
        nvmlDeviceGetPowerUsage=312_500,
        nvmlDeviceGetTotalEnergyConsumption=1_250,
        nvmlDeviceGetMigMode=[1, 1],
        nvmlDeviceGetUUID="GPU-of-the-board",
    )

    def by_uuid(uuid: bytes) -> str:
        if not uuid.startswith(b"MIG-"):
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)
        return "instance"

    monkeypatch.setattr(pynvml, "nvmlDeviceGetHandleByUUID", by_uuid)
    of_each = {"instance": of_pids(1, 2), "board": of_pids(1, 2, 3)}
    monkeypatch.setattr(pynvml, "nvmlDeviceGetComputeRunningProcesses", of_each.get)
    gpu = GpuMonitor(UUID)

    assert gpu.sm_clock_hertz() == 1.98e9
    assert gpu.mig()
    assert gpu.pids() == (1, 2)
    assert math.isnan(gpu.joules())
    assert math.isnan(gpu.power_watts())
    assert gpu.board == "GPU-of-the-board"


def test_a_device_that_the_driver_knows_under_neither_name_is_named_as_it_was_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    install(monkeypatch, nvmlDeviceGetHandleByUUID=pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND))
    with pytest.raises(pynvml.NVMLError, match="Not Found"):
        GpuMonitor(UUID)


def test_without_a_driver_there_is_no_monitor_no_device_and_no_version(monkeypatch: pytest.MonkeyPatch) -> None:
    no_driver(monkeypatch)
    assert device_names() == ()
    assert driver_version() is None
    assert monitor_of(torch.device("cpu")) is None


def test_every_device_of_the_machine_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [b"NVIDIA H200", "NVIDIA A2"]  # older versions of pynvml return bytes
    install(
        monkeypatch,
        nvmlDeviceGetCount=2,
        nvmlDeviceGetHandleByIndex=None,
        nvmlDeviceGetName=lambda: names.pop(0),
        nvmlSystemGetDriverVersion="580.95.05",
    )
    assert device_names() == ("NVIDIA H200", "NVIDIA A2")
    assert driver_version() == "580.95.05"


@pytest.mark.cuda
def test_a_real_board_says_how_warm_it_is_what_it_draws_and_may_draw_and_how_fast_it_runs() -> None:
    gpu = monitor_of(torch.device("cuda:0"))
    assert gpu is not None
    assert 0 < gpu.temperature_celsius() < 120
    assert 0 < gpu.power_watts() < 2 * gpu.power_limit_watts()
    assert gpu.sm_clock_hertz() > 1e8
    assert gpu.memory_clock_hertz() > 1e8
    assert gpu.clock_reasons() is not None
