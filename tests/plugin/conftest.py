"""A user's project with the plugin and synthetic measurements: no process, and a known truth."""

import json
from pathlib import Path
from typing import Any

import pytest

import loopmark.bench.measure.launcher
import loopmark.bench.measure.plan

# Imported here: an inner session forgets modules that it imported first, and torch cannot be imported twice.
import loopmark.bench.measure.runner
import loopmark.bench.plugin.loop_benchmark
from loopmark.bench.plugin.measurement import Measurement, Stop
from loopmark.bench.plugin.rows import BenchmarkTable  # noqa: F401
from tests.conftest import INSTALLED
from tests.support.synthetic import Truth, make_run

ONE_TEST = """
def test_step(loop_benchmark):
    loop_benchmark("resnet", "amp_bf16")
"""
SURROUNDINGS = ("PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT", "PYTEST_ADDOPTS")
"""Variables of this session that its inner sessions must not get."""


class Project:
    """Runs pytest in a folder of its own; ``seconds`` has the true step time of each loop."""

    def __init__(self, pytester: pytest.Pytester) -> None:
        self.pytester = pytester
        self.seconds: dict[str, float] = {}
        self.launches = 5
        self.seed = 0
        self.stop: Stop | None = None
        self.tried: list[str] = []

    def run(self, *arguments: str, test: str | None = None) -> pytest.RunResult:
        if test is not None:
            self.pytester.makepyfile(test_speed=test)
        load = () if INSTALLED else ("-p", "loopmark.bench.plugin")
        return self.pytester.runpytest_inprocess(*load, "-p", "no:cacheprovider", "-ra", *arguments)

    def rows(self, *arguments: str, test: str | None = None) -> dict[str, dict[str, Any]]:
        """The rows of pytest-benchmark's JSON by name."""
        assert self.run(*arguments, "--benchmark-json=rows.json", test=test).ret == 0
        return {row["name"]: row for row in self.json("rows.json")["benchmarks"]}

    def json(self, name: str) -> dict[str, Any]:
        return dict(json.loads(Path(name).read_text()))

    def measure(self, plan, session) -> Measurement:
        """Stands in for the real function, without measuring."""
        if self.stop is not None:
            raise self.stop
        base = plan.baseline
        truths = [Truth(base), Truth(base, repeat=True), *(Truth(loop) for loop in plan.loops if loop != base)]
        truths = [Truth(t.loop, self.seconds.get(t.loop, 0.010), t.repeat) for t in truths]
        self.seed += 1
        told = {"launches": self.launches, "baseline": base}
        return Measurement.of(*make_run(truths, plan.workloads, rounds=4, seed=self.seed, **told))

    def try_loops(self, plan) -> None:
        self.tried += plan.loops


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Project:
    for name in SURROUNDINGS:
        monkeypatch.delenv(name, raising=False)
    made = Project(pytester)
    monkeypatch.setattr(loopmark.bench.plugin.loop_benchmark, "measure", made.measure)
    monkeypatch.setattr(loopmark.bench.plugin.loop_benchmark, "try_loops", made.try_loops)
    pytester.makepyfile(test_speed=ONE_TEST)
    return made
