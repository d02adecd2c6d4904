"""The plugin costs nothing in a project that times no loop, and knows the machine without torch."""

import subprocess
import sys
from types import SimpleNamespace

import pytest

from loopmark.bench.measure import nvml
from loopmark.bench.plugin import machine_info

HEAVY = ("torch", "numpy", "pandas", "scipy", "matplotlib", "sklearn", "pyarrow", "rich", "typer")


def loaded_after(code: str) -> set[str]:
    tell = f"import sys; {code}; print(*[name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", tell], capture_output=True, text=True, check=True, timeout=60)
    return set(done.stdout.split())


def test_loading_the_plugin_imports_nothing_that_is_heavy() -> None:
    assert loaded_after("import loopmark.bench.plugin") == set()


def test_the_machine_is_told_without_torch() -> None:
    code = "from loopmark.bench.plugin.machine_info import machine_facts; assert machine_facts()['torch']"

    assert loaded_after(code) == set()


class FakeNvml:
    NVMLError = RuntimeError

    def __init__(self, names: list[str] | None) -> None:
        self._names = names

    def __getattr__(self, name: str):
        def call(*arguments):
            if self._names is None:
                raise RuntimeError("Driver Not Loaded")
            return {
                "nvmlDeviceGetCount": len(self._names),
                "nvmlDeviceGetHandleByIndex": arguments[0] if arguments else None,
                "nvmlDeviceGetName": self._names[arguments[0]] if arguments else None,
                "nvmlSystemGetDriverVersion": b"580.95.05",
            }.get(name)

        return call


@pytest.mark.parametrize(
    ("names", "gpus", "driver"),
    [(["NVIDIA H200", "NVIDIA H200"], ["NVIDIA H200"] * 2, "580.95.05"), (None, [], None)],
)
def test_the_gpus_and_their_driver_are_told_where_there_are_any(monkeypatch, names, gpus, driver) -> None:
    monkeypatch.setattr(nvml, "pynvml", FakeNvml(names))
    facts = machine_info.machine_facts.__wrapped__()

    assert (facts["gpus"], facts["driver"]) == (gpus, driver)


def test_the_facts_stay_the_same_or_every_comparison_would_warn() -> None:
    assert machine_info.machine_facts.__wrapped__() == machine_info.machine_facts.__wrapped__()


def test_a_torch_that_keeps_its_version_elsewhere_is_known_by_its_package(monkeypatch) -> None:
    monkeypatch.setattr(machine_info.util, "find_spec", lambda name: SimpleNamespace(origin="/nowhere/__init__.py"))
    torch = machine_info.machine_facts.__wrapped__()["torch"]

    assert torch is not None
    assert torch.startswith("2.")
