"""The pytest plugin: the ``loop_benchmark`` fixture, and its place beside pytest-benchmark.

Like ``loopmark.bench.cli`` it knows all the wings, and nobody knows it. pytest loads it at the start of every session,
in projects that may not have a single loop to time, so it imports nothing but pytest until the fixture is used.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from loopmark.bench.plugin.loop_benchmark import LoopBenchmark
    from loopmark.bench.records.machine import Machine


@dataclass
class Session:
    """The stored runs that this session is compared with, and what it has found out by itself."""

    stored: list[dict[str, Any]] = field(default_factory=list)  # as pytest-benchmark read them from its JSON files
    lines: list[str] = field(default_factory=list)  # for the end of the terminal's output, one a measured loop
    machines: "dict[str, Machine]" = field(default_factory=dict)  # this machine, by the device that comes first
    warned: set[str] = field(default_factory=set)  # what a person has been warned of already


SESSION = pytest.StashKey[Session]()


class BesideBenchmark:
    """Where pytest-benchmark is loaded.

    Asking for its ``benchmark`` by name, and not when the test runs, is what makes ``--benchmark-skip`` and
    ``--benchmark-only`` see the test.
    """

    @pytest.fixture
    def loop_benchmark(self, request: pytest.FixtureRequest, benchmark: Any) -> "LoopBenchmark":
        """Measures a training loop in processes of its own: ``loop_benchmark("resnet", "compile")``."""
        from loopmark.bench.plugin.loop_benchmark import LoopBenchmark
        from loopmark.bench.plugin.rows import BenchmarkTable

        return LoopBenchmark(request.node, BenchmarkTable(request.node, benchmark))


class Alone:
    """Where pytest-benchmark is not: the same measurement and the same verdict, without its table."""

    @pytest.fixture
    def loop_benchmark(self, request: pytest.FixtureRequest) -> "LoopBenchmark":
        """Measures a training loop in processes of its own: ``loop_benchmark("resnet", "compile")``."""
        from loopmark.bench.plugin.loop_benchmark import LoopBenchmark
        from loopmark.bench.plugin.rows import NoTable

        return LoopBenchmark(request.node, NoTable(request.config))


def pytest_configure(config: pytest.Config) -> None:
    """Offer the fixture: on top of pytest-benchmark's own where that is loaded, and alone where it is not."""
    config.stash[SESSION] = Session()
    offered = BesideBenchmark() if has_benchmark(config) else Alone()
    config.pluginmanager.register(offered, "loopmark-fixture")


def has_benchmark(config: pytest.Config) -> bool:
    """Whether pytest-benchmark is loaded, under whatever name: its options are there."""
    return hasattr(config.option, "benchmark_disable")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Hand pytest-benchmark the clock on which the measured seconds are replayed, by its own ``benchmark`` mark."""
    if "loop_benchmark" in getattr(item, "fixturenames", ()) and has_benchmark(item.config):
        from loopmark.bench.plugin.rows import REPLAY, Replay

        # It heeds the closest mark only, so what the test's own mark says has to be said again.
        mark = item.get_closest_marker("benchmark")
        item.stash[REPLAY] = Replay()
        given = {**(mark.kwargs if mark else {}), "timer": item.stash[REPLAY]}
        item.add_marker(pytest.mark.benchmark(**given), append=False)


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_update_machine_info(machine_info: dict[str, Any]) -> None:
    """Tell the GPUs, the driver and torch beside what pytest-benchmark tells of the machine."""
    from loopmark.bench.plugin.machine_info import machine_facts

    # Always, not only where a loop was timed: while a stored run is read, nobody knows yet which tests there will
    # be, and pytest-benchmark warns of machines that differ.
    machine_info["loopmark"] = machine_facts()


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_compare_machine_info(config: pytest.Config, compared_benchmark: dict[str, Any]) -> None:
    """Remember a stored run that this session is compared with; the hook is the public place where it is shown."""
    config.stash[SESSION].stored.append(compared_benchmark)


@pytest.hookimpl(tryfirst=True)  # pytest-benchmark's own may end the summary with an exception
def pytest_terminal_summary(terminalreporter: "pytest.TerminalReporter") -> None:  # pytest 8 does not name the class
    """One line for each loop that was measured, with what may be said of it."""
    if lines := terminalreporter.config.stash[SESSION].lines:
        terminalreporter.section("loopmark")
        for line in lines:
            terminalreporter.write_line(line)
