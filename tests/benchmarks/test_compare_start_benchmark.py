"""Time the start of ``loopmark compare`` with pytest-benchmark: see the table at the end of a test run.

The duration is shown but not asserted, since it depends on the machine. The imports are asserted.
"""

import subprocess
import sys

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from tests.support.command import ROOT

TOLD = """
import sys
sys.argv = ["loopmark", "compare", *sys.argv[1:]]
from loopmark.bench.cli import main
try:
    main()
except SystemExit:
    print([name for name in ("torch", "matplotlib") if name in sys.modules])
"""


@pytest.mark.benchmark(group="starting loopmark compare")
@pytest.mark.parametrize("argument", ["--help", "nowhere"], ids=["its help", "until runs are looked for"])
def test_starting_imports_neither_torch_nor_what_draws(benchmark: BenchmarkFixture, argument: str) -> None:
    command = [sys.executable, "-c", TOLD, argument]
    ended = benchmark.pedantic(
        subprocess.run, (command,), dict(capture_output=True, text=True, cwd=ROOT, check=True), rounds=3,
        warmup_rounds=1,
    )  # fmt: skip
    assert ended.stdout.splitlines()[-1] == "[]"
