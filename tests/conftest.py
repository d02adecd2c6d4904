"""What every test may count on: no GPU under `make test`, and a reason where one that needs it is skipped."""

import os
import sys
from collections.abc import Iterator
from importlib.metadata import distributions

import pytest

# Where Loopmark is used as it lies there (`make test PYTHON=…`), no entry point tells pytest of its plugin. Looked for
# as pytest does: `entry_points()` would stop at an old loopmark.egg-info in this folder.
INSTALLED = any(point.value == "loopmark.bench.plugin" for found in distributions() for point in found.entry_points)
pytest_plugins = ["pytester", "tests.support.command", *([] if INSTALLED else ["loopmark.bench.plugin"])]

NO_CUDA = "needs a CUDA device; this machine has none"


@pytest.fixture(autouse=True)
def _torchs_switches_are_put_back() -> Iterator[None]:
    """A loop turns switches of its whole process; the next test finds them as this one did."""
    if "torch" not in sys.modules:
        yield
        return
    from loopmark.bench.measure.proof.precision import Switches

    with Switches.now().restored():
        yield


def pytest_configure(config: pytest.Config) -> None:
    """Set what every process of a test inherits.

    Where no test for CUDA was asked for, a machine with a GPU looks like one without. And torch.compile takes it that
    the C++ compiler can build for what the processor has. It would otherwise try each of its vector instruction sets
    with programs of its own, which takes ten times as long as to compile what a test asks for.
    """
    os.environ.setdefault("TORCHINDUCTOR_VEC_ISA_OK", "1")
    if config.option.markexpr.startswith("not cuda"):
        os.environ.update(CUDA_VISIBLE_DEVICES="", HIP_VISIBLE_DEVICES="")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    marked = [item for item in items if item.get_closest_marker("cuda")]
    if not marked:
        return
    import torch  # only now: most tests read, judge and draw, which works without it

    if not torch.cuda.is_available():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason=NO_CUDA))
