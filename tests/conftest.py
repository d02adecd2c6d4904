"""Setup for all tests: `make test` hides the GPU, and a skipped CUDA test shows the reason."""

import os
import sys
from collections.abc import Iterator
from importlib.metadata import distributions

import pytest

# With `make test PYTHON=…` nothing is installed, so no entry point loads the plugin. Search all distributions as
# pytest does: `entry_points()` would stop at an old loopmark.egg-info in this folder.
INSTALLED = any(point.value == "loopmark.bench.plugin" for found in distributions() for point in found.entry_points)
pytest_plugins = ["pytester", "tests.support.command", *([] if INSTALLED else ["loopmark.bench.plugin"])]

NO_CUDA = "needs a CUDA device; this machine has none"


@pytest.fixture(autouse=True)
def _torchs_switches_are_put_back() -> Iterator[None]:
    """Restore the process-wide switches that a loop changed, for the next test."""
    if "torch" not in sys.modules:
        yield
        return
    from loopmark.bench.measure.proof.precision import Switches

    with Switches.now().restored():
        yield


def pytest_configure(config: pytest.Config) -> None:
    """Hide the GPU from every process of a test, unless CUDA tests were selected. Spare torch.compile its trials.

    Before its first C++ program, torch.compile builds trial programs for each set of vector instructions, which takes
    ten times as long as compiling what a test needs. With this variable, it trusts the compiler with most of them.
    """
    os.environ.setdefault("TORCHINDUCTOR_VEC_ISA_OK", "1")
    _take_own_cores()
    if config.option.markexpr.startswith("not cuda"):
        os.environ.update(CUDA_VISIBLE_DEVICES="", HIP_VISIBLE_DEVICES="")


def _take_own_cores() -> None:
    """Give each worker of xdist its share of the cores: all would pin what they measure to the first one."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "").removeprefix("gw")
    if worker and hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        share = cores[int(worker) :: int(os.environ["PYTEST_XDIST_WORKER_COUNT"])]
        os.sched_setaffinity(0, share or cores)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    marked = [item for item in items if item.get_closest_marker("cuda")]
    if not marked:
        return
    import torch  # imported late: most tests read, judge and draw without torch

    if not torch.cuda.is_available():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason=NO_CUDA))
