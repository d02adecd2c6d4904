"""What every test may count on: one that needs a CUDA device is skipped, with the reason, where there is none."""

from importlib.metadata import distributions

import pytest

# Where Loopmark is used as it lies there (`make test PYTHON=…`), no entry point tells pytest of its plugin. Looked for
# as pytest does: `entry_points()` would stop at an old loopmark.egg-info in this folder.
INSTALLED = any(point.value == "bench.plugin" for found in distributions() for point in found.entry_points)
pytest_plugins = ["pytester", "tests.command", *([] if INSTALLED else ["bench.plugin"])]

NO_CUDA = "needs a CUDA device; this machine has none"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    marked = [item for item in items if item.get_closest_marker("cuda")]
    if not marked:
        return
    import torch  # only now: most tests read, judge and draw, which works without it

    if not torch.cuda.is_available():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason=NO_CUDA))
