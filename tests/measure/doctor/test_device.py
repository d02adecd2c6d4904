"""The device that is meant, on any machine: torch and the driver are stand-ins."""

import pytest

from loopmark.bench.errors import BadInput
from loopmark.bench.measure import launcher
from loopmark.bench.measure.doctor import examine as place
from loopmark.bench.measure.doctor.examine import Device, cuda_uuids, find_device
from loopmark.bench.measure.doctor.software import TorchBuild

CPU_BUILD, CUDA_BUILD = TorchBuild("2.13.0+cpu", None), TorchBuild("2.13.0", "CUDA 13.0")
GPUS = ("NVIDIA H200", "NVIDIA H200")


class Machine:
    """GPUs by name, and those that torch finds by identity; it counts the requests for either."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.gpus: tuple[str, ...] = ()
        self.uuids: tuple[str, ...] | Exception = ()
        self.driver_asked = self.torch_asked = 0
        monkeypatch.setattr(place, "device_names", self._names)
        monkeypatch.setattr(launcher, "apart", self._apart)

    def _names(self) -> tuple[str, ...]:
        self.driver_asked += 1
        return self.gpus

    def _apart(self, function: object) -> tuple[str, ...]:
        assert function is cuda_uuids
        self.torch_asked += 1
        if isinstance(self.uuids, Exception):
            raise self.uuids
        return self.uuids


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


def test_a_cpu_that_was_asked_for_asks_no_gpu(machine: Machine) -> None:
    machine.gpus, machine.uuids = GPUS, ("GPU-a", "GPU-b")
    assert find_device("cpu", CUDA_BUILD) == Device("cpu")
    assert (machine.driver_asked, machine.torch_asked) == (0, 0)


@pytest.mark.parametrize("build", [None, CPU_BUILD, CUDA_BUILD])
def test_without_a_gpu_torch_is_not_waited_for(machine: Machine, build: TorchBuild | None) -> None:
    assert find_device(None, build) == Device("cpu")
    assert machine.torch_asked == 0


def test_by_default_it_is_the_first_gpu_that_torch_finds(machine: Machine) -> None:
    machine.gpus, machine.uuids = GPUS, ("GPU-b", "GPU-a")  # in CUDA_VISIBLE_DEVICES' order
    assert find_device(None, CUDA_BUILD) == Device("cuda:0", "GPU-b", GPUS)
    assert find_device("cuda:1", CUDA_BUILD) == Device("cuda:1", "GPU-a", GPUS)


@pytest.mark.parametrize("build", [None, CPU_BUILD, CUDA_BUILD])
def test_a_gpu_that_torch_does_not_find_is_remembered(machine: Machine, build: TorchBuild | None) -> None:
    machine.gpus = GPUS
    assert find_device(None, build) == Device("cpu", gpus=GPUS)


def test_a_rocm_build_is_asked_though_nvidias_driver_names_nothing(machine: Machine) -> None:
    machine.uuids = ("GPU-amd",)
    assert find_device(None, TorchBuild("2.13.0", "ROCm 7.0")).name == "cuda:0"


def test_a_driver_that_ends_the_process_which_asks_is_no_device(machine: Machine) -> None:
    machine.gpus, machine.uuids = GPUS, ChildProcessError()
    assert find_device(None, CUDA_BUILD) == Device("cpu", gpus=GPUS)


@pytest.mark.parametrize(
    ("name", "build", "uuids", "says"),
    [
        ("gpu", CUDA_BUILD, ("a",), "no device 'gpu'; give cpu, cuda or cuda:N"),
        ("cuda:", CUDA_BUILD, ("a",), "no device 'cuda:'"),
        ("cuda:-1", CUDA_BUILD, ("a",), "no device 'cuda:-1'"),
        ("cuda:²", CUDA_BUILD, ("a",), "no device"),
        ("cpu\n", CUDA_BUILD, ("a",), "no device"),
        ("", CUDA_BUILD, ("a",), "no device ''"),
        ("cuda:1", CUDA_BUILD, ("a",), "has 1 CUDA device(s)"),
        ("cuda", CUDA_BUILD, (), "shows no CUDA device; give --device cpu"),
        ("cuda", CPU_BUILD, ("a",), "torch 2.13.0+cpu is built without it"),
        ("cuda", None, ("a",), "shows no CUDA device"),
    ],
)
def test_a_device_that_there_is_not_is_refused(
    machine: Machine, name: str, build: TorchBuild | None, uuids: tuple[str, ...], says: str
) -> None:
    machine.uuids = uuids
    with pytest.raises(BadInput) as refusal:
        find_device(name, build)
    assert says in str(refusal.value)


@pytest.mark.cuda
def test_a_real_driver_knows_every_device_that_torch_finds() -> None:
    from loopmark.bench.measure.doctor.gpu import GpuSettings
    from loopmark.bench.measure.launcher import apart

    assert all(GpuSettings(uuid).whole("nvmlDeviceGetComputeMode") is not None for uuid in apart(cuda_uuids))
