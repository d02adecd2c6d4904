"""`make test` hides the GPU from every process of a test, with a parent's environment or the fork server's."""

import json
import os
import subprocess
import sys

import pytest

from loopmark.bench.measure.launcher import apart

HIDDEN = {"CUDA_VISIBLE_DEVICES": "", "HIP_VISIBLE_DEVICES": ""}


@pytest.fixture(autouse=True)
def _only_where_no_test_for_cuda_was_asked_for(pytestconfig: pytest.Config) -> None:
    if not pytestconfig.option.markexpr.startswith("not cuda"):
        pytest.skip('GPUs are hidden where pytest runs with -m "not cuda", as make test does')


def seen() -> tuple[dict[str, str | None], bool]:
    """The variables that hide GPUs from this process, and True if it still finds one."""
    import torch

    return {name: os.environ.get(name) for name in HIDDEN}, torch.cuda.is_available()


def test_a_tests_own_process_sees_none() -> None:
    assert seen() == (HIDDEN, False)


def test_a_child_process_sees_none() -> None:
    code = "import json; from tests.test_hidden_gpu import seen; print(json.dumps(seen()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert json.loads(done.stdout) == [HIDDEN, False]


def test_a_launch_of_the_fork_server_sees_none() -> None:
    assert apart(seen) == (HIDDEN, False)
