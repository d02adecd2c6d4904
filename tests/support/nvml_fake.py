"""A driver with prepared answers, under the real pynvml's names and errors; it has no other answer."""

from collections.abc import Callable
from typing import Any

import pynvml
import pytest

UUID = "GPU-01234567-89ab-cdef-0123-456789abcdef"
FUNCTIONS = [name for name in dir(pynvml) if name.startswith(("nvmlDevice", "nvmlInit", "nvmlSystem", "nvmlShutdown"))]


class FakeDriver:
    """Its answers by the function's name: a value, or a function of the arguments after the handle."""

    def __init__(self, answers: dict[str, Any]) -> None:
        self.answers = {"nvmlInit": None, "nvmlDeviceGetHandleByUUID": object(), **answers}
        self.asked: list[str] = []

    def function(self, name: str) -> Callable[..., Any]:
        def ask(*arguments: Any) -> Any:
            self.asked.append(name)
            if name not in self.answers:
                raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
            answer = self.answers[name]
            if isinstance(answer, Exception):
                raise answer
            return answer(*arguments[1:]) if callable(answer) else answer

        return ask


def install(monkeypatch: pytest.MonkeyPatch, **answers: Any) -> FakeDriver:
    """Replace this machine's driver by one with these answers."""
    driver = FakeDriver(answers)
    for name in FUNCTIONS:
        monkeypatch.setattr(pynvml, name, driver.function(name))
    return driver


def no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without an NVIDIA driver."""
    install(monkeypatch, nvmlInit=pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND))
