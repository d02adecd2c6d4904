"""The fixture ``loop_benchmark``, as a function that a test calls once."""

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from loopmark.bench.plugin.loop_benchmark import LoopBenchmark


class BesideBenchmark:
    """Where pytest-benchmark is loaded.

    Asking for its ``benchmark`` by name, and not when the test runs, is what makes ``--benchmark-skip`` and
    ``--benchmark-only`` see the test.
    """

    @pytest.fixture
    def loop_benchmark(self, request: pytest.FixtureRequest, benchmark: Any) -> "LoopBenchmark":
        """Measures a training loop in processes of its own: ``loop_benchmark("resnet", "compile")``."""
        from loopmark.bench.plugin.loop_benchmark import LoopBenchmark
        from loopmark.bench.plugin.table import BenchmarkTable

        return LoopBenchmark(request.node, BenchmarkTable(request.node, benchmark))


class Alone:
    """Where pytest-benchmark is not: the same measurement and the same verdict, without its table."""

    @pytest.fixture
    def loop_benchmark(self, request: pytest.FixtureRequest) -> "LoopBenchmark":
        """Measures a training loop in processes of its own: ``loop_benchmark("resnet", "compile")``."""
        from loopmark.bench.plugin.loop_benchmark import LoopBenchmark
        from loopmark.bench.plugin.table import NoTable

        return LoopBenchmark(request.node, NoTable(request.config))
