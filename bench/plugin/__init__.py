"""The pytest plugin: the ``loop_benchmark`` fixture, with or without pytest-benchmark.

Like ``loopmark.bench.cli`` it may import every room, and no room imports it. pytest loads it in every session, even
in projects without a loop to time, so it imports only pytest until the fixture is used.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from loopmark.bench.plugin.loop_benchmark import LoopBenchmark
    from loopmark.bench.records.machine import Machine


@dataclass
class Session:
    """The stored runs that this session is compared with, and its own results."""

    stored: list[dict[str, Any]] = field(default_factory=list)  # as read by pytest-benchmark from its JSON files
    lines: list[str] = field(default_factory=list)  # for the end of the terminal's output, one per measured loop
    phases: dict[str, Mapping[str, float]] = field(default_factory=dict)  # of each measured test's loop, in seconds
    machines: "dict[str, Machine]" = field(default_factory=dict)  # this machine, as described for each device
    warned: set[str] = field(default_factory=set)  # the warnings given so far


SESSION = pytest.StashKey[Session]()
BASELINE_OPTION = "--loopmark-baseline"
INCONCLUSIVE = "loopmark_inconclusive"  # the option and the setting


class BesideBenchmark:
    """The fixture with pytest-benchmark loaded.

    It requests the ``benchmark`` fixture as a parameter, not at run time, so that ``--benchmark-skip`` and
    ``--benchmark-only`` find the test.
    """

    @pytest.fixture
    def loop_benchmark(self, request: pytest.FixtureRequest, benchmark: Any) -> "LoopBenchmark":
        """Measures a training loop in processes of its own: ``loop_benchmark("resnet", "compile")``."""
        from loopmark.bench.plugin.loop_benchmark import LoopBenchmark
        from loopmark.bench.plugin.rows import BenchmarkTable

        return LoopBenchmark(request.node, BenchmarkTable(request.node, benchmark))


class Alone:
    """The fixture without pytest-benchmark: the same measurement and verdict, without its table."""

    @pytest.fixture
    def loop_benchmark(self, request: pytest.FixtureRequest) -> "LoopBenchmark":
        """Measures a training loop in processes of its own: ``loop_benchmark("resnet", "compile")``."""
        from loopmark.bench.plugin.loop_benchmark import LoopBenchmark
        from loopmark.bench.plugin.rows import NoTable

        return LoopBenchmark(request.node, NoTable(request.config))


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of the fixture."""
    group = parser.getgroup("loopmark")
    told = "the loop that ratios of loop_benchmark are to, unless a test gives baseline=. Default: eager"
    group.addoption(BASELINE_OPTION, metavar="NAME", default="eager", help=told)
    told = "count a test that could not tell if its loop is within the threshold as pass (with a warning) or as fail"
    group.addoption("--loopmark-inconclusive", choices=("pass", "fail"), help=f"{told}. Default: pass")
    parser.addini(INCONCLUSIVE, told, default="pass")


def pytest_configure(config: pytest.Config) -> None:
    """Register the fixture, on top of pytest-benchmark's own if that is loaded, else alone."""
    config.stash[SESSION] = Session()
    offered = BesideBenchmark() if has_benchmark(config) else Alone()
    config.pluginmanager.register(offered, "loopmark-fixture")


def has_benchmark(config: pytest.Config) -> bool:
    """True if pytest-benchmark is loaded, under any name: its options exist."""
    return hasattr(config.option, "benchmark_disable")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Give pytest-benchmark the timer that replays the measured seconds, through its ``benchmark`` mark."""
    if "loop_benchmark" in getattr(item, "fixturenames", ()) and has_benchmark(item.config):
        from loopmark.bench.plugin.rows import REPLAY, Replay

        # It reads the closest mark only, so the options of the test's own mark are repeated.
        mark = item.get_closest_marker("benchmark")
        item.stash[REPLAY] = Replay()
        given = {**(mark.kwargs if mark else {}), "timer": item.stash[REPLAY]}
        item.add_marker(pytest.mark.benchmark(**given), append=False)


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_update_machine_info(machine_info: dict[str, Any]) -> None:
    """Add the GPUs, the driver and torch to pytest-benchmark's facts about the machine."""
    from loopmark.bench.plugin.machine_info import machine_facts
    from loopmark.bench.records import PYTEST_BENCHMARK_KEY

    # Always, not only if a loop was timed: pytest-benchmark warns of machines that differ, and it reads stored runs
    # before the tests are known.
    machine_info[PYTEST_BENCHMARK_KEY] = machine_facts()


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_compare_machine_info(config: pytest.Config, compared_benchmark: dict[str, Any]) -> None:
    """Keep a stored run that this session is compared with. This hook is the public way to get it."""
    config.stash[SESSION].stored.append(compared_benchmark)


@pytest.hookimpl(tryfirst=True)  # pytest-benchmark's own hook may end the summary with an exception
def pytest_terminal_summary(terminalreporter: "pytest.TerminalReporter") -> None:  # pytest 8 does not name the class
    """Print one line for each measured loop, with its verdicts, and one table of all phases."""
    session = terminalreporter.config.stash[SESSION]
    if session.lines:
        from loopmark.bench.plugin.rows import phase_table

        terminalreporter.section("loopmark")
        for line in (*session.lines, *phase_table(session.phases)):
            terminalreporter.write_line(line)
